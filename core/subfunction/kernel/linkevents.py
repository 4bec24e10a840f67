"""What the kernel announces of network links in this namespace: that they appear, change (name, up or down) and go."""

import dataclasses
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

from subfunction.errors import MalformedReply
from subfunction.kernel.announcements import Lost, Source, announcements
from subfunction.kernel.datagram import HEADER, messages
from subfunction.kernel.link import LINK
from subfunction.kernel.transport import NetlinkProtocol, Socket, Transport
from subfunction.kernel.uapi.link import AF_UNSPEC, IFF_UP, RTNLGRP_LINK, LinkAttribute, RouteMessage


@dataclasses.dataclass(frozen=True, slots=True)
class LinkChanged:
    """A link appeared, or something about it changed; `up` is the administrative state."""

    ifindex: int
    name: str
    up: bool


@dataclasses.dataclass(frozen=True, slots=True)
class LinkDeleted:
    """A link is gone from this namespace: removed, or moved to another one."""

    ifindex: int
    name: str


LinkEvent: TypeAlias = LinkChanged | LinkDeleted
_TYPES = frozenset({RouteMessage.NEWLINK.value, RouteMessage.DELLINK.value})


def links(transport: Transport, *, reopen_after: float = 1.0) -> AsyncGenerator[LinkEvent | Lost, None]:
    """Yield events for ever (`ip monitor link`); see `announcements`.

    Raises:
        FamilyMissing: this kernel has no such socket, or no simulated one listens.
        KernelBusy: a simulated kernel did not answer.
    """

    def join() -> tuple[Socket, Callable[[bytes], list[LinkEvent]]]:
        return transport.subscribe(RTNLGRP_LINK, NetlinkProtocol.ROUTE), read

    return announcements(Source("link", join), reopen_after=reopen_after)


def read(datagram: bytes) -> list[LinkEvent]:
    """Read the events of one datagram.

    Raises:
        MalformedReply: the bytes are no messages about links.
    """
    about_links = (message for message in messages(datagram) if HEADER.unpack_from(message)[1] in _TYPES)
    return [event for message in about_links if (event := _event(message))]


def _event(message: bytes) -> LinkEvent | None:
    interface, link = LINK.decode_link(message)
    if interface.family != AF_UNSPEC:
        return None  # a bridge says so that a port left it, which is no end of the port
    name = link.text(LinkAttribute.IFNAME)
    if not name or interface.index <= 0:
        raise MalformedReply(f"a link without a name or an index: {name!r}, {interface.index}")
    if link.command == RouteMessage.DELLINK:
        return LinkDeleted(interface.index, name)
    return LinkChanged(interface.index, name, up=bool(interface.flags & IFF_UP))
