"""mlx5 makes more of a PCI function than its devlink instance: Ethernet, RDMA, and the representors' devices."""

from typing import Final

from subfunction_simulator.kernel.cards.children import Children
from subfunction_simulator.kernel.cards.ethernet import Ethernet, Face
from subfunction_simulator.kernel.devlink.instance import Instance, Port
from subfunction_simulator.kernel.driver_core.pending_work import no_work
from subfunction_simulator.kernel.hardware import Hardware
from subfunction_simulator.kernel.network.netdev import Netdev
from subfunction_simulator.kernel.network.rdma import RdmaFunction

_REPRESENTORS: Final = ("eth-rep", "rdma-rep")


class PciChildren:
    """A PCI function keeps one number of its pool for its auxiliary devices while it is driven."""

    def __init__(self, hardware: Hardware, owner: Instance, face: Face) -> None:
        self._hardware = hardware
        self._number = hardware.take_number()
        self._children = Children(hardware.auxiliary, owner.driver, self._number, face.path)
        own = self._children.handle("eth") if hardware.topology.ethernet_instances else None
        self._ethernet = Ethernet(hardware, owner, own, face)
        self._rdma = RdmaFunction(hardware.rdma, face.path, self._netdev_name, lambda: True)

    @property
    def port(self) -> Port | None:
        """Give the port of the function's netdev."""
        return self._ethernet.port

    @property
    def netdev(self) -> Netdev | None:
        """Give the function's netdev, in whichever namespace it is."""
        return self._ethernet.netdev

    def appear(self, *, ethernet: bool = True, switchdev: bool = False) -> None:
        """Add the devices that the function is to have."""
        if ethernet:
            self._children.add("eth", self._ethernet.appear, self._ethernet.disappear)
        self._children.add("rdma", self._rdma.appear, self._rdma.disappear)
        if switchdev:
            self.represent()

    def represent(self) -> None:
        """Add the devices that drive the representors of a switch."""
        for kind in _REPRESENTORS:
            self._children.add(kind, lambda: None, no_work)

    def stop_representing(self) -> None:
        """Take those away again."""
        self._children.remove(*_REPRESENTORS)

    def disappear(self) -> None:
        """Take all devices away."""
        self._children.remove()

    def release(self) -> None:
        """Give the number back: the driver has let go of the function."""
        self.disappear()
        self._hardware.numbers.discard(self._number)

    def _netdev_name(self) -> str | None:
        return None if self.netdev is None else self.netdev.name
