"""A devlink port and its function, and how they are parsed from netlink messages."""

import dataclasses
from typing import TypeVar

from subfunction.errors import MalformedReply
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.netlink.codec import Bits, Kind, Message, Pairs, Schema
from subfunction.kernel.uapi import (
    FUNCTION_CAP_IPSEC_CRYPTO,
    FUNCTION_CAP_IPSEC_PACKET,
    FUNCTION_CAP_MIGRATABLE,
    FUNCTION_CAP_ROCE,
    Attribute,
    FunctionAttribute,
    FunctionOpstate,
    FunctionState,
    PortFlavour,
    PortType,
)

S = TypeVar("S", FunctionState, FunctionOpstate)

_NESTED = Schema({Attribute.BUS_NAME: Kind.TEXT, Attribute.DEV_NAME: Kind.TEXT, Attribute.NETNS_ID: Kind.U32})

FUNCTION = Schema(
    {
        FunctionAttribute.HW_ADDR: Kind.BYTES,
        FunctionAttribute.STATE: Kind.U8,
        FunctionAttribute.OPSTATE: Kind.U8,
        FunctionAttribute.CAPS: Kind.BITS,
        FunctionAttribute.DEVLINK: _NESTED,
        FunctionAttribute.MAX_IO_EQS: Kind.U32,
    }
)


_CAPS = {
    FUNCTION_CAP_ROCE: "roce",
    FUNCTION_CAP_MIGRATABLE: "migratable",
    FUNCTION_CAP_IPSEC_CRYPTO: "ipsec_crypto",
    FUNCTION_CAP_IPSEC_PACKET: "ipsec_packet",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Function:
    """The settings of a port's function; None where the driver does not offer the setting.

    `max_io_eqs` counts event queues for I/O. `instance` is the function's own devlink instance, None until its driver
    has made one (reported by Linux 6.7 and newer). Only virtual functions offer the last three.
    """

    mac: Mac | None = None
    active: bool = False
    attached: bool = False
    roce: bool | None = None
    max_io_eqs: int | None = None
    instance: Handle | None = None
    migratable: bool | None = None
    ipsec_crypto: bool | None = None
    ipsec_packet: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Port:
    """One port of a devlink instance; the netdev of an `ethernet` port without one is in another network namespace.

    `index` is opaque: each driver computes it in its own way, so only the kernel's answers have it. `port_number` is
    that of a physical port, and what a PF's sub-functions have as their `pf`; `vf` is the index of a virtual function.
    """

    handle: Handle
    index: int
    flavour: PortFlavour | None = None
    ethernet: bool = False
    netdev: str | None = None
    ifindex: int | None = None
    port_number: int | None = None
    controller: int = 0
    pf: int | None = None
    number: int | None = None
    function: Function | None = None
    vf: int | None = None

    @classmethod
    def of(cls, message: Message) -> "Port":
        """Parse a port from a reply or a notification.

        Raises:
            MalformedReply: the message has no handle or no index, or a value of another type.
        """
        index = message.number(Attribute.PORT_INDEX)
        if index is None:
            raise MalformedReply("a port without an index")
        flavour = message.number(Attribute.PORT_FLAVOUR)
        nest = message.nest(Attribute.PORT_FUNCTION)
        return cls(
            handle=parse_handle(message),
            index=index,
            flavour=PortFlavour(flavour) if flavour in set(PortFlavour) else None,
            ethernet=message.number(Attribute.PORT_TYPE) == PortType.ETH,
            netdev=message.text(Attribute.PORT_NETDEV_NAME),
            ifindex=message.number(Attribute.PORT_NETDEV_IFINDEX),
            port_number=message.number(Attribute.PORT_NUMBER),
            controller=message.number(Attribute.PORT_CONTROLLER_NUMBER) or 0,
            pf=message.number(Attribute.PORT_PCI_PF_NUMBER),
            number=message.number(Attribute.PORT_PCI_SF_NUMBER),
            function=None if nest is None else _parse_function(nest),
            vf=message.number(Attribute.PORT_PCI_VF_NUMBER),
        )

    @property
    def is_sub_function(self) -> bool:
        """Return whether this is the port of a sub-function."""
        return self.flavour is PortFlavour.PCI_SF


@dataclasses.dataclass(frozen=True, slots=True)
class FunctionSettings:
    """The settings to change on a function before it is active; None leaves a setting as it is.

    The kernel applies MAC, capabilities and event queues in this order, not atomically: after an error the earlier
    ones stay changed.
    """

    mac: Mac | None = None
    roce: bool | None = None
    max_io_eqs: int | None = None
    migratable: bool | None = None
    ipsec_crypto: bool | None = None
    ipsec_packet: bool | None = None

    @property
    def empty(self) -> bool:
        """Return whether there is nothing to set."""
        return self == FunctionSettings()

    def pairs(self) -> Pairs:
        """Return the attributes to send."""
        pairs: list[tuple[FunctionAttribute, int | bytes | Bits]] = []
        if self.mac is not None:
            pairs.append((FunctionAttribute.HW_ADDR, self.mac.octets))
        caps = {bit: wanted for bit, name in _CAPS.items() if (wanted := getattr(self, name)) is not None}
        if caps:
            pairs.append((FunctionAttribute.CAPS, Bits(sum(bit for bit, on in caps.items() if on), sum(caps))))
        if self.max_io_eqs is not None:
            pairs.append((FunctionAttribute.MAX_IO_EQS, self.max_io_eqs))
        return pairs


def parse_handle(message: Message) -> Handle:
    """Parse the handle of a message or of a nested instance.

    Raises:
        MalformedReply: the message has no handle.
    """
    bus, device = message.text(Attribute.BUS_NAME), message.text(Attribute.DEV_NAME)
    if not bus or not device:
        raise MalformedReply("a devlink message without a handle")
    return Handle(bus, device)


def _parse_function(nest: Message) -> Function:
    octets = nest.octets(FunctionAttribute.HW_ADDR)
    bits = nest.bits(FunctionAttribute.CAPS)
    caps = {name: bool(bits.value & bit) for bit, name in _CAPS.items() if bits and bits.selector & bit}
    instance = nest.nest(FunctionAttribute.DEVLINK)
    return Function(
        # Up to 32 bytes are allowed, for InfiniBand; we use only Ethernet addresses, of six bytes.
        mac=Mac(octets) if octets is not None and len(octets) == 6 else None,
        active=_parse_state(nest, FunctionAttribute.STATE, FunctionState) is FunctionState.ACTIVE,
        attached=_parse_state(nest, FunctionAttribute.OPSTATE, FunctionOpstate) is FunctionOpstate.ATTACHED,
        max_io_eqs=nest.number(FunctionAttribute.MAX_IO_EQS),
        instance=None if instance is None else parse_handle(instance),
        **caps,
    )


def _parse_state(nest: Message, attribute: FunctionAttribute, states: type[S]) -> S | None:
    number = nest.number(attribute)
    if number is None:
        return None
    try:
        return states(number)
    except ValueError as error:
        # Read as "inactive" the function would be activated, or waited for without end.
        raise MalformedReply(f"{attribute.name} is {number}, which is no state") from error
