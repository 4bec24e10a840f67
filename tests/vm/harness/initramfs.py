"""The first file system: busybox and the modules that the root file system and the tests need."""

import stat
from pathlib import Path

from harness.modules import ModuleSet, wanted
from harness.packages import Packages

APPLETS = ("sh", "mount", "insmod", "switch_root")
FOLDERS = ("bin", "dev", "proc", "sys", "root", "modules")


def write_initramfs(path: Path, packages: Packages, init: Path) -> None:
    """Write the archive (uncompressed: TCG inflates slowly)."""
    archive = CpioArchive()
    for folder in FOLDERS:
        archive.add(folder, stat.S_IFDIR | 0o755)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add("bin/busybox", stat.S_IFREG | 0o755, packages.binary("busybox").read_bytes())
    for applet in APPLETS:
        archive.add(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox")
    modules = ModuleSet(packages.modules).closure(wanted(packages.series))
    for name, data in modules.items():
        archive.add(f"modules/{name}.ko", stat.S_IFREG | 0o644, data)
    archive.add("modules/order", stat.S_IFREG | 0o644, "".join(f"{name}\n" for name in modules).encode())
    archive.add("init", stat.S_IFREG | 0o755, init.read_bytes())
    path.write_bytes(archive.finish())


class CpioArchive:
    """The format `newc`, as the kernel unpacks it (Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._inode = 0

    def add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        """Append one entry; a symlink's data is its target."""
        self._inode += 1
        path = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
        self._data += b"070701" + b"".join(b"%08X" % field for field in fields)
        for part in (path, data):
            self._data += part
            self._data += bytes(-len(self._data) % 4)

    def finish(self) -> bytes:
        """The whole archive."""
        self.add("TRAILER!!!", 0)
        return bytes(self._data)
