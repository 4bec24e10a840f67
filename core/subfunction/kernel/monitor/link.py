"""Monitors the network links of this namespace: that they appear, change (name, up or down) and disappear."""

import dataclasses
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

from subfunction.errors import MalformedReply
from subfunction.kernel.link import LINK
from subfunction.kernel.monitor.multicast import Overrun, Source, receive_events
from subfunction.kernel.netlink.framing import HEADER, split_messages
from subfunction.kernel.netlink.transport import NetlinkProtocol, Socket, Transport
from subfunction.kernel.uapi.link import AF_UNSPEC, IFF_UP, RTNLGRP_LINK, LinkAttribute, RouteMessage


@dataclasses.dataclass(frozen=True, slots=True)
class LinkChanged:
    """A link appeared or changed; `up` is the administrative state."""

    ifindex: int
    name: str
    up: bool


@dataclasses.dataclass(frozen=True, slots=True)
class LinkDeleted:
    """A link left this namespace: it was removed, or moved to another namespace."""

    ifindex: int
    name: str


LinkEvent: TypeAlias = LinkChanged | LinkDeleted
_TYPES = frozenset({RouteMessage.NEWLINK.value, RouteMessage.DELLINK.value})


def monitor_links(transport: Transport, *, reopen_after: float = 1.0) -> AsyncGenerator[LinkEvent | Overrun, None]:
    """Yield events without end (`ip monitor link`); see `receive_events`.

    Raises:
        FamilyMissing: this kernel has no such socket, or no simulated kernel listens.
        KernelBusy: a simulated kernel did not answer.
    """

    def join() -> tuple[Socket, Callable[[bytes], list[LinkEvent]]]:
        return transport.subscribe(RTNLGRP_LINK, NetlinkProtocol.ROUTE), parse_events

    return receive_events(Source("link", join), reopen_after=reopen_after)


def parse_events(datagram: bytes) -> list[LinkEvent]:
    """Parse the events of one datagram.

    Raises:
        MalformedReply: the bytes are no messages about links.
    """
    about_links = (message for message in split_messages(datagram) if HEADER.unpack_from(message)[1] in _TYPES)
    return [event for message in about_links if (event := _parse_event(message))]


def _parse_event(message: bytes) -> LinkEvent | None:
    interface, link = LINK.decode_link(message)
    if interface.family != AF_UNSPEC:
        return None  # a bridge reports a port that left it in this way; the link itself still exists
    name = link.text(LinkAttribute.IFNAME)
    if not name or interface.index <= 0:
        raise MalformedReply(f"a link without a name or an index: {name!r}, {interface.index}")
    if link.command == RouteMessage.DELLINK:
        return LinkDeleted(interface.index, name)
    return LinkChanged(interface.index, name, up=bool(interface.flags & IFF_UP))
