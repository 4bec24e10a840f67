"""The PCI drivers of cards: what becomes of a function that one of them takes."""

from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import Command, PortFlavour
from subfunction_simulator.kernel.instance import Instance, Port
from subfunction_simulator.kernel.machine import Machine
from subfunction_simulator.kernel.netdev import Looks, Netdev
from subfunction_simulator.kernel.nic import Nic
from subfunction_simulator.kernel.pci import PciFunction
from subfunction_simulator.kernel.work import Work, done


class VirtualFunction(Instance):
    """A virtual function that mlx5_core drives: an instance of its own, which no sub-function can be made on."""

    def __init__(self, machine: Machine, function: PciFunction) -> None:
        super().__init__(Handle("pci", function.name), machine.announcer)
        self._machine = machine
        self._function = function
        self._port = Port(self, machine.next_vhca_id() << 16, PortFlavour.VIRTUAL)

    @property
    def driver(self) -> str:
        """The driver's name."""
        return self._function.native

    def register(self) -> None:
        """Appear, with a netdev."""
        self._machine.instances[self.handle] = self
        self.tell(Command.NEW)
        self.ports[self._port.index] = self._port
        self._port.tell()
        self._port.appear(self._machine.netdevs.add(self._function.path, self._port, Looks()))

    def unregister(self) -> None:
        """Go, wherever the netdev is."""
        netdev = self._port.disappear()
        if netdev is not None:
            self._machine.netdevs.remove(netdev)
        del self.ports[self._port.index]
        self._port.tell(Command.PORT_DEL)
        del self._machine.instances[self.handle]
        self.tell(Command.DEL)


class CardDriver:
    """`mlx5_core`, `ice` or `iavf`."""

    def __init__(self, name: str, machine: Machine) -> None:
        self.name = name
        self._machine = machine
        self._physical: dict[PciFunction, Nic] = {}
        self._virtual: dict[PciFunction, VirtualFunction] = {}
        self._plain: dict[PciFunction, Netdev] = {}

    def matches(self, function: PciFunction, /) -> bool:
        """Take the functions whose ids it lists."""
        return function.native == self.name

    def probe(self, function: PciFunction, /) -> None:
        """Bring a function up."""
        if not self._machine.topology.devlink:
            return
        if function.index is None:
            self._physical[function] = nic = Nic(self._machine, function.parent)
            nic.register()
            self._machine.mediated.register(function.path, self.name, function.parent.mediated_types)
        elif self.name == "mlx5_core":
            self._virtual[function] = virtual = VirtualFunction(self._machine, function)
            virtual.register()
        else:
            self._plain[function] = self._machine.netdevs.add(function.path, None, Looks())

    def remove(self, function: PciFunction, /) -> Work:
        """Bring it down."""
        if function in self._virtual:
            self._virtual.pop(function).unregister()
        if function in self._plain:
            self._machine.netdevs.remove(self._plain.pop(function))
        nic = self._physical.pop(function, None)
        return done() if nic is None else self._machine.mediated.unregister(function.path).after(nic.unregister)
