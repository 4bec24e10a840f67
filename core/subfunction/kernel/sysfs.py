"""The kernel's file system of devices, under a root given as an argument (`/sys`, or `/host/sys` in a container).

Paths are relative to that root. Reading something that is not there gives None: devices come and go between two reads,
and that is news, not a fault. A write that fails raises what the kernel said.
"""

import os
from pathlib import Path
from typing import Protocol

from subfunction.errors import Gone, KernelError, NotPermitted

SYSFS = Path("/sys")


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
    """The sysfs of a kernel that is mounted (or simulated) at a root folder."""

    def __init__(self, root: Path = SYSFS) -> None:
        self.root = Path(os.path.realpath(root))

    def read(self, path: str) -> str | None:
        """Give an attribute's text, stripped; None where there is none."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            # Some attributes exist and answer EINVAL (`speed` of a link that is down): no value is no value.
            return None

    def names(self, path: str) -> tuple[str, ...]:
        """List a directory, sorted; empty where there is none."""
        try:
            return tuple(sorted(entry.name for entry in os.scandir(self.root / path)))
        except OSError:
            return ()

    def target(self, path: str) -> str | None:
        """Give what a symbolic link says, unresolved."""
        try:
            return str((self.root / path).readlink())
        except OSError:
            return None

    def resolve(self, path: str) -> str | None:
        """Follow a path to the directory it means, relative to the root."""
        try:
            return str((self.root / path).resolve(strict=True).relative_to(self.root))
        except (OSError, ValueError):
            return None

    def inode(self, path: str) -> int | None:
        """Give a directory's inode."""
        try:
            return (self.root / path).stat().st_ino
        except OSError:
            return None

    def write(self, path: str, text: str) -> None:
        """Write an attribute with a single system call, as sysfs wants it."""
        operation = f"write {text.strip()!r} to {self.root / path}"
        try:
            # No O_CREAT: a file that is not there is a device that is not there.
            descriptor = os.open(self.root / path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)
        except FileNotFoundError as error:
            raise Gone.refused(operation, error.errno or 0, "") from error
        except PermissionError as error:
            hint = "The host's /sys must be mounted writable for the agent."
            raise NotPermitted.refused(operation, error.errno or 0, "", hint=hint) from error
        except OSError as error:
            raise KernelError.refused(operation, error.errno or 0, "") from error
