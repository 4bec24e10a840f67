"""Reads and writes sysfs, under a root given as an argument (`/sys`, or `/host/sys` in a container).

Paths are relative to that root. Reading something that does not exist returns None: devices come and go between two
reads, and that is no error. A write that fails raises the kernel's error.
"""

import errno
import os
from pathlib import Path
from typing import Final, Protocol

from subfunction.errors import Gone, KernelError, NotPermitted

SYSFS = Path("/sys")

_DENIED: Final = frozenset({errno.EACCES, errno.EPERM})
_WRITABLE: Final = (
    "The host's /sys must be writable: in the agent's DaemonSet `{name: sys, mountPath: /host/sys}` without `readOnly`,"
    " and `--sysfs /host/sys`."
)
_ALLOWED: Final = (
    "Writing there takes uid 0 (`runAsUser: 0` in the agent's DaemonSet) and a security module that lets it:"
    " AppArmor's default profile denies /sys by path, hence /host/sys; see `dmesg`."
)
# A driver answers ENODEV or ENXIO for a device that is being removed while its attribute still exists.
_VANISHED: Final = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO})
_ATTRIBUTE_BYTES = 4096  # an attribute of sysfs is one page at most


class Sysfs(Protocol):
    """The operations on sysfs: five reads and one write."""

    def read(self, path: str) -> str | None:
        """Read an attribute's text, stripped; None where there is no attribute or its device has no value."""

    def names(self, path: str) -> tuple[str, ...]:
        """List a directory, sorted; empty where there is none."""

    def target(self, path: str) -> str | None:
        """Return the target of a symbolic link, unresolved (`readlink`); None where there is no link."""

    def resolve(self, path: str) -> str | None:
        """Resolve all links of a path, relative to the root (`readlink -f`); None where it does not exist."""

    def inode(self, path: str) -> int | None:
        """Return a directory's inode (`stat -L -c %i`), which kernfs never uses twice; None where it does not exist."""

    def write(self, path: str, text: str) -> None:
        """Write an attribute (`echo text > path`).

        Raises:
            Gone: the attribute or its device does not exist.
            NotPermitted: the file system is read-only, or a capability is missing.
            KernelError: the driver refused the value.
        """


class SysfsTree:
    """The sysfs that is mounted (or simulated) at a root folder.

    It uses plain system calls: an agent reads some thirty files in one observation, and pathlib costs more than the
    kernel does.
    """

    def __init__(self, root: Path = SYSFS) -> None:
        self.root = os.path.realpath(root)

    def read(self, path: str) -> str | None:
        """Read an attribute's text, stripped; None where there is none."""
        try:
            descriptor = os.open(f"{self.root}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return os.read(descriptor, _ATTRIBUTE_BYTES).decode(errors="replace").strip()
        except OSError:
            # Some attributes exist and answer EINVAL (`speed` of a link that is down): they have no value now.
            return None
        finally:
            os.close(descriptor)

    def names(self, path: str) -> tuple[str, ...]:
        """List a directory, sorted; empty where there is none."""
        try:
            return tuple(sorted(os.listdir(f"{self.root}/{path}")))  # noqa: PTH208  # see the class
        except OSError:
            return ()

    def target(self, path: str) -> str | None:
        """Return the target of a symbolic link, unresolved; None where there is no link."""
        try:
            return os.readlink(f"{self.root}/{path}")  # noqa: PTH115  # see the class
        except OSError:
            return None

    def resolve(self, path: str) -> str | None:
        """Resolve all links of a path, relative to the root; None where it does not exist or leads out of the root."""
        try:
            descriptor = os.open(f"{self.root}/{path}", os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # The kernel has followed the links in open(2), and shows the resulting path here.
            whole = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
        finally:
            os.close(descriptor)
        return whole.removeprefix(f"{self.root}/") if whole.startswith(f"{self.root}/") else None

    def inode(self, path: str) -> int | None:
        """Return a directory's inode; None where it does not exist."""
        try:
            return os.stat(f"{self.root}/{path}").st_ino  # noqa: PTH116  # see the class
        except OSError:
            return None

    def write(self, path: str, text: str) -> None:
        """Write an attribute with a single system call, as sysfs requires."""
        operation = f"write {text.strip()!r} to {self.root}/{path}"
        try:
            # As `echo text >` does, but without O_CREAT: where the file does not exist, neither does the device.
            descriptor = os.open(f"{self.root}/{path}", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise sysfs_error(operation, error) from error


def sysfs_error(operation: str, error: OSError) -> KernelError:
    """Return the typed error for a failed write."""
    number = error.errno or 0
    if number == errno.EROFS:
        return NotPermitted.refused(operation, number, "", hint=_WRITABLE)
    if number in _DENIED:
        return NotPermitted.refused(operation, number, "", hint=_ALLOWED)
    if number in _VANISHED:
        return Gone.refused(operation, number, "")
    return KernelError.refused(operation, number, "")
