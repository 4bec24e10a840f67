"""The core of vfio makes a node for each group, and where the kernel has it one for each device."""

import dataclasses
from typing import Final

from subfunction_simulator.kernel.driver_core.devices import Devices
from subfunction_simulator.kernel.driver_core.nodes import Node, Nodes, lowest_free
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork

_GROUP_MAJOR: Final = 243
_DEVICE_MAJOR: Final = 510
NOIOMMU: Final = "vfio-noiommu"
"""The name of a group that vfio made itself, emulated or unsafe."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class VfioDevice:
    """User space may drive this device."""

    path: str
    """Of its directory `vfio-dev/vfioN`."""
    number: int
    group: int
    node: Node | None
    """Its own node."""
    unsafe: bool
    """Whether no IOMMU keeps it from the rest of the machine."""


class VfioDevices:
    """User space may drive these devices."""

    def __init__(self, devices: Devices, nodes: Nodes, *, cdev: bool, noiommu: bool) -> None:
        self.noiommu = noiommu
        self._devices = devices
        self._nodes = nodes
        self._cdev = cdev
        self._present: list[VfioDevice] = []
        self._groups: dict[int, Node] = {}
        self._container = False

    def load(self) -> None:
        """Make the node of containers, which every user opens first."""
        if not self._container:
            self._container = True
            self._nodes.add("vfio/vfio", 10, 196)
            self._devices.add("devices/virtual/misc/vfio", "class/misc", {"dev": "10:196"}, "DEVNAME=vfio/vfio")

    def register(self, path: str, group: int, *, unsafe: bool = False) -> VfioDevice:
        """Let user space drive a device."""
        if group not in self._groups:
            name = f"vfio/noiommu-{group}" if unsafe else f"vfio/{group}"
            self._groups[group] = node = self._nodes.add(name, _GROUP_MAJOR, group)
            self._devices.add(_path(node), "class/vfio", {"dev": node.number}, f"DEVNAME={node.name}")
        number = lowest_free({device.number for device in self._present})
        own = self._nodes.add(f"vfio/devices/vfio{number}", _DEVICE_MAJOR, number) if self._cdev else None
        device = VfioDevice(f"{path}/vfio-dev/vfio{number}", number, group, own, unsafe)
        self._present.append(device)
        words = (f"DEVNAME={own.name}",) if own is not None else ()
        self._devices.add(device.path, "class/vfio-dev", {"dev": own.number} if own is not None else {}, *words)
        return device

    def unregister(self, device: VfioDevice) -> PendingWork:
        """End that: it cannot be opened any more, and its users are waited for."""
        self._devices.remove(device.path, "class/vfio-dev")
        self._devices.tree.bury_if_empty(device.path.rpartition("/")[0])
        work = self._groups[device.group].await_close()
        if device.node is not None:
            self._nodes.remove(device.node)
            work = work.after(device.node.await_close)
        work.then(lambda: self._forget(device))
        return work

    @property
    def in_use(self) -> bool:
        """Say whether a node is open."""
        return any(node.is_open for node in self._groups.values()) or any(
            device.node is not None and device.node.is_open for device in self._present
        )

    def _forget(self, device: VfioDevice) -> None:
        self._present.remove(device)
        if all(other.group != device.group for other in self._present):
            node = self._groups.pop(device.group)
            self._nodes.remove(node)
            self._devices.remove(_path(node), "class/vfio")


def _path(group: Node) -> str:
    return f"devices/virtual/{group.name}"
