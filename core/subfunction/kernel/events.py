"""What devlink announces on its `config` group: ports and instances that appear, change and go.

An event is a reason to look, never a fact to act on: mlx5 does not announce that a function attached, and the order
against netdev and uevent messages means nothing.
"""

import dataclasses
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

from subfunction.errors import FamilyMissing
from subfunction.kernel.address import Handle
from subfunction.kernel.announcements import Lost, Source, announcements
from subfunction.kernel.datagram import HEADER, messages
from subfunction.kernel.devlink import DEVLINK
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.netlink import Message
from subfunction.kernel.port import Port, handle_of
from subfunction.kernel.transport import Socket
from subfunction.kernel.uapi import DEVLINK_FAMILY, DEVLINK_GROUP, Command

__all__ = ["Event", "InstanceChanged", "Lost", "PortChanged", "PortDeleted", "monitor"]


@dataclasses.dataclass(frozen=True, slots=True)
class PortChanged:
    """A port appeared, or something about it changed."""

    port: Port


@dataclasses.dataclass(frozen=True, slots=True)
class PortDeleted:
    """A port is gone; `port` is what was last known of it."""

    port: Port


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceChanged:
    """A devlink instance appeared, changed or went."""

    handle: Handle


_Announced: TypeAlias = PortChanged | PortDeleted | InstanceChanged
Event: TypeAlias = _Announced | Lost


def monitor(netlink: Netlink, *, reopen_after: float = 1.0) -> AsyncGenerator[Event, None]:
    """Yield events for ever (`devlink monitor`); the first is a `Lost`, since the past is unknown.

    `netlink` is used for the look-up of the group alone, before the first event; see `announcements`.

    Raises:
        FamilyMissing: this kernel has no devlink, or no simulated one listens.
        KernelBusy: the look-up or the joining was not answered.
    """

    def join() -> tuple[Socket, Callable[[bytes], list[_Announced]]]:
        family = netlink.family(DEVLINK_FAMILY)
        if (group := family.groups.get(DEVLINK_GROUP)) is None:
            raise FamilyMissing(f"this kernel announces nothing of {DEVLINK_FAMILY!r}")
        return netlink.transport.subscribe(group), lambda datagram: read(datagram, family.number)

    return announcements(Source("devlink", join, netlink.close), reopen_after=reopen_after)


def read(datagram: bytes, family: int) -> list[_Announced]:
    """Read the events of one datagram.

    Raises:
        MalformedReply: the bytes are no devlink messages.
    """
    return [
        event
        for message in messages(datagram)
        if HEADER.unpack_from(message)[1] == family and (event := _event(DEVLINK.decode(message)))
    ]


def _event(message: Message) -> _Announced | None:
    match message.command:
        case Command.PORT_NEW:
            return PortChanged(Port.of(message))
        case Command.PORT_DEL:
            return PortDeleted(Port.of(message))
        case Command.NEW | Command.DEL | Command.RELOAD:
            return InstanceChanged(handle_of(message))
        case _:
            return None
