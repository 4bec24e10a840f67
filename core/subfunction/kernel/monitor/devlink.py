"""Monitors devlink's `config` group: ports and instances that appear, change and disappear.

An event is a reason to observe, never a fact to act on: mlx5 does not announce that a function attached, and the order
relative to netdev and uevent messages means nothing.
"""

import dataclasses
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

from subfunction.errors import FamilyMissing
from subfunction.kernel.address import Handle
from subfunction.kernel.monitor.multicast import Overrun, Source, receive_events
from subfunction.kernel.netlink.codec import Message
from subfunction.kernel.netlink.devlink_schema import DEVLINK
from subfunction.kernel.netlink.framing import HEADER, split_messages
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import Socket
from subfunction.kernel.port import Port, parse_handle
from subfunction.kernel.uapi import DEVLINK_FAMILY, DEVLINK_GROUP, Attribute, Command

__all__ = ["Event", "InstanceChanged", "Overrun", "PortChanged", "PortDeleted", "ReporterChanged", "monitor_devlink"]


@dataclasses.dataclass(frozen=True, slots=True)
class PortChanged:
    """A port appeared or changed."""

    port: Port


@dataclasses.dataclass(frozen=True, slots=True)
class PortDeleted:
    """A port was deleted; `port` is its last state."""

    port: Port


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceChanged:
    """A devlink instance appeared, changed or disappeared."""

    handle: Handle


@dataclasses.dataclass(frozen=True, slots=True)
class ReporterChanged:
    """A health reporter of an instance is in error, or healthy again."""

    handle: Handle
    reporter: str


_Announced: TypeAlias = PortChanged | PortDeleted | InstanceChanged | ReporterChanged
Event: TypeAlias = _Announced | Overrun


def monitor_devlink(netlink: Netlink, *, reopen_after: float = 1.0) -> AsyncGenerator[Event, None]:
    """Yield events without end (`devlink monitor`); the first is an `Overrun`, since the past is unknown.

    `netlink` is used only to look up the group, before the first event; see `receive_events`.

    Raises:
        FamilyMissing: this kernel has no devlink, or no simulated kernel listens.
        KernelBusy: the look-up of the group or the request to join it was not answered.
    """

    def join() -> tuple[Socket, Callable[[bytes], list[_Announced]]]:
        family = netlink.family(DEVLINK_FAMILY)
        if (group := family.groups.get(DEVLINK_GROUP)) is None:
            raise FamilyMissing(f"this kernel announces nothing of {DEVLINK_FAMILY!r}")
        return netlink.transport.subscribe(group), lambda datagram: parse_events(datagram, family.number)

    return receive_events(Source("devlink", join, netlink.close), reopen_after=reopen_after)


def parse_events(datagram: bytes, family: int) -> list[_Announced]:
    """Parse the events of one datagram.

    Raises:
        MalformedReply: the bytes are no devlink messages.
    """
    return [
        event
        for message in split_messages(datagram)
        if HEADER.unpack_from(message)[1] == family and (event := _parse_event(DEVLINK.decode(message)))
    ]


def _parse_event(message: Message) -> _Announced | None:
    match message.command:
        case Command.PORT_NEW:
            return PortChanged(Port.of(message))
        case Command.PORT_DEL:
            return PortDeleted(Port.of(message))
        case Command.NEW | Command.DEL | Command.RELOAD:
            return InstanceChanged(parse_handle(message))
        case Command.HEALTH_REPORTER_RECOVER:
            reporter = message.nest(Attribute.HEALTH_REPORTER)
            name = reporter.text(Attribute.HEALTH_REPORTER_NAME) if reporter is not None else None
            return ReporterChanged(parse_handle(message), name or "")
        case _:
            return None
