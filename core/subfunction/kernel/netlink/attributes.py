"""Splits and checks netlink attributes: length, number, value, and padding to four bytes."""

import struct
from collections.abc import Iterator
from typing import Final

from subfunction.errors import MalformedReply

_HEADER: Final = struct.Struct("=HH")
_NUMBER: Final = 0x3FFF
"""The mask of an attribute's number, without the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER."""


def split_attributes(octets: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and value of each attribute.

    Raises:
        MalformedReply: a length points outside of `octets`, or bytes are left over.
    """
    offset = 0
    while offset < len(octets):
        left = len(octets) - offset
        if left < _HEADER.size:
            raise MalformedReply(f"{left} stray bytes after a netlink attribute")
        length, number = _HEADER.unpack_from(octets, offset)
        if not _HEADER.size <= length <= left:
            raise MalformedReply(f"a netlink attribute claims {length} bytes of {left}")
        yield number & _NUMBER, octets[offset + _HEADER.size : offset + length]
        offset += length + 3 & ~3


def check_form(name: str, value: memoryview, length: int | None, *, text: bool) -> None:
    """Check that a value has `length` bytes (None: any), and that a text is UTF-8 with its only NUL at the end.

    Raises:
        MalformedReply: the value has another form.
    """
    if length is not None and len(value) != length:
        raise MalformedReply(f"{name} has {len(value)} bytes, expected {length}")
    if not text:
        return
    octets = bytes(value)
    if not octets or octets.find(0) != len(octets) - 1:
        raise MalformedReply(f"{name} is no text: {octets[:80]!r}")
    try:
        octets.decode()
    except UnicodeDecodeError as error:
        raise MalformedReply(f"{name} is no text: {error}") from error
