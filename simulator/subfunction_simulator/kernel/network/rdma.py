"""RDMA devices and the character devices of their verbs stand in sysfs and below `dev/`."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from subfunction_simulator.kernel.driver_core.devices import Devices
from subfunction_simulator.kernel.driver_core.nodes import Node, Nodes, lowest_free
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, no_work

_RDMA = "class/infiniband"
_VERBS = "class/infiniband_verbs"
_NO_NUMBER = -1
_VERBS_MAJOR = 231
_VERBS_FIRST_MINOR = 192
_GIDS = 64
_NO_GID = "0000:0000:0000:0000:0000:0000:0000:0000"


@dataclasses.dataclass(slots=True, eq=False)
class RdmaDevice:
    """An RDMA device has the numbers in `mlx5_<index>` and `uverbs<verbs>`, and the sysfs path of its device."""

    index: int
    verbs: int
    parent: str
    node: Node
    namespace: str | None = None
    """The network namespace that it was moved to; None is the host's."""

    @property
    def name(self) -> str:
        """Give its name, which no other has in any namespace."""
        return f"mlx5_{self.index}"

    @property
    def path(self) -> str:
        """Give its directory, which is seen in its own namespace alone."""
        return f"{self.parent}/infiniband/{self.name}"

    @property
    def verbs_path(self) -> str:
        """Give the directory of its verbs device."""
        return f"{self.parent}/infiniband_verbs/uverbs{self.verbs}"


class RdmaDevices:
    """The node has these RDMA devices."""

    def __init__(self, devices: Devices, nodes: Nodes, outside: Path) -> None:
        self._devices = devices
        self._tree = devices.tree
        self._nodes = nodes
        self._outside = outside / "namespaces"
        self._present: list[RdmaDevice] = []
        devices.add("devices/virtual/misc/rdma_cm", "class/misc", {"dev": "10:121"}, "DEVNAME=infiniband/rdma_cm")
        nodes.add("infiniband/rdma_cm", 10, 121)

    def add(self, parent: str, netdev: str | None, *, roce: bool) -> RdmaDevice:
        """Register a device with the lowest free names; without RoCE its port has no GIDs."""
        verbs = self._free_verbs()
        device = RdmaDevice(
            index=lowest_free({other.index for other in self._present}),
            verbs=verbs,
            parent=parent,
            node=self._add_node(verbs),
        )
        self._present.append(device)
        gids = dict.fromkeys(map(str, range(_GIDS if roce else 0)), _NO_GID)
        self._tree.link(f"{device.path}/device", parent)
        self._tree.directory(f"{device.path}/ports/1", {"state": "4: ACTIVE", "link_layer": "Ethernet"})
        self._tree.directory(f"{device.path}/ports/1/gids", gids)
        if roce and netdev is not None:
            self._tree.directory(f"{device.path}/ports/1/gid_attrs/ndevs", {"0": netdev})
        # It is there before its verbs device, and is announced after that one.
        self._show_verbs(device)
        self._devices.add(device.path, _RDMA, {"node_type": "1: CA", "fw_ver": "22.43.1014"})
        return device

    def remove(self, device: RdmaDevice) -> None:
        """Unregister a device; a user that has its verbs open gets errors from now on."""
        self._present.remove(device)
        self._remove_verbs(device)
        self._tree.bury_if_empty(f"{device.parent}/infiniband_verbs")
        if device.namespace is None:
            self._devices.remove(device.path, _RDMA)
        else:
            self._tree.move_in(self._shelter(device), device.path)
            self._tree.bury(device.path)
        self._tree.bury_if_empty(f"{device.parent}/infiniband")

    def find(self, name: str) -> RdmaDevice:
        """Give the device of that name (`mlx5_2`), which is one of a kind in all namespaces."""
        return next(device for device in self._present if device.name == name)

    def of_namespace(self, namespace: str) -> list[RdmaDevice]:
        """Give the devices that were moved to a namespace."""
        return [device for device in self._present if device.namespace == namespace]

    def move(self, device: RdmaDevice, namespace: str | None) -> None:
        """Move a device to another namespace: it keeps its directory's inode, its verbs device is made anew.

        As `rdma_dev_change_netns` does in exclusive mode: the clients are taken off the device, it is renamed within
        sysfs, the clients are added again. The directory of the verbs device is seen from every namespace.
        """
        if device.namespace is None:
            self._devices.tell("remove", device.path, _RDMA)
        self._remove_verbs(device)
        if device.namespace is None and namespace is not None:
            self._tree.unlink(f"{_RDMA}/{device.name}")
            self._tree.move_out(device.path, self._shelter(device))
        elif device.namespace is not None and namespace is None:
            self._tree.move_in(self._shelter(device), device.path)
            self._tree.link(f"{_RDMA}/{device.name}", device.path)
        device.namespace = namespace
        device.verbs = self._free_verbs()
        device.node = self._add_node(device.verbs)
        self._show_verbs(device)
        if namespace is None:
            self._devices.tell("add", device.path, _RDMA)

    def _shelter(self, device: RdmaDevice) -> Path:
        return self._outside / device.name

    def _free_verbs(self) -> int:
        return lowest_free({device.verbs for device in self._present})

    def _add_node(self, verbs: int) -> Node:
        return self._nodes.add(f"infiniband/uverbs{verbs}", _VERBS_MAJOR, _VERBS_FIRST_MINOR + verbs)

    def _show_verbs(self, device: RdmaDevice) -> None:
        self._tree.link(f"{device.verbs_path}/device", device.parent)
        shown: dict[str, str | int] = {"abi_version": 1, "dev": device.node.number, "ibdev": device.name}
        self._devices.add(device.verbs_path, _VERBS, shown, f"DEVNAME={device.node.name}")

    def _remove_verbs(self, device: RdmaDevice) -> None:
        self._nodes.remove(device.node)
        self._devices.remove(device.verbs_path, _VERBS)
        device.verbs = _NO_NUMBER


class RdmaFunction:
    """The RDMA device of a function comes and goes with mlx5_ib's hold on its auxiliary device."""

    def __init__(
        self, devices: RdmaDevices, path: str, netdev: Callable[[], str | None], roce: Callable[[], bool]
    ) -> None:
        self._devices = devices
        self._path = path
        self._netdev = netdev
        self._roce = roce
        self._device: RdmaDevice | None = None

    def appear(self) -> None:
        """Register it."""
        self._device = self._devices.add(self._path, self._netdev(), roce=self._roce())

    def disappear(self) -> PendingWork:
        """Unregister it, without a wait for its users."""
        if self._device is not None:
            self._devices.remove(self._device)
            self._device = None
        return no_work()
