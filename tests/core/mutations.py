"""Ways to spoil a netlink message, by its structure: what a byte changed at random would rarely hit."""

import dataclasses
import struct
from collections.abc import Iterator
from typing import Final

HEADER: Final = struct.Struct("=IHHII")
TLV: Final = struct.Struct("=HH")
NESTED: Final = 0x8000
GENERIC, ROUTE = 4, 16
"""Bytes of headers behind netlink's own."""

FIRST_TYPE: Final = 16
"""Types below are netlink's own (ERROR, DONE); those of links are few and known."""
LINK_TYPES: Final = range(16, 20)
UNKNOWN: Final = 0x3FF0


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """An attribute of a datagram: where it is, and the offsets of all lengths that count its bytes."""

    offset: int
    length: int
    number: int
    around: tuple[int, ...]
    """Offsets of the 16 bit lengths of the nests around it."""
    message: int
    """Offset of its message, whose length has 32 bits."""


def places(datagram: bytes) -> list[Place]:
    """Find every attribute, nests and what is in them."""
    return [place for offset, end in _messages(datagram) for place in _of_message(datagram, offset, end)]


def _messages(datagram: bytes) -> Iterator[tuple[int, int]]:
    offset = 0
    while offset + HEADER.size <= len(datagram):
        length = HEADER.unpack_from(datagram, offset)[0]
        if not HEADER.size <= length <= len(datagram) - offset:
            return
        yield offset, offset + length
        offset += length + 3 & ~3


def _of_message(datagram: bytes, offset: int, end: int) -> Iterator[Place]:
    kind = HEADER.unpack_from(datagram, offset)[1]
    if kind >= FIRST_TYPE:
        # The family nlctrl has the number of RTM_NEWLINK, and its messages the version in the second byte.
        link = kind in LINK_TYPES and datagram[offset + HEADER.size + 1] == 0
        yield from _attributes(datagram, offset + HEADER.size + (ROUTE if link else GENERIC), end, (), offset)


def _attributes(datagram: bytes, offset: int, end: int, around: tuple[int, ...], message: int) -> Iterator[Place]:
    while offset + TLV.size <= end:
        length, number = TLV.unpack_from(datagram, offset)
        if not TLV.size <= length <= end - offset:
            return
        yield Place(offset, length, number & ~NESTED, around, message)
        if _is_nest(datagram[offset + TLV.size : offset + length]):
            yield from _attributes(datagram, offset + TLV.size, offset + length, (*around, offset), message)
        offset += length + 3 & ~3


def _is_nest(value: bytes) -> bool:
    """Guess, since the kernel often leaves the flag out: attributes that fill the value to its end."""
    offset = 0
    while offset + TLV.size <= len(value):
        length, number = TLV.unpack_from(value, offset)
        if not (TLV.size <= length <= len(value) - offset and 0 < number & ~NESTED < 256):
            return False
        offset += length + 3 & ~3
    return len(value) > 0 and offset >= len(value)


def replaced(datagram: bytes, place: Place, attribute: bytes) -> bytes:
    """Put another attribute, or none, into one's place, and correct every length around it."""
    padded = attribute + bytes(-len(attribute) % 4)
    grown = len(padded) - (place.length + 3 & ~3)
    spoiled = bytearray(datagram)
    spoiled[place.offset : place.offset + (place.length + 3 & ~3)] = padded
    for offset in place.around:
        struct.pack_into("=H", spoiled, offset, struct.unpack_from("=H", datagram, offset)[0] + grown)
    length = struct.unpack_from("=I", datagram, place.message)[0]
    struct.pack_into("=I", spoiled, place.message, length + grown)
    return bytes(spoiled)


def attribute(number: int, value: bytes) -> bytes:
    """Build one attribute, unpadded."""
    return TLV.pack(TLV.size + len(value), number) + value


def lengthened(datagram: bytes, place: Place, length: int) -> bytes:
    """Let an attribute claim another length, and nothing else."""
    spoiled = bytearray(datagram)
    struct.pack_into("=H", spoiled, place.offset, length)
    return bytes(spoiled)
