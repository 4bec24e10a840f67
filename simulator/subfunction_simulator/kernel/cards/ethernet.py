"""A function has a netdev, and a port that shows it: `physical` or `virtual`."""

import dataclasses
from collections.abc import Callable

from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import Command, PortFlavour
from subfunction_simulator.kernel.devlink.instance import Instance, Port
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, no_work
from subfunction_simulator.kernel.hardware import Hardware
from subfunction_simulator.kernel.network.netdev import Looks, Netdev


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A function's driver says these things of port and netdev."""

    path: str
    """The directory of the device below which the netdev is."""
    index: int
    flavour: PortFlavour
    number: int | None = None
    looks: Callable[[], Looks]


class Ethernet:
    """A netdev and its port are on the instance of their function or on one of their own (mlx5 since 6.3)."""

    def __init__(self, hardware: Hardware, owner: Instance, child: Handle | None, face: Face) -> None:
        self._hardware = hardware
        self._owner = owner
        self._child = child
        self._face = face
        self._instance = owner if child is None else Instance(child, hardware.announcer)
        self.port: Port | None = None

    @property
    def netdev(self) -> Netdev | None:
        """Give the netdev, in whichever namespace it is."""
        return self.port.netdev if self.port is not None else None

    def appear(self) -> None:
        """Register instance, port and netdev."""
        face = self._face
        if self._child is not None:
            self._hardware.instances[self._child] = self._instance
            self._instance.tell(Command.NEW)
        self.port = port = Port(self._instance, face.index, face.flavour, number=face.number)
        self._instance.ports[port.index] = port
        port.tell()
        port.appear(self._hardware.netdevs.add(face.path, port, face.looks()))
        if self._child is not None:
            # Twice, as 6.12 was seen to do it: for the nesting, and for the registration of what is nested.
            self._nest(self._child)
            self._nest(self._child)

    def disappear(self) -> PendingWork:
        """Unregister what was registered, wherever the netdev is."""
        port, self.port = self.port, None
        if port is None:
            return no_work()
        netdev = port.disappear()
        if netdev is not None:
            self._hardware.netdevs.remove(netdev)
        del self._instance.ports[port.index]
        port.tell(Command.PORT_DEL)
        if self._child is not None:
            del self._hardware.instances[self._child]
            self._instance.tell(Command.DEL)
            self._nest(None)
        return no_work()

    def _nest(self, child: Handle | None) -> None:
        """Name the nested instance or none, and notify; an instance that goes itself has no time for that."""
        if self._hardware.topology.nested_handles:
            self._owner.nested = () if child is None else (child,)
            if not self._owner.leaving:
                self._owner.tell(Command.NEW)
