"""The PCI driver of a card makes a devlink instance or a plain netdev of each function that it takes."""

from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import Command, PortFlavour
from subfunction_simulator.kernel.cards.ethernet import Face
from subfunction_simulator.kernel.cards.nic import Nic
from subfunction_simulator.kernel.cards.pcichildren import PciChildren
from subfunction_simulator.kernel.devlink.instance import Instance
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, no_work
from subfunction_simulator.kernel.hardware import Hardware
from subfunction_simulator.kernel.network.netdev import Looks, Netdev
from subfunction_simulator.kernel.pci.function import PciFunction


class VirtualFunction(Instance):
    """A virtual function that mlx5_core drives is an instance of its own, which no sub-function can be made on."""

    def __init__(self, hardware: Hardware, function: PciFunction) -> None:
        super().__init__(Handle("pci", function.name), hardware.announcer)
        self._hardware = hardware
        self._function = function
        face = Face(path=function.path, index=hardware.next_vhca_id() << 16, flavour=PortFlavour.VIRTUAL, looks=Looks)
        self._children = PciChildren(hardware, self, face)

    @property
    def driver(self) -> str:
        """Give the driver's name."""
        return self._function.native

    def register(self) -> None:
        """Appear, with netdev and RDMA device."""
        self._hardware.instances[self.handle] = self
        self.tell(Command.NEW)
        self._children.appear()

    def unregister(self) -> None:
        """Go, wherever the netdev is."""
        self.leaving = True
        self._children.release()
        del self._hardware.instances[self.handle]
        self.tell(Command.DEL)


class CardDriver:
    """A card's driver is `mlx5_core`, `ice` or `iavf`."""

    def __init__(self, name: str, hardware: Hardware) -> None:
        self.name = name
        self._hardware = hardware
        self._physical: dict[PciFunction, Nic] = {}
        self._virtual: dict[PciFunction, VirtualFunction] = {}
        self._plain: dict[PciFunction, Netdev] = {}

    def matches(self, function: PciFunction, /) -> bool:
        """Say whether the driver lists the function's ids."""
        return function.native == self.name

    def probe(self, function: PciFunction, /) -> None:
        """Bring a function up."""
        if not self._hardware.topology.devlink:
            return
        if function.index is None:
            self._physical[function] = nic = Nic(self._hardware, function.parent)
            nic.register()
            self._hardware.mediated.register(function.path, self.name, function.parent.mediated_types)
        elif self.name == "mlx5_core":
            self._virtual[function] = virtual = VirtualFunction(self._hardware, function)
            virtual.register()
        else:
            self._plain[function] = self._hardware.netdevs.add(function.path, None, Looks())

    def remove(self, function: PciFunction, /) -> PendingWork:
        """Bring it down."""
        if function in self._virtual:
            self._virtual.pop(function).unregister()
        if function in self._plain:
            self._hardware.netdevs.remove(self._plain.pop(function))
        nic = self._physical.pop(function, None)
        return no_work() if nic is None else self._hardware.mediated.unregister(function.path).after(nic.unregister)
