"""Setting a network link: its name, MAC, MTU, whether it is up, and the bridge it is a port of."""

import dataclasses
from typing import Final

from subfunction.errors import KernelError
from subfunction.kernel.address import Mac
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.netlink import Interface, Kind, Schema
from subfunction.kernel.refusals import refusal
from subfunction.kernel.uapi.link import IFF_UP, LinkAttribute, RouteMessage

LINK: Final = Schema(
    {
        LinkAttribute.ADDRESS: Kind.BYTES,
        LinkAttribute.IFNAME: Kind.TEXT,
        LinkAttribute.MTU: Kind.U32,
        LinkAttribute.MASTER: Kind.U32,
    }
)


@dataclasses.dataclass(frozen=True, slots=True)
class LinkSettings:
    """What to set on a link; None leaves a setting as it is.

    `mtu` is in bytes. `master` is the ifindex of a bridge, 0 for none. The kernel applies one after the other, and not
    atomically.
    """

    name: str | None = None
    mac: Mac | None = None
    mtu: int | None = None
    up: bool | None = None
    master: int | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to set."""
        return self == LinkSettings()

    def pairs(self) -> list[tuple[LinkAttribute, int | str | bytes]]:
        """Give the attributes to send; `up` is a flag and none of them."""
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
        """Give the words of `ip link set`."""
        words = [
            f"name {self.name}" if self.name is not None else "",
            f"address {self.mac}" if self.mac is not None else "",
            f"mtu {self.mtu}" if self.mtu is not None else "",
            "" if self.up is None else "up" if self.up else "down",
            "" if self.master is None else f"master if{self.master}" if self.master else "nomaster",
        ]
        return " ".join(word for word in words if word)


class Links:
    """The network links of this process's network namespace."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink

    def set(self, ifindex: int, settings: LinkSettings) -> None:
        """Set a link with one request (`ip link set eth3 up`).

        Raises:
            Gone: this namespace has no such link.
            Invalid: a value is refused, or out of the driver's range.
            Unsupported: the driver cannot change it, or the master takes no ports.
            NotPermitted: a capability is missing.
            KernelError: any other refusal; EEXIST where the name is another link's.
        """
        # An ifindex of zero would be looked up by name, and the name here is the new one.
        interface = Interface(
            index=ifindex,
            flags=IFF_UP if settings.up else 0,
            change=0 if settings.up is None else IFF_UP,
        )
        try:
            self._netlink.change_link(LINK, interface, settings.pairs())
        except KernelError as error:
            raise refusal(f"ip link set if{ifindex} {settings}", RouteMessage.SETLINK, error) from error
