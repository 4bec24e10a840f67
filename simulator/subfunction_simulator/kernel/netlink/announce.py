"""A multicast group has listeners, and tells them what happens."""

from collections.abc import Iterator
from typing import Final, Protocol

from subfunction.kernel.uapi import NetlinkProtocol
from subfunction_simulator.kernel.netlink import wire

DEVLINK_ID: Final = 0x1A
CONFIG_GROUP: Final = 5
_CONFIG: Final = (NetlinkProtocol.GENERIC, CONFIG_GROUP)


class Listener(Protocol):
    """A listener is the kernel's end of a socket that joined a group."""

    def deliver(self, datagram: bytes) -> None:
        """Take one datagram; never block."""

    def overrun(self) -> None:
        """Take note that datagrams were lost (ENOBUFS)."""

    def end(self) -> None:
        """Close: the kernel goes down."""


class Announcer:
    """The announcer tells every listener of a group."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, int], list[Listener]] = {}
        self.deaf = False

    def join(self, protocol: NetlinkProtocol, group: int, listener: Listener) -> None:
        """Let `listener` hear a group of a protocol."""
        self._groups.setdefault((protocol, group), []).append(listener)

    def leave(self, listener: Listener) -> None:
        """Let `listener` hear nothing any more."""
        for members in self._groups.values():
            if listener in members:
                members.remove(listener)

    def heard(self, protocol: NetlinkProtocol, group: int) -> bool:
        """Say whether it is worth while to compose what is told to a group."""
        return not self.deaf and bool(self._groups.get((protocol, group)))

    def send(self, protocol: NetlinkProtocol, group: int, datagram: bytes) -> None:
        """Send one notification to a group."""
        if not self.deaf:
            for listener in tuple(self._groups.get((protocol, group), ())):
                listener.deliver(datagram)

    def tell(self, command: int, *attributes: bytes) -> None:
        """Send one notification of devlink."""
        if self.heard(*_CONFIG):
            self.send(*_CONFIG, wire.message(DEVLINK_ID, 0, 0, 0, wire.generic(command, *attributes)))

    def listeners(self) -> Iterator[Listener]:
        """Give every listener of every group."""
        for members in tuple(self._groups.values()):
            yield from tuple(members)

    def overrun(self) -> None:
        """Let every listener have lost something."""
        for listener in self.listeners():
            listener.overrun()

    def end(self) -> None:
        """Close every listener's socket."""
        for listener in self.listeners():
            listener.end()
        self._groups.clear()
