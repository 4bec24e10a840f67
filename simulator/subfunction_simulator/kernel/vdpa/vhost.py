"""The driver `vhost_vdpa` shows a vDPA device as a character device, for one user at a time."""

from typing import Final

from subfunction_simulator.kernel.driver_core.nodes import Node, Nodes, lowest_free
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork
from subfunction_simulator.kernel.driver_core.tree import Tree
from subfunction_simulator.kernel.faults import Faults, Operation
from subfunction_simulator.kernel.vdpa.vdpabus import VdpaDevice

_MAJOR: Final = 511


class VhostVdpa:
    """The driver makes `/dev/vhost-vdpa-K`; K is its own, the lowest free one."""

    name = "vhost_vdpa"

    def __init__(self, tree: Tree, nodes: Nodes, faults: Faults) -> None:
        self._tree = tree
        self._nodes = nodes
        self._faults = faults
        self._taken: dict[VdpaDevice, tuple[int, Node]] = {}

    @property
    def in_use(self) -> bool:
        """Say whether one of its nodes is open, which keeps the module."""
        return any(node.is_open for _, node in self._taken.values())

    def matches(self, _device: VdpaDevice, /) -> bool:
        """Take any device, as every driver of this bus does."""
        return True

    def probe(self, device: VdpaDevice, /) -> None:
        """Make the node; no uevent tells of it."""
        self._faults.strike(Operation.VDPA_PROBE)
        number = lowest_free({taken for taken, _ in self._taken.values()})
        name = f"vhost-vdpa-{number}"
        node = self._nodes.add(name, _MAJOR, number, exclusive=True)
        self._taken[device] = number, node
        self._tree.directory(f"{device.path}/{name}", {"dev": node.number})

    def remove(self, device: VdpaDevice, /) -> PendingWork:
        """Take the node away at once, so that it cannot be opened any more, and wait for its user."""
        _, node = self._taken[device]
        self._nodes.remove(node)
        self._tree.bury(f"{device.path}/{node.name}")
        work = node.await_close()
        work.then(lambda: self._forget(device))
        return work

    def _forget(self, device: VdpaDevice) -> None:
        del self._taken[device]
