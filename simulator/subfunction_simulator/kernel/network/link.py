"""rtnetlink sends one message about each link."""

import struct

from subfunction_simulator.kernel.netlink import wire
from subfunction_simulator.kernel.netlink.uapi import (
    ARPHRD_ETHER,
    IFLA_INFO_KIND,
    OPERSTATE_DOWN,
    OPERSTATE_UP,
    LinkAttribute,
)
from subfunction_simulator.kernel.network.netdev import Netdev

INTERFACE = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, link layer, ifindex, flags, which of the flags are to change."""


def link(netdev: Netdev, changed: int = 0) -> bytes:
    """Encode what follows the netlink header of RTM_NEWLINK and RTM_DELLINK."""
    attribute = LinkAttribute
    parts = [
        INTERFACE.pack(0, ARPHRD_ETHER, netdev.ifindex, netdev.flags, changed),
        wire.text(attribute.IFNAME, netdev.name),
        wire.u8(attribute.OPERSTATE, OPERSTATE_UP if netdev.up else OPERSTATE_DOWN),
        wire.u32(attribute.MTU, netdev.mtu),
        wire.u32(attribute.MIN_MTU, netdev.lowest_mtu),
        wire.u32(attribute.MAX_MTU, netdev.highest_mtu),
        wire.attribute(attribute.ADDRESS, netdev.mac.octets),
    ]
    if netdev.master is not None:
        parts.append(wire.u32(attribute.MASTER, netdev.master.ifindex))
    if netdev.alternative_names:
        names = (wire.text(attribute.ALT_IFNAME, name) for name in netdev.alternative_names)
        parts.append(wire.nest(attribute.PROP_LIST, *names))
    if netdev.kind is not None:
        parts.append(wire.nest(attribute.LINKINFO, wire.text(IFLA_INFO_KIND, netdev.kind)))
    if netdev.phys_port_name is not None:
        parts.append(wire.text(attribute.PHYS_PORT_NAME, netdev.phys_port_name))
    if netdev.switch_id is not None:
        parts.append(wire.attribute(attribute.PHYS_SWITCH_ID, bytes.fromhex(netdev.switch_id)))
    if netdev.kind is None:
        name = netdev.parent.rpartition("/")[2]
        parts.append(wire.text(attribute.PARENT_DEV_NAME, name))
        # The address of a PCI function has colons, the name of an auxiliary device has none.
        parts.append(wire.text(attribute.PARENT_DEV_BUS_NAME, "pci" if ":" in name else "auxiliary"))
    return b"".join(parts)
