"""Splits netlink datagrams into messages, and parses the error messages among them."""

import struct
from collections.abc import Iterator
from typing import Final

from subfunction.errors import KernelError, MalformedReply
from subfunction.kernel import uapi

HEADER: Final = struct.Struct("=IHHII")
"""Length, type, flags, sequence number and port of a message, in the byte order of this machine."""

_ERROR = struct.Struct("=i")
_TLV = struct.Struct("=HH")
_MAX_ERRNO: Final = 4095


def split_messages(datagram: bytes) -> Iterator[bytes]:
    """Split a datagram into its messages.

    Raises:
        MalformedReply: a length points outside the datagram.
    """
    offset = 0
    while offset < len(datagram):
        if len(datagram) - offset < HEADER.size:
            raise MalformedReply(f"{len(datagram) - offset} stray bytes after a netlink message")
        length = HEADER.unpack_from(datagram, offset)[0]
        if not HEADER.size <= length <= len(datagram) - offset:
            raise MalformedReply(f"a netlink message claims {length} bytes of {len(datagram) - offset}")
        yield datagram[offset : offset + length]
        offset += length + 3 & ~3


def raise_if_refused(message: bytes, kind: int, flags: int, operation: str) -> None:
    """Raise the error that an ERROR or DONE message reports; return if it reports success.

    Raises:
        KernelError: the kernel refused `operation`; the text is that of its extended ack.
        MalformedReply: the message is too short or has an impossible errno.
    """
    body = message[HEADER.size :]
    if len(body) < _ERROR.size:
        raise MalformedReply(f"{operation}: a netlink error of {len(body)} bytes")
    number = -_ERROR.unpack_from(body)[0]
    if number == 0:
        return
    if not 0 < number <= _MAX_ERRNO:
        raise MalformedReply(f"{operation}: a netlink error numbered {-number}")
    offset = _ERROR.size
    if kind == uapi.NLMSG_ERROR:
        # The refused request follows: only its header when capped, else all of it.
        if len(body) < offset + HEADER.size:
            raise MalformedReply(f"{operation}: a netlink error without its request")
        request = HEADER.unpack_from(body, offset)[0]
        offset += HEADER.size if flags & uapi.NLM_F_CAPPED else request + 3 & ~3
    text = _parse_extended_ack(body[offset:]) if flags & uapi.NLM_F_ACK_TLVS else ""
    raise KernelError.refused(operation, number, text)


def _parse_extended_ack(tlvs: bytes) -> str:
    offset = 0
    while offset + _TLV.size <= len(tlvs):
        length, kind = _TLV.unpack_from(tlvs, offset)
        if not _TLV.size <= length <= len(tlvs) - offset:
            return ""
        if kind == uapi.NLMSGERR_ATTR_MSG:
            return tlvs[offset + _TLV.size : offset + length].rstrip(b"\0").decode(errors="replace")
        offset += length + 3 & ~3
    return ""
