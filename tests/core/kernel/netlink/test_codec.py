"""Our messages to bytes and back, read by a second codec that shares no line with the first."""

import enum
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.conftest import ScriptedTransport

from subfunction.errors import MalformedReply
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.link import Links, LinkSettings
from subfunction.kernel.netlink.codec import Bits, Envelope, Message, Value
from subfunction.kernel.netlink.devlink_schema import DEVLINK
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.kernel.uapi import NLM_F_ACK, NLM_F_REQUEST, Attribute, Command, FunctionAttribute, PortFlavour
from subfunction.kernel.uapi.link import LinkAttribute, RouteMessage
from subfunction_simulator.kernel.netlink import wire

ENVELOPE = Envelope(kind=26, flags=NLM_F_REQUEST | NLM_F_ACK, sequence=7)
U8, U16, U32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
TEXT = st.text("pciauxlry0123.:_ é日", max_size=40)

LINK = struct.Struct("=BxHiII")
NUMBERS = {
    Attribute.PORT_INDEX: (U32, "=I"),
    Attribute.PORT_TYPE: (U16, "=H"),
    Attribute.PORT_FLAVOUR: (U16, "=H"),
    Attribute.PORT_PCI_PF_NUMBER: (U16, "=H"),
    Attribute.PORT_PCI_SF_NUMBER: (U32, "=I"),
    Attribute.PARAM_TYPE: (U8, "=B"),
}
FUNCTIONS = st.builds(
    FunctionSettings,
    mac=st.none() | st.builds(Mac, st.binary(min_size=6, max_size=6)),
    roce=st.none() | st.booleans(),
    max_io_eqs=st.none() | U32,
    migratable=st.none() | st.booleans(),
    ipsec_crypto=st.none() | st.booleans(),
    ipsec_packet=st.none() | st.booleans(),
)


@settings(deadline=None)
@given(bus=TEXT, device=TEXT, numbers=st.fixed_dictionaries({}, optional={a: s for a, (s, _) in NUMBERS.items()}))
def test_what_we_send_is_what_the_other_codec_reads_and_ours_reads_back(
    bus: str, device: str, numbers: dict[Attribute, int]
) -> None:
    pairs: list[tuple[enum.IntEnum, Value]] = [(Attribute.BUS_NAME, bus), (Attribute.DEV_NAME, device)]
    datagram = DEVLINK.encode(ENVELOPE, Command.PORT_GET, [*pairs, *numbers.items()])
    (request,) = wire.requests(datagram)
    assert (request.kind, request.sequence, request.command) == (26, 7, Command.PORT_GET)
    assert (request.attributes.text(Attribute.BUS_NAME), request.attributes.text(Attribute.DEV_NAME)) == (bus, device)
    assert {a: request.attributes.number(a, NUMBERS[a][1]) for a in numbers} == numbers
    message = DEVLINK.decode(datagram)
    assert (message.text(Attribute.BUS_NAME), message.text(Attribute.DEV_NAME)) == (bus, device)
    assert {a: message.number(a) for a in numbers} == numbers


@settings(deadline=None)
@given(FUNCTIONS)
def test_a_functions_settings_arrive_in_a_flagged_nest(settings: FunctionSettings) -> None:
    datagram = DEVLINK.encode(ENVELOPE, Command.PORT_SET, [(Attribute.PORT_FUNCTION, settings.pairs())])
    (request,) = wire.requests(datagram)
    assert request.attributes.is_nest(Attribute.PORT_FUNCTION)
    nest = request.attributes.nest(Attribute.PORT_FUNCTION)
    assert nest is not None
    assert nest.octets(FunctionAttribute.HW_ADDR) == (settings.mac.octets if settings.mac else None)
    wanted = (settings.roce, settings.migratable, settings.ipsec_crypto, settings.ipsec_packet)
    value = sum(1 << bit for bit, on in enumerate(wanted) if on)
    selector = sum(1 << bit for bit, on in enumerate(wanted) if on is not None)
    assert nest.octets(FunctionAttribute.CAPS) == (struct.pack("=II", value, selector) if selector else None)
    assert nest.number(FunctionAttribute.MAX_IO_EQS, "=I") == settings.max_io_eqs


@given(data=st.binary(max_size=8))
def test_a_value_of_bytes_is_sent_as_it_is_also_without_any(data: bytes) -> None:
    datagram = DEVLINK.encode(ENVELOPE, Command.PARAM_SET, [(Attribute.PARAM_VALUE_DATA, data)])
    (request,) = wire.requests(datagram)
    assert request.attributes.octets(Attribute.PARAM_VALUE_DATA) == data
    assert DEVLINK.decode(datagram).octets(Attribute.PARAM_VALUE_DATA) == data


def message_of(*attributes: bytes) -> Message:
    return DEVLINK.decode(wire.message(26, 0, 7, 0, wire.generic(Command.NEW, *attributes)))


