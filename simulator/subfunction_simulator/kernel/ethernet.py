"""The netdev of a sub-function, and the `virtual` port that shows it."""

from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.uapi import Command, PortFlavour
from subfunction_simulator.kernel.instance import Instance, Port
from subfunction_simulator.kernel.machine import Machine
from subfunction_simulator.kernel.netdev import Looks, Netdev


class Ethernet:
    """A netdev with its port, on the instance of the sub-function or on one of its own (mlx5 since 6.3)."""

    def __init__(self, machine: Machine, sub_function: Instance, child: Handle | None) -> None:
        self._machine = machine
        self.child = child
        """The instance that is of its own; None where it is the sub-function's."""
        self._instance = sub_function if child is None else Instance(child, machine.announcer)
        self._port: Port | None = None

    @property
    def netdev(self) -> Netdev | None:
        """The netdev, wherever it is."""
        return self._port.netdev if self._port is not None else None

    def appear(self, index: int, below: str, mac: Mac) -> None:
        """Register instance, port and netdev."""
        if self.child is not None:
            self._machine.instances[self.child] = self._instance
            self._instance.tell(Command.NEW)
        self._port = port = Port(self._instance, index, PortFlavour.VIRTUAL)
        self._instance.ports[index] = port
        port.tell()
        port.appear(self._machine.netdevs.add(below, port, Looks(mac=mac)))

    def disappear(self) -> None:
        """Unregister what was registered, wherever the netdev is."""
        port, self._port = self._port, None
        if port is None:
            return
        netdev = port.disappear()
        if netdev is not None:
            self._machine.netdevs.remove(netdev)
        del self._instance.ports[port.index]
        port.tell(Command.PORT_DEL)
        if self.child is not None:
            del self._machine.instances[self.child]
            self._instance.tell(Command.DEL)
