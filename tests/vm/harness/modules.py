"""The guest kernel's modules: which are loaded at boot, and how each is found again by `modprobe`."""

import lzma
import re
from pathlib import Path

from harness.errors import BuildFailed
from harness.kernels import Kernel

MODULES = (
    "virtio_blk", "crc32c_generic", "libcrc32c", "ext4", "9pnet_virtio", "9p", "virtio_net", "veth", "bridge", "tun",
    "ib_core", "ib_uverbs", "vhost_vdpa", "virtio_vdpa", "mdev", "vfio_iommu_type1", "vfio_pci", "mlxfw",
    "pci_hyperv_intf",
)  # fmt: skip
"""In this order, each after what it depends on; ext4 asks for its checksums by request_module only.

A new vDPA device goes to the driver that came first, which is vhost_vdpa. The last two are what mlx5_core needs.
"""


def wanted(kernel: Kernel) -> tuple[str, ...]:
    """Those of them that there are with this kernel."""
    return tuple(name for name in MODULES if name not in kernel.without)


class ModuleSet:
    """The modules of one kernel, by name."""

    def __init__(self, folder: Path) -> None:
        self.release = folder.name
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
        for needed in depends(data):
            self._add(needed, loaded)
        loaded[name] = data


def depends(module: bytes) -> tuple[str, ...]:
    """What a module says it needs (`modinfo -F depends`)."""
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    return tuple(name.replace("-", "_") for name in found[1].decode().split(",") if name) if found else ()


def write_modules(root: Path, modules: ModuleSet, names: tuple[str, ...]) -> None:
    """Lay these modules out below a root file system, so that one that was removed can be had again by `modprobe`."""
    folder = root / "lib" / "modules" / modules.release
    folder.mkdir(parents=True)
    closure = modules.closure(names)
    lines = []
    for name, data in closure.items():
        (folder / f"{name}.ko").write_bytes(data)
        # All of them, the nearest first: busybox follows no chain.
        needed = [other for other in reversed(closure) if other in _reach(name, closure)]
        lines.append(f"{name}.ko: {' '.join(f'{other}.ko' for other in needed)}\n")
    (folder / "modules.dep").write_text("".join(lines))


def _reach(name: str, closure: dict[str, bytes]) -> set[str]:
    direct = {needed for needed in depends(closure[name]) if needed in closure}
    return direct.union(*(_reach(needed, closure) for needed in direct))


def _name(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")