HANDLE = (wire.text(Attribute.BUS_NAME, "pci"), wire.text(Attribute.DEV_NAME, "0000:05:00.0"))
INDEX = wire.u32(Attribute.PORT_INDEX, 32768)


def test_a_sub_functions_port_is_read_with_everything_it_has() -> None:
    instance = wire.nest(FunctionAttribute.DEVLINK, wire.text(1, "auxiliary"), wire.text(2, "mlx5_core.sf.4"))
    function = wire.nest(
        Attribute.PORT_FUNCTION,
        wire.attribute(FunctionAttribute.HW_ADDR, b"\x02\0\0\0\x88\x88"),
        wire.u8(FunctionAttribute.STATE, 1),
        wire.u8(FunctionAttribute.OPSTATE, 1),
        wire.bits(FunctionAttribute.CAPS, 1, 1),
        instance,
        wire.u32(FunctionAttribute.MAX_IO_EQS, 8),
    )
    numbers = (wire.u16(Attribute.PORT_FLAVOUR, 7), wire.u16(Attribute.PORT_PCI_PF_NUMBER, 1))
    port = Port.of(message_of(*HANDLE, INDEX, *numbers, wire.u32(Attribute.PORT_PCI_SF_NUMBER, 88), function))
    assert (str(port.handle), port.index, port.pf, port.number) == ("pci/0000:05:00.0", 32768, 1, 88)
    assert port.is_sub_function
    assert port.function is not None
    assert str(port.function.mac) == "02:00:00:00:88:88"
    assert (port.function.active, port.function.attached, port.function.roce) == (True, True, True)
    assert (port.function.max_io_eqs, port.function.instance) == (8, Handle("auxiliary", "mlx5_core.sf.4"))


def test_what_a_driver_does_not_offer_is_none_and_not_false() -> None:
    function = Port.of(message_of(*HANDLE, INDEX, wire.nest(Attribute.PORT_FUNCTION))).function
    assert function is not None
    assert (function.mac, function.roce, function.max_io_eqs, function.instance) == (None, None, None, None)
    other_caps = wire.nest(Attribute.PORT_FUNCTION, wire.bits(FunctionAttribute.CAPS, 2, 6))
    function = Port.of(message_of(*HANDLE, INDEX, other_caps)).function
    assert function is not None
    assert (function.roce, function.migratable, function.ipsec_crypto) == (None, True, False)
    assert function.ipsec_packet is None


def test_a_virtual_functions_port_tells_its_index() -> None:
    vf = (wire.u16(Attribute.PORT_FLAVOUR, PortFlavour.PCI_VF), wire.u16(Attribute.PORT_PCI_VF_NUMBER, 3))
    port = Port.of(message_of(*HANDLE, INDEX, *vf))
    assert (port.flavour, port.vf, port.number) == (PortFlavour.PCI_VF, 3, None)


@pytest.mark.parametrize("attribute", [FunctionAttribute.STATE, FunctionAttribute.OPSTATE])
def test_a_state_that_nobody_knows_is_malformed_and_not_inactive(attribute: FunctionAttribute) -> None:
    nest = wire.nest(Attribute.PORT_FUNCTION, wire.u8(attribute, 2))
    with pytest.raises(MalformedReply, match=f"{attribute.name} is 2"):
        Port.of(message_of(*HANDLE, INDEX, nest))


def wrong_forms() -> Iterator[tuple[bytes, ...]]:
    """Attributes that a careless reader takes for something: it reads on into what follows, or stops short of it."""
    after = wire.text(Attribute.PORT_NETDEV_NAME, "eth0")
    for octets in (b"", b"\1", b"\1\2", b"\1\2\3\4\5", bytes(8)):
        yield (wire.attribute(Attribute.PORT_INDEX, octets), after)
    yield (INDEX, wire.attribute(Attribute.PORT_FLAVOUR, bytes(4)), after)
    yield (INDEX, wire.attribute(Attribute.PORT_FLAVOUR, b"\7"), after)
    for octets in (b"", b"eth0", b"et\0h0\0", b"eth0\0\0", b"\xff\xfe\0"):
        yield (INDEX, wire.attribute(Attribute.PORT_NETDEV_NAME, octets))
    yield (INDEX, INDEX)
    yield (INDEX, b"\1\0")
    yield (INDEX, struct.pack("=HH", 0, Attribute.PORT_NETDEV_NAME))
    yield (INDEX, struct.pack("=HH", 40, Attribute.PORT_NETDEV_NAME) + b"eth0\0\0\0\0")
    yield (INDEX, wire.attribute(Attribute.PORT_FUNCTION, b"\1\2\3\4\5"))
    yield (INDEX, wire.nest(Attribute.PORT_FUNCTION, wire.attribute(FunctionAttribute.STATE, bytes(4))))
    yield (INDEX, wire.nest(Attribute.PORT_FUNCTION, wire.attribute(FunctionAttribute.CAPS, bytes(4))))


