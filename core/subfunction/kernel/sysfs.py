"""The kernel's file system of devices, under a root given as an argument (`/sys`, or `/host/sys` in a container).

Paths are relative to that root. Reading something that is not there gives None: devices come and go between two reads,
and that is news, not a fault. A write that fails raises what the kernel said.
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
# A driver answers ENODEV or ENXIO for a device that goes while its attribute is still there.
_VANISHED: Final = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO})
_ATTRIBUTE_BYTES = 4096  # sysfs gives a page at most


class Sysfs(Protocol):
    """The looks and the one change that sysfs offers."""

    def read(self, path: str) -> str | None:
        """Give an attribute's text, stripped; None where there is none or its device has no value to give."""

    def names(self, path: str) -> tuple[str, ...]:
        """List a directory, sorted; empty where there is none."""

    def target(self, path: str) -> str | None:
        """Give what a symbolic link says, unresolved (`readlink`)."""

    def resolve(self, path: str) -> str | None:
        """Follow a path to the directory it means, relative to the root (`readlink -f`)."""

    def inode(self, path: str) -> int | None:
        """Give a directory's inode; kernfs never uses one twice (`stat -L -c %i`)."""

    def write(self, path: str, text: str) -> None:
        """Write an attribute (`echo text > path`).

        Raises:
            Gone: the attribute or its device is not there.
            NotPermitted: the file system is read-only, or a capability is missing.
            KernelError: the driver refused the value.
        """


class SysfsTree:
    """The sysfs of a kernel that is mounted (or simulated) at a root folder.

    Plain system calls: an agent reads some thirty files a look, and pathlib costs more than the kernel does.
    """

    def __init__(self, root: Path = SYSFS) -> None:
        self.root = os.path.realpath(root)

    def read(self, path: str) -> str | None:
        """Give an attribute's text, stripped; None where there is none."""
        try:
            descriptor = os.open(f"{self.root}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return os.read(descriptor, _ATTRIBUTE_BYTES).decode(errors="replace").strip()
        except OSError:
            # Some attributes exist and answer EINVAL (`speed` of a link that is down): no value is no value.
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
        """Give what a symbolic link says, unresolved."""
        try:
            return os.readlink(f"{self.root}/{path}")  # noqa: PTH115  # see the class
        except OSError:
            return None

    def resolve(self, path: str) -> str | None:
        """Follow a path to the directory it means, relative to the root."""
        try:
            descriptor = os.open(f"{self.root}/{path}", os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # The kernel has walked the links already, and says where that led.
            whole = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
        finally:
            os.close(descriptor)
        return whole.removeprefix(f"{self.root}/") if whole.startswith(f"{self.root}/") else None

    def inode(self, path: str) -> int | None:
        """Give a directory's inode."""
        try:
            return os.stat(f"{self.root}/{path}").st_ino  # noqa: PTH116  # see the class
        except OSError:
            return None

    def write(self, path: str, text: str) -> None:
        """Write an attribute with a single system call, as sysfs wants it."""
        operation = f"write {text.strip()!r} to {self.root}/{path}"
        try:
            # As `echo text >` does, but for O_CREAT: a file that is not there is a device that is not there.
            descriptor = os.open(f"{self.root}/{path}", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise refusal(operation, error) from error


def refusal(operation: str, error: OSError) -> KernelError:
    """Give the error that a failed write means."""
    number = error.errno or 0
    if number == errno.EROFS:
        return NotPermitted.refused(operation, number, "", hint=_WRITABLE)
    if number in _DENIED:
        return NotPermitted.refused(operation, number, "", hint=_ALLOWED)
    if number in _VANISHED:
        return Gone.refused(operation, number, "")
    return KernelError.refused(operation, number, "")
