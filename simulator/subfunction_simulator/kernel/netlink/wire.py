"""The kernel's side of netlink reads requests and writes replies, acknowledgements and dumps.

Written apart from the codec of the core, so that a fault of the one is not undone by the same fault in the other.
"""

import dataclasses
import struct
from collections.abc import Iterator, Sequence
from typing import Final

from subfunction.kernel import uapi

_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct("=BBH")
_TLV = struct.Struct("=HH")
_DUMP_BYTES: Final = 4096
_TYPE_MASK: Final = 0x3FFF
_ATTR_OFFSET: Final = 2
EINVAL: Final = 22
POLICY: Final = "Attribute failed policy validation"


class Refusal(Exception):
    """An error goes back to the caller, with errno and extended ack."""

    def __init__(self, errno: int, text: str = "", *, offset: int | None = None) -> None:
        super().__init__(errno, text)
        self.errno = errno
        self.text = text
        self.offset = offset


class Attributes:
    """A request, or a nest in it, has attributes; unknown ones are kept, the last of equals counts."""

    def __init__(self, payload: bytes) -> None:
        self._values: dict[int, bytes] = {}
        self._nested: set[int] = set()
        offset = 0
        while len(payload) - offset >= _TLV.size:
            length, kind = _TLV.unpack_from(payload, offset)
            if not _TLV.size <= length <= len(payload) - offset:
                break  # the kernel ignores what is left over
            number = kind & _TYPE_MASK
            self._values[number] = payload[offset + _TLV.size : offset + length]
            if kind & uapi.NLA_F_NESTED:
                self._nested.add(number)
            offset += length + 3 & ~3

    def __contains__(self, number: int) -> bool:
        return number in self._values

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def text(self, number: int) -> str | None:
        """Give a string that ends in NUL."""
        value = self._values.get(number)
        if value is None:
            return None
        text, nul, _ = value.partition(b"\0")
        if not nul:
            raise Refusal(EINVAL, POLICY)
        return text.decode(errors="replace")

    def number(self, number: int, form: str) -> int | None:
        """Give an integer of the struct format `form`."""
        value = self._values.get(number)
        if value is None:
            return None
        if len(value) < struct.calcsize(form):
            raise Refusal(EINVAL, POLICY)
        return int(struct.unpack_from(form, value)[0])

    def octets(self, number: int) -> bytes | None:
        """Give the bytes as they are."""
        return self._values.get(number)

    def nest(self, number: int) -> "Attributes | None":
        """Give a nest that was sent with NLA_F_NESTED, or one without attributes where the flag is missing."""
        value = self._values.get(number)
        return None if value is None else Attributes(value if number in self._nested else b"")

    def is_nest(self, number: int) -> bool:
        """Say whether NLA_F_NESTED was set."""
        return number in self._nested


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A request has the headers that its answers echo."""

    header: bytes
    kind: int
    flags: int
    sequence: int
    port: int
    command: int
    attributes: Attributes
    fixed: bytes = b""
    """The header of the family, between netlink's header and the attributes."""

    @property
    def is_dump(self) -> bool:
        """Say whether everything is asked for."""
        return self.flags & uapi.NLM_F_DUMP == uapi.NLM_F_DUMP


def requests(datagram: bytes, fixed: int = _GENERIC.size) -> Iterator[Request]:
    """Split a datagram into its requests; the kernel ignores what is too short to be one.

    `fixed` is how many bytes stand before the attributes: generic netlink's header, or a struct of rtnetlink's.
    """
    offset = 0
    while len(datagram) - offset >= _HEADER.size:
        length, kind, flags, sequence, port = _HEADER.unpack_from(datagram, offset)
        if not _HEADER.size <= length <= len(datagram) - offset:
            return
        payload = datagram[offset + _HEADER.size : offset + length]
        command = payload[0] if len(payload) >= _GENERIC.size else 0
        header = datagram[offset : offset + _HEADER.size]
        attributes = Attributes(payload[fixed:])
        yield Request(header, kind, flags, sequence, port, command, attributes, payload[:fixed])
        offset += length + 3 & ~3


