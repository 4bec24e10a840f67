"""The multicast group `config`: who listens, and what is told to them."""

from typing import Final, Protocol

from subfunction_simulator.kernel import wire

DEVLINK_ID: Final = 0x1A
CONFIG_GROUP: Final = 5


class Listener(Protocol):
    """The kernel's end of a socket that joined the group."""

    def deliver(self, datagram: bytes) -> None:
        """Take one datagram; never block."""

    def overrun(self) -> None:
        """Take note that datagrams were lost (ENOBUFS)."""

    def end(self) -> None:
        """Close: the kernel goes down."""


class Announcer:
    """Tells every listener of the group."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.deaf = False

    def tell(self, command: int, *attributes: bytes) -> None:
        """Send one notification."""
        if self.deaf:
            return
        datagram = wire.message(DEVLINK_ID, 0, 0, 0, wire.generic(command, *attributes))
        for listener in tuple(self.listeners):
            listener.deliver(datagram)

    def overrun(self) -> None:
        """Let every listener have lost something."""
        for listener in tuple(self.listeners):
            listener.overrun()

    def end(self) -> None:
        """Close every listener's socket."""
        for listener in tuple(self.listeners):
            listener.end()
        self.listeners.clear()
