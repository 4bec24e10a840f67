"""Our messages to bytes and back, read by a second codec that shares no line with the first."""

import enum
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subfunction.errors import MalformedReply
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.devlink import DEVLINK
from subfunction.kernel.netlink import Bits, Envelope, Message, Value
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.kernel.uapi import NLM_F_ACK, NLM_F_REQUEST, Attribute, Command, FunctionAttribute, PortFlavour
from subfunction_simulator.kernel import wire

ENVELOPE = Envelope(kind=26, flags=NLM_F_REQUEST | NLM_F_ACK, sequence=7)
U8, U16, U32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
TEXT = st.text("pciauxlry0123.:_ é日", max_size=40)

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
)


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


@given(FUNCTIONS)
def test_a_functions_settings_arrive_in_a_flagged_nest(settings: FunctionSettings) -> None:
    datagram = DEVLINK.encode(ENVELOPE, Command.PORT_SET, [(Attribute.PORT_FUNCTION, settings.pairs())])
    (request,) = wire.requests(datagram)
    assert request.attributes.is_nest(Attribute.PORT_FUNCTION)
    nest = request.attributes.nest(Attribute.PORT_FUNCTION)
    assert nest is not None
    assert nest.octets(FunctionAttribute.HW_ADDR) == (settings.mac.octets if settings.mac else None)
    caps = None if settings.roce is None else struct.pack("=II", settings.roce, 1)
    assert nest.octets(FunctionAttribute.CAPS) == caps
    assert nest.number(FunctionAttribute.MAX_IO_EQS, "=I") == settings.max_io_eqs


@given(value=st.booleans())
def test_a_true_flag_is_present_and_a_false_one_absent(*, value: bool) -> None:
    datagram = DEVLINK.encode(ENVELOPE, Command.PARAM_SET, [(Attribute.PARAM_VALUE_DATA, value)])
    (request,) = wire.requests(datagram)
    assert (Attribute.PARAM_VALUE_DATA in request.attributes) is value
    assert DEVLINK.decode(datagram).flag(Attribute.PARAM_VALUE_DATA) is value


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
    other_caps = wire.nest(Attribute.PORT_FUNCTION, wire.bits(FunctionAttribute.CAPS, 2, 2))
    function = Port.of(message_of(*HANDLE, INDEX, other_caps)).function
    assert function is not None
    assert function.roce is None


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