@pytest.mark.parametrize("attributes", list(wrong_forms()))
def test_an_attribute_of_a_wrong_form_is_malformed_and_never_another_value(attributes: tuple[bytes, ...]) -> None:
    with pytest.raises(MalformedReply):
        Port.of(message_of(*HANDLE, *attributes))


def test_a_parameter_of_another_type_is_no_reason_to_stop_reading() -> None:
    number = wire.nest(
        Attribute.PARAM_VALUE, wire.u32(Attribute.PARAM_VALUE_DATA, 8), wire.u8(Attribute.PARAM_VALUE_CMODE, 1)
    )
    parameter = wire.nest(Attribute.PARAM, wire.nest(Attribute.PARAM_VALUES_LIST, number, number))
    assert message_of(*HANDLE, parameter).nest(Attribute.PARAM) is not None


LINKS = st.builds(
    LinkSettings,
    name=st.none() | st.text("sfrep0123456789", min_size=1, max_size=15),
    mac=st.none() | st.builds(Mac, st.binary(min_size=6, max_size=6)),
    mtu=st.none() | U32,
    up=st.none() | st.booleans(),
    master=st.none() | U32,
)


@settings(deadline=None)
@given(ifindex=st.integers(1, 1 << 30), wanted=LINKS)
def test_a_links_settings_arrive_as_one_request_behind_its_index_and_flags(ifindex: int, wanted: LinkSettings) -> None:
    sent: list[bytes] = []

    def answer(datagram: bytes) -> list[bytes]:
        sent.append(datagram)
        (request,) = wire.requests(datagram, LINK.size)
        return [wire.acknowledgement(request)]

    Links(Netlink(ScriptedTransport(answer))).set(ifindex, wanted)
    (request,) = wire.requests(sent[0], LINK.size)
    _, _, index, flags, change = LINK.unpack_from(sent[0], 16)
    assert (request.kind, index) == (RouteMessage.SETLINK, ifindex)
    assert (bool(flags & 1), bool(change & 1)) == (bool(wanted.up), wanted.up is not None)
    assert request.attributes.text(LinkAttribute.IFNAME) == wanted.name
    assert request.attributes.octets(LinkAttribute.ADDRESS) == (wanted.mac.octets if wanted.mac else None)
    assert request.attributes.number(LinkAttribute.MTU, "=I") == wanted.mtu
    assert request.attributes.number(LinkAttribute.MASTER, "=I") == wanted.master


def test_an_infiniband_address_of_twenty_bytes_is_no_mac() -> None:
    nest = wire.nest(Attribute.PORT_FUNCTION, wire.attribute(FunctionAttribute.HW_ADDR, bytes(20)))
    function = Port.of(message_of(*HANDLE, INDEX, nest)).function
    assert function is not None
    assert function.mac is None


def test_a_flavour_of_a_later_kernel_is_unknown_and_no_error() -> None:
    assert Port.of(message_of(*HANDLE, INDEX, wire.u16(Attribute.PORT_FLAVOUR, 4711))).flavour is None
    flavour = Port.of(message_of(*HANDLE, INDEX, wire.u16(Attribute.PORT_FLAVOUR, PortFlavour.VIRTUAL))).flavour
    assert flavour is PortFlavour.VIRTUAL


def test_attributes_of_a_later_kernel_are_passed_over() -> None:
    later = (wire.u64(4711, 1), wire.nest(4712, wire.text(1, "x")), wire.attribute(4713, b""))
    assert Port.of(message_of(*later, *HANDLE, *later, INDEX, *later)).index == 32768


def incomplete() -> Iterator[tuple[bytes, ...]]:
    yield ()
    yield HANDLE
    yield (INDEX,)
    yield (HANDLE[0], INDEX)
    yield (HANDLE[1], INDEX)
    yield (wire.text(Attribute.BUS_NAME, ""), HANDLE[1], INDEX)


@pytest.mark.parametrize("attributes", list(incomplete()))
def test_a_port_without_handle_or_index_is_malformed(attributes: tuple[bytes, ...]) -> None:
    with pytest.raises(MalformedReply):
        Port.of(message_of(*attributes))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(body: bytes) -> None:
    try:
        Port.of(DEVLINK.decode(wire.message(26, 0, 7, 0, body)))
    except MalformedReply:
        return


def test_a_bitfield_is_value_and_selector() -> None:
    nest = message_of(wire.nest(Attribute.PORT_FUNCTION, wire.bits(FunctionAttribute.CAPS, 0, 1)))
    function = nest.nest(Attribute.PORT_FUNCTION)
    assert function is not None
    assert function.bits(FunctionAttribute.CAPS) == Bits(0, 1)