def attribute(number: int, value: bytes) -> bytes:
    """Encode one attribute with its padding."""
    return _TLV.pack(_TLV.size + len(value), number) + value + bytes(-len(value) % 4)


def u8(number: int, value: int) -> bytes:
    """Encode an 8-bit attribute."""
    return attribute(number, struct.pack("=B", value))


def u16(number: int, value: int) -> bytes:
    """Encode a 16-bit attribute."""
    return attribute(number, struct.pack("=H", value))


def u32(number: int, value: int) -> bytes:
    """Encode a 32-bit attribute."""
    return attribute(number, struct.pack("=I", value))


def u64(number: int, value: int) -> bytes:
    """Encode a 64-bit attribute."""
    return attribute(number, struct.pack("=Q", value))


def text(number: int, value: str) -> bytes:
    """Encode a string."""
    return attribute(number, value.encode() + b"\0")


def bits(number: int, value: int, selector: int) -> bytes:
    """Encode a nla_bitfield32."""
    return attribute(number, struct.pack("=II", value, selector))


def nest(number: int, *parts: bytes) -> bytes:
    """Encode a nest without NLA_F_NESTED, as most of devlink's are."""
    return attribute(number, b"".join(parts))


def flagged_nest(number: int, *parts: bytes) -> bytes:
    """Encode a nest with NLA_F_NESTED, as those that devlink learnt of late are."""
    return attribute(number | uapi.NLA_F_NESTED, b"".join(parts))


def message(kind: int, flags: int, sequence: int, port: int, body: bytes) -> bytes:
    """Encode a message of `body`, which begins with the generic header."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, port) + body


def generic(command: int, *attributes: bytes, version: int = 1) -> bytes:
    """Encode generic netlink's header and attributes."""
    return _GENERIC.pack(command, version, 0) + b"".join(attributes)


def reply(request: Request, body: bytes, flags: int = 0, *, kind: int | None = None) -> bytes:
    """Answer a request with one message; its type is the request's, but for protocols that have one for answers."""
    return message(request.kind if kind is None else kind, flags, request.sequence, request.port, body)


def acknowledgement(request: Request, refusal: Refusal | None = None, *, remark: str = "") -> bytes:
    """Encode the NLMSG_ERROR that ends a request; capped, as the core asks for it. A success may have a remark."""
    tlvs = text(uapi.NLMSGERR_ATTR_MSG, remark) if remark else _encode_extended_ack(refusal)
    flags = uapi.NLM_F_CAPPED | (uapi.NLM_F_ACK_TLVS if tlvs else 0)
    body = struct.pack("=i", -refusal.errno if refusal else 0) + request.header + tlvs
    return message(uapi.NLMSG_ERROR, flags, request.sequence, request.port, body)


def _encode_extended_ack(refusal: Refusal | None) -> bytes:
    if refusal is None or not refusal.text:
        return b""
    offset = b"" if refusal.offset is None else u32(_ATTR_OFFSET, refusal.offset)
    return text(uapi.NLMSGERR_ATTR_MSG, refusal.text) + offset


def end_dump(request: Request, refusal: Refusal | None = None) -> bytes:
    """Encode the NLMSG_DONE that ends a dump; it carries the dump's error."""
    tlvs = _encode_extended_ack(refusal)
    flags = uapi.NLM_F_MULTI | (uapi.NLM_F_ACK_TLVS if tlvs else 0)
    body = struct.pack("=i", -refusal.errno if refusal else 0) + tlvs
    return message(uapi.NLMSG_DONE, flags, request.sequence, request.port, body)


def dump(request: Request, bodies: Sequence[bytes], *, torn: bool = False, kind: int | None = None) -> list[bytes]:
    """Encode a dump: as many messages a datagram as fit, DONE at the end."""
    flags = uapi.NLM_F_MULTI | (uapi.NLM_F_DUMP_INTR if torn else 0)
    datagrams = [b""]
    for part in [*(reply(request, body, flags, kind=kind) for body in bodies), end_dump(request)]:
        if datagrams[-1] and len(datagrams[-1]) + len(part) > _DUMP_BYTES:
            datagrams.append(b"")
        datagrams[-1] += part
    return datagrams
