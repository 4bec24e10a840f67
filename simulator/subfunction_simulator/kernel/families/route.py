"""rtnetlink has messages about links: a change, a look, and all of them."""

from subfunction.kernel.address import Mac
from subfunction_simulator.kernel.faults import Operation
from subfunction_simulator.kernel.hardware import Hardware
from subfunction_simulator.kernel.netlink.uapi import IFNAMSIZ, LinkAttribute, RouteMessage
from subfunction_simulator.kernel.netlink.wire import EINVAL, Refusal, Request
from subfunction_simulator.kernel.network.link import INTERFACE, link
from subfunction_simulator.kernel.network.netdev import Netdev

ENODEV, EEXIST, EOPNOTSUPP, EADDRNOTAVAIL = 19, 17, 95, 99


class Route:
    """rtnetlink answers as `ip link` is answered; a change is applied piece by piece, in the kernel's order."""

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware

    def answer(self, request: Request) -> list[bytes]:
        """Give the bodies that answer a request, each of a RTM_NEWLINK.

        Raises:
            Refusal: as the kernel refuses it; what was applied before stays.
        """
        if len(request.fixed) < INTERFACE.size:
            raise Refusal(EINVAL)
        if request.kind == RouteMessage.GETLINK:
            if request.is_dump:
                return [link(netdev) for netdev in self._hardware.netdevs if netdev.namespace is None]
            return [link(self._find(request))]
        if request.kind == RouteMessage.SETLINK:
            self._hardware.faults.strike(Operation.SET_LINK)
            self._change(self._find(request), request)
            return []
        raise Refusal(EOPNOTSUPP)

    def _find(self, request: Request) -> Netdev:
        _, _, ifindex, _, _ = INTERFACE.unpack_from(request.fixed)
        attributes = request.attributes
        name = attributes.text(LinkAttribute.IFNAME) or attributes.text(LinkAttribute.ALT_IFNAME)
        if ifindex <= 0 and name is None:
            raise Refusal(EINVAL)
        for netdev in self._hardware.netdevs:
            if netdev.namespace is None and (netdev.ifindex == ifindex if ifindex > 0 else netdev.is_named(name)):
                return netdev
        raise Refusal(ENODEV)

    def _change(self, netdev: Netdev, request: Request) -> None:
        _, _, ifindex, flags, mask = INTERFACE.unpack_from(request.fixed)
        netdevs, attributes = self._hardware.netdevs, request.attributes
        address, mtu = attributes.octets(LinkAttribute.ADDRESS), attributes.number(LinkAttribute.MTU, "=I")
        if address is not None and len(address) < len(netdev.mac.octets):
            raise Refusal(EINVAL)
        if address is not None and netdev.keeps_address:
            raise Refusal(EOPNOTSUPP)
        if address is not None:
            netdevs.set_mac(netdev, _address(address))
        if mtu is not None:
            netdevs.set_mtu(netdev, _within(netdev, mtu))
        name = attributes.text(LinkAttribute.IFNAME)
        if name and ifindex > 0 and name != netdev.name:
            self._rename(netdev, name)
        master = attributes.number(LinkAttribute.MASTER, "=I")
        if master is not None:
            netdevs.enslave(netdev, self._bridge(netdev, master))
        if flags or mask:
            # Without a mask all flags are meant, as before there was one.
            mask = mask or 0xFFFFFFFF
            netdevs.set_flags(netdev, netdev.flags & ~mask | flags & mask)

    def _rename(self, netdev: Netdev, name: str) -> None:
        if len(name) >= IFNAMSIZ or name in {".", ".."} or any(each in "/:" or each.isspace() for each in name):
            raise Refusal(EINVAL)
        if any(other.is_named(name) and other.namespace is None for other in self._hardware.netdevs):
            raise Refusal(EEXIST)
        self._hardware.netdevs.rename(netdev, name)
        if netdev.port is not None:
            netdev.port.tell()

    def _bridge(self, netdev: Netdev, ifindex: int) -> Netdev | None:
        if not ifindex:
            return None
        masters = (other for other in self._hardware.netdevs if other.ifindex == ifindex and other.namespace is None)
        master = next(masters, None)
        if master is None:
            raise Refusal(EINVAL)
        if master.kind != "bridge":
            raise Refusal(EOPNOTSUPP)
        if netdev.kind == "bridge":
            raise Refusal(40, "Can not enslave a bridge to a bridge")
        return master


def _address(octets: bytes) -> Mac:
    mac = Mac(octets[:6])
    if not mac.unicast:
        raise Refusal(EADDRNOTAVAIL)
    return mac


def _within(netdev: Netdev, mtu: int) -> int:
    if mtu < netdev.lowest_mtu:
        raise Refusal(EINVAL, "mtu less than device minimum")
    if mtu > netdev.highest_mtu:
        raise Refusal(EINVAL, "mtu greater than device maximum")
    return mtu
