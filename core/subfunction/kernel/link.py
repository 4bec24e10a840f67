"""Sets a network link: its name, MAC, MTU, administrative state, and the bridge it is a port of; reads its kind."""

import dataclasses
from collections.abc import Callable
from typing import Final

from subfunction.errors import Gone, Invalid, KernelError, MalformedReply, SubFunctionError
from subfunction.kernel.address import Mac
from subfunction.kernel.error_table import error_for
from subfunction.kernel.netlink.codec import Interface, Kind, Message, Schema
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.uapi.link import IFF_UP, LinkAttribute, LinkInfoAttribute, RouteMessage

LINK: Final = Schema(
    {
        LinkAttribute.ADDRESS: Kind.BYTES,
        LinkAttribute.IFNAME: Kind.TEXT,
        LinkAttribute.MTU: Kind.U32,
        LinkAttribute.MASTER: Kind.U32,
    }
)
_KIND: Final = Schema({LinkAttribute.LINKINFO: Schema({LinkInfoAttribute.KIND: Kind.TEXT})})
_LIMITS: Final = Schema({LinkAttribute.MIN_MTU: Kind.U32, LinkAttribute.MAX_MTU: Kind.U32})
_NAMES: Final = Schema(
    {
        LinkAttribute.IFNAME: Kind.TEXT,
        LinkAttribute.ALT_IFNAME: Kind.TEXT,
        LinkAttribute.PROP_LIST: Schema({LinkAttribute.ALT_IFNAME: Kind.TEXT}, repeated=(LinkAttribute.ALT_IFNAME,)),
    }
)


@dataclasses.dataclass(frozen=True, slots=True)
class LinkNames:
    """The name of a link, which sysfs shows, and its alternative names (`altname`), which it does not show."""

    name: str
    alternatives: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class LinkSettings:
    """The settings of a link to change; None leaves a setting as it is.

    `mtu` is in bytes. `master` is the ifindex of a bridge, 0 for none. The kernel applies them one after the other, not
    atomically.
    """

    name: str | None = None
    mac: Mac | None = None
    mtu: int | None = None
    up: bool | None = None
    master: int | None = None

    @property
    def empty(self) -> bool:
        """Return whether there is nothing to set."""
        return self == LinkSettings()

    def pairs(self) -> list[tuple[LinkAttribute, int | str | bytes]]:
        """Return the attributes to send; `up` is not among them, since it is a flag of the message."""
        pairs: list[tuple[LinkAttribute, int | str | bytes]] = []
        if self.mac is not None:
            pairs.append((LinkAttribute.ADDRESS, self.mac.octets))
        if self.mtu is not None:
            pairs.append((LinkAttribute.MTU, self.mtu))
        if self.name is not None:
            pairs.append((LinkAttribute.IFNAME, self.name))
        if self.master is not None:
            pairs.append((LinkAttribute.MASTER, self.master))
        return pairs

    def __str__(self) -> str:
        """Return the settings in the words of `ip link set`."""
        words = [
            f"name {self.name}" if self.name is not None else "",
            f"address {self.mac}" if self.mac is not None else "",
            f"mtu {self.mtu}" if self.mtu is not None else "",
            "" if self.up is None else "up" if self.up else "down",
            "" if self.master is None else f"master if{self.master}" if self.master else "nomaster",
        ]
        return " ".join(word for word in words if word)


class Links:
    """Changes and reads network links in this process's network namespace."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink

    def set(self, ifindex: int, settings: LinkSettings) -> None:
        """Change a link with one request (`ip link set eth3 up`).

        Raises:
            Gone: this namespace has no such link.
            Invalid: a value is refused, or out of the driver's range, which the hint then tells.
            Unsupported: the driver cannot change it, or the master takes no ports.
            NotPermitted: a capability is missing.
            KernelError: any other refusal; EEXIST where the name is another link's.
        """
        # Never ifindex 0: the kernel would look the link up by name, and the name here is the new one.
        interface = Interface(
            index=ifindex,
            flags=IFF_UP if settings.up else 0,
            change=0 if settings.up is None else IFF_UP,
        )
        try:
            self._netlink.change_link(LINK, interface, settings.pairs())
        except KernelError as error:
            refused = error_for(f"ip link set if{ifindex} {settings}", RouteMessage.SETLINK, error)
            if isinstance(refused, Invalid) and settings.mtu is not None:
                refused.hint = self._describe_mtu(ifindex, settings.mtu) or refused.hint
            raise refused from error

    def _describe_mtu(self, ifindex: int, asked: int) -> str:
        """Return in words which MTU the link takes, if it is not the one that was asked for; empty if unknown."""
        try:
            link = _read(f"ip -d link show if{ifindex}", lambda: self._netlink.read_link(_LIMITS, ifindex))
        except SubFunctionError:
            return ""  # the refusal itself is what has to be told
        if link is None:
            return ""
        lowest, highest = link.number(LinkAttribute.MIN_MTU) or 0, link.number(LinkAttribute.MAX_MTU) or 0
        # A driver that says 0 has no highest MTU of its own (dev_validate_mtu in net/core/dev.c, Linux 6.12).
        if not highest or lowest <= asked <= highest:
            return ""
        return f"The driver of this link takes an MTU of {lowest} to {highest} bytes."

    def find(self, name: str) -> LinkNames | None:
        """Find a link by any of its names (`ip link show altname NAME`); None where this namespace has no such link.

        A name and all alternative ones are unique in a namespace: a link cannot be renamed to an alternative name, not
        even to its own (net/core/dev.c, Linux 6.12).

        Raises:
            KernelError: the kernel refused for another reason.
            KernelBusy, MalformedReply: no answer came in time, or a malformed one.
        """
        asked = [(LinkAttribute.ALT_IFNAME, name)]
        link = _read(f"ip link show altname {name}", lambda: self._netlink.read_link(_NAMES, 0, asked))
        if link is None:
            return None
        found, properties = link.text(LinkAttribute.IFNAME), link.nest(LinkAttribute.PROP_LIST)
        if found is None:
            raise MalformedReply(f"the link {name} has no name")
        return LinkNames(found, tuple(properties.texts(LinkAttribute.ALT_IFNAME)) if properties else ())

    def kind(self, ifindex: int) -> str | None:
        """Read what software a link is (`ip -d link show`): `bridge`, `openvswitch`, `bond`; empty for a NIC's netdev.

        It is None where this namespace has no such link.

        Raises:
            KernelError: the kernel refused for another reason.
            KernelBusy, MalformedReply: no answer came in time, or a malformed one.
        """
        link = _read(f"ip link show if{ifindex}", lambda: self._netlink.read_link(_KIND, ifindex))
        if link is None:
            return None
        info = link.nest(LinkAttribute.LINKINFO)
        return (info.text(LinkInfoAttribute.KIND) if info else None) or ""


def _read(operation: str, ask: Callable[[], tuple[Interface, Message]]) -> Message | None:
    """Return the link that is asked for, None where this namespace has no such link."""
    try:
        _, link = ask()
    except KernelError as error:
        refused = error_for(operation, RouteMessage.GETLINK, error)
        if isinstance(refused, Gone):
            return None
        raise refused from error
    return link
