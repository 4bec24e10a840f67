"""The first file system: busybox and the modules that the root file system and the tests need."""

import lzma
import re
import stat
from pathlib import Path

from harness.errors import BuildFailed
from harness.packages import Packages

MODULES = (
    "virtio_blk", "crc32c_generic", "libcrc32c", "ext4", "9pnet_virtio", "9p", "virtio_net", "veth", "bridge",
    "ib_core", "ib_uverbs",
)  # fmt: skip
"""In this order, each after what it depends on; ext4 asks for its checksums by request_module only."""

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
    modules = ModuleSet(packages.modules).closure(MODULES)
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


class ModuleSet:
    """The modules of one kernel, by name."""

    def __init__(self, folder: Path) -> None:
        self._files = {_name(path): path for path in folder.rglob("*.ko*")}
        self._builtin = {_name(Path(line)) for line in (folder / "modules.builtin").read_text().splitlines()}

    def closure(self, names: tuple[str, ...]) -> dict[str, bytes]:
        """These modules and all they depend on, in the order to load them; built-in ones are left out.

        Raises:
            BuildFailed: the kernel has no such module.
        """
        loaded: dict[str, bytes] = {}
        for name in names:
            self._add(name.replace("-", "_"), loaded)
        return loaded

    def _add(self, name: str, loaded: dict[str, bytes]) -> None:
        if name in loaded or name in self._builtin:
            return
        if name not in self._files:
            raise BuildFailed(f"this kernel has no module {name}")
        path = self._files[name]
        data = path.read_bytes()
        if path.suffix == ".xz":
            data = lzma.decompress(data)
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for needed in depends[1].decode().split(",") if depends else ():
            if needed:
                self._add(needed.replace("-", "_"), loaded)
        loaded[name] = data


def _name(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")
