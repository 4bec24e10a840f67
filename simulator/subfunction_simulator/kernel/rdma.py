"""RDMA devices and the character devices of their verbs, in sysfs and below `dev/`."""

import dataclasses

from subfunction_simulator.kernel.devices import Devices
from subfunction_simulator.kernel.nodes import Node, Nodes, lowest_free

_VERBS_MAJOR = 231
_VERBS_FIRST_MINOR = 192


@dataclasses.dataclass(frozen=True, slots=True)
class RdmaDevice:
    """One RDMA device: the numbers in `mlx5_<index>` and `uverbs<verbs>`, the sysfs path of its device."""

    index: int
    verbs: int
    parent: str
    node: Node

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

    def __init__(self, devices: Devices, nodes: Nodes) -> None:
        self._devices = devices
        self._nodes = nodes
        self._present: list[RdmaDevice] = []
        devices.add("devices/virtual/misc/rdma_cm", "class/misc", {"dev": "10:121"}, "DEVNAME=infiniband/rdma_cm")
        nodes.add("infiniband/rdma_cm", 10, 121)

    def add(self, parent: str, netdev: str | None) -> RdmaDevice:
        """Register a device with the lowest free names."""
        verbs = lowest_free({other.verbs for other in self._present})
        device = RdmaDevice(
            index=lowest_free({other.index for other in self._present}),
            verbs=verbs,
            parent=parent,
            node=self._nodes.add(f"infiniband/uverbs{verbs}", _VERBS_MAJOR, _VERBS_FIRST_MINOR + verbs),
        )
        self._present.append(device)
        tree = self._devices.tree
        tree.link(f"{device.verbs_path}/device", parent)
        shown: dict[str, str | int] = {"abi_version": 1, "dev": device.node.number, "ibdev": f"mlx5_{device.index}"}
        self._devices.add(device.verbs_path, "class/infiniband_verbs", shown, f"DEVNAME={device.node.name}")
        tree.link(f"{device.path}/device", parent)
        tree.directory(f"{device.path}/ports/1", {"state": "4: ACTIVE", "link_layer": "Ethernet"})
        if netdev is not None:
            tree.directory(f"{device.path}/ports/1/gid_attrs/ndevs", {"0": netdev})
        self._devices.add(device.path, "class/infiniband", {"node_type": "1: CA", "fw_ver": "22.43.1014"})
        return device

    def remove(self, device: RdmaDevice) -> None:
        """Unregister a device; whoever has its verbs open keeps nothing but an error."""
        self._present.remove(device)
        self._nodes.remove(device.node)
        for path, subsystem in ((device.verbs_path, "infiniband_verbs"), (device.path, "infiniband")):
            self._devices.remove(path, f"class/{subsystem}")
            self._devices.tree.bury_if_empty(path.rpartition("/")[0])
