"""RDMA devices and the character devices of their verbs, in sysfs and below `dev/`.

The nodes are real character devices where the process may make them (mknod needs CAP_MKNOD), and empty files elsewhere:
no simulated program opens one, but a container runtime looks at its type.
"""

import dataclasses
import os
import stat
from pathlib import Path

from subfunction_simulator.kernel.tree import Tree

_VERBS_MAJOR = 231
_VERBS_FIRST_MINOR = 192


@dataclasses.dataclass(frozen=True, slots=True)
class RdmaDevice:
    """One RDMA device: the numbers in `mlx5_<index>` and `uverbs<verbs>`, the sysfs path of its device."""

    index: int
    verbs: int
    parent: str

    @property
    def path(self) -> str:
        """Its directory."""
        return f"{self.parent}/infiniband/mlx5_{self.index}"

    @property
    def verbs_path(self) -> str:
        """The directory of its verbs device."""
        return f"{self.parent}/infiniband_verbs/uverbs{self.verbs}"


class RdmaDevices:
    """The RDMA devices of the node."""

    def __init__(self, tree: Tree, dev: Path) -> None:
        self._tree = tree
        self._dev = dev
        self._devices: list[RdmaDevice] = []
        self._tree.directory("devices/virtual/misc/rdma_cm", {"dev": "10:121"})
        self._tree.link("class/misc/rdma_cm", "devices/virtual/misc/rdma_cm")
        self._node("infiniband/rdma_cm", 10, 121)

    def add(self, parent: str, netdev: str | None) -> RdmaDevice:
        """Register a device with the lowest free names."""
        device = RdmaDevice(
            index=_lowest({other.index for other in self._devices}),
            verbs=_lowest({other.verbs for other in self._devices}),
            parent=parent,
        )
        self._devices.append(device)
        name, verbs, minor = f"mlx5_{device.index}", f"uverbs{device.verbs}", _VERBS_FIRST_MINOR + device.verbs
        self._node(f"infiniband/{verbs}", _VERBS_MAJOR, minor)
        self._tree.directory(device.verbs_path, {"abi_version": 1, "dev": f"{_VERBS_MAJOR}:{minor}", "ibdev": name})
        self._tree.directory(device.path, {"node_type": "1: CA", "fw_ver": "22.43.1014"})
        self._tree.directory(f"{device.path}/ports/1", {"state": "4: ACTIVE", "link_layer": "Ethernet"})
        if netdev is not None:
            self._tree.directory(f"{device.path}/ports/1/gid_attrs/ndevs", {"0": netdev})
        for path, kind in ((device.verbs_path, "infiniband_verbs"), (device.path, "infiniband")):
            self._tree.link(f"{path}/device", parent)
            self._tree.link(f"{path}/subsystem", f"class/{kind}")
            self._tree.link(f"class/{kind}/{path.rpartition('/')[2]}", path)
        return device

    def remove(self, device: RdmaDevice) -> None:
        """Unregister a device."""
        self._devices.remove(device)
        for path in (device.verbs_path, device.path):
            folder, _, name = path.rpartition("/")
            self._tree.unlink(f"class/{folder.rpartition('/')[2]}/{name}")
            self._tree.bury(path)
            self._tree.bury_if_empty(folder)
        (self._dev / f"infiniband/uverbs{device.verbs}").unlink(missing_ok=True)

    def _node(self, name: str, major: int, minor: int) -> None:
        path = self._dev / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            path.chmod(0o666)  # whatever the umask is
        except PermissionError:
            path.touch()


def _lowest(taken: set[int]) -> int:
    return next(number for number in range(len(taken) + 1) if number not in taken)
