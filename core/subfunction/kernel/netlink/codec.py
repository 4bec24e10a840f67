"""Encodes and decodes netlink messages by pyroute2; no other module imports that.

A `Schema` describes a family: the number and kind of each attribute that we send or read. An attribute of a message is
read by its number and the type that it must have, so that a torn or hostile message raises a typed error and never
becomes a wrong object.
"""

import dataclasses
import enum
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from pyroute2.netlink import genlmsg, nla, nlmsg
from pyroute2.netlink.exceptions import NetlinkError, NetlinkNLADecodeError

from subfunction.errors import MalformedReply
from subfunction.kernel import uapi
from subfunction.kernel.netlink.attributes import check_form, split_attributes

Value: TypeAlias = "int | str | bytes | bool | Bits | Pairs"
Pairs: TypeAlias = Sequence[tuple[enum.IntEnum, Value]]

T = TypeVar("T")


class Kind(enum.StrEnum):
    """The type of an attribute's value, by pyroute2's name for it."""

    U8 = "uint8"
    U16 = "uint16"
    U32 = "uint32"
    U64 = "uint64"
    TEXT = "asciiz"
    BYTES = "cdata"
    BITS = "bits"


@dataclasses.dataclass(frozen=True, slots=True)
class Bits:
    """A `nla_bitfield32`: the bits in `selector` are set as in `value`, all others stay."""

    value: int
    selector: int


# A field must not be called `value`: pyroute2 would then return only that field instead of both.
_Bits = type("_Bits", (nla,), {"fields": (("bits", "=I"), ("selector", "=I"))})


_LENGTHS: Final = {Kind.U8: 1, Kind.U16: 2, Kind.U32: 4, Kind.U64: 8, Kind.BITS: 8}
_GENERIC_HEADERS: Final = 20
_LINK_HEADERS: Final = 32
_IFINFOMSG = (("family", "B"), ("pad", "x"), ("type", "H"), ("index", "i"), ("flags", "I"), ("change", "I"))


@dataclasses.dataclass(frozen=True, slots=True)
class Envelope:
    """The headers of a message: netlink's type, flags and sequence number, generic netlink's version."""

    kind: int
    flags: int
    sequence: int
    version: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Interface:
    """The header before a link's attributes (`struct ifinfomsg`); `change` is the mask of the flags to set."""

    index: int
    flags: int = 0
    change: int = 0
    family: int = 0


class Schema:
    """The attributes of a family or of one nest: number and kind of each; attributes that it lacks are not decoded.

    `repeated` are those that may occur more than once without being nests.
    """

    def __init__(self, known: "Mapping[enum.IntEnum, Kind | Schema]", *, repeated: Sequence[enum.IntEnum] = ()) -> None:
        self._repeated = frozenset(attribute.value for attribute in repeated)
        self._attributes = {attribute.name: (attribute, kind) for attribute, kind in known.items()}
        self._by_number = {attribute.value: (attribute.name, kind) for attribute, kind in known.items()}
        nests = {name: kind.nest() for name, (_, kind) in self._attributes.items() if isinstance(kind, Schema)}
        self._namespace = {
            "nla_map": tuple(
                (attribute.value, name, name if isinstance(kind, Schema) else kind.value)
                for name, (attribute, kind) in self._attributes.items()
            ),
            "prefix": "",
            "bits": _Bits,
            **nests,
        }
        self._message = type("Message", (genlmsg,), self._namespace)
        self._link = type("Link", (nlmsg,), {**self._namespace, "fields": _IFINFOMSG})

    def nest(self) -> type:
        """Return pyroute2's class for these attributes nested in another one."""
        # The kernel parses PORT_FUNCTION strictly: without NLA_F_NESTED it answers EINVAL.
        return type("Nest", (nla,), {**self._namespace, "nla_flags": uapi.NLA_F_NESTED})

    def encode(self, envelope: Envelope, command: int, pairs: Pairs) -> bytes:
        """Build one message with its netlink and generic netlink headers."""
        message = self._message()
        message["cmd"] = command
        message["version"] = envelope.version
        return self._encode(message, envelope, pairs)

    def encode_link(self, envelope: Envelope, interface: Interface, pairs: Pairs) -> bytes:
        """Build one message about a link, with its netlink header."""
        message = self._link()
        message["family"] = interface.family
        message["index"] = interface.index
        message["flags"] = interface.flags
        message["change"] = interface.change
        return self._encode(message, envelope, pairs)

    def _encode(self, message: Any, envelope: Envelope, pairs: Pairs) -> bytes:
        message["attrs"] = self.to_pyroute2(pairs)
        message["header"]["type"] = envelope.kind
        message["header"]["flags"] = envelope.flags
        message["header"]["sequence_number"] = envelope.sequence
        message.encode()
        return bytes(message.data)

    def to_pyroute2(self, pairs: Pairs) -> list[tuple[str, object]]:
        """Arrange attributes as pyroute2 takes them."""
        plain: list[tuple[str, object]] = []
        for attribute, value in pairs:
            kind = self._attributes[attribute.name][1]
            if isinstance(kind, Schema):
                if not isinstance(value, Sequence) or isinstance(value, str | bytes):
                    raise TypeError(f"{attribute.name} is a nest")
                plain.append((attribute.name, {"attrs": kind.to_pyroute2(value)}))
            elif isinstance(value, Bits):
                plain.append((attribute.name, {"bits": value.value, "selector": value.selector}))
            else:
                plain.append((attribute.name, value))
        return plain

    def decode(self, message: bytes) -> "Message":
        """Decode one message, headers included.

        Raises:
            MalformedReply: the bytes are not a message of this schema.
        """
        self.check(memoryview(message), _GENERIC_HEADERS)
        decoded = self._decode(self._message, message)
        return Message(int(decoded["cmd"]), self.values(decoded))

    def decode_link(self, message: bytes) -> "tuple[Interface, Message]":
        """Decode one message about a link; the type of the netlink header becomes its command.

        Raises:
            MalformedReply: the bytes are not a message about a link.
        """
        self.check(memoryview(message), _LINK_HEADERS)
        decoded = self._decode(self._link, message)
        interface = Interface(decoded["index"], decoded["flags"], decoded["change"], decoded["family"])
        return interface, Message(int(decoded["header"]["type"]), self.values(decoded))

    def check(self, octets: memoryview, offset: int = 0) -> None:
        """Check the form of the attributes from `offset` on: pyroute2 reads past the end of a number that is too short.

        Raises:
            MalformedReply: an attribute has a wrong length or form, or occurs twice outside of a list.
        """
        if len(octets) < offset:
            raise MalformedReply(f"{len(octets)} bytes where headers have {offset}")
        seen: set[int] = set()
        for number, value in split_attributes(octets[offset:]):
            name, kind = self._by_number.get(number, ("", Kind.BYTES))
            if isinstance(kind, Schema):
                kind.check(value)  # no test for duplicates: the elements of a list all have the same number
            elif name:
                if number in seen and number not in self._repeated:
                    raise MalformedReply(f"{name} occurs twice")
                seen.add(number)
                check_form(name, value, _LENGTHS.get(kind), text=kind is Kind.TEXT)

    @staticmethod
    def _decode(kind: type, message: bytes) -> Any:
        decoded = kind(message)
        try:
            decoded.decode()
        except (NetlinkNLADecodeError, NetlinkError, struct.error, KeyError, TypeError, UnicodeDecodeError) as error:
            raise MalformedReply(f"cannot decode {len(message)} bytes of netlink: {error}") from error
        return decoded

    def values(self, decoded: Any) -> "dict[int, list[Value | Message]]":
        """Group the values that pyroute2 decoded by attribute number."""
        values: dict[int, list[Value | Message]] = {}
        for name, value, *_ in decoded["attrs"]:
            if name in self._attributes:
                attribute, kind = self._attributes[name]
                values.setdefault(attribute.value, []).append(_typed(kind, value))
        return values


def _typed(kind: Kind | Schema, value: Any) -> "Value | Message":
    if isinstance(kind, Schema):
        return Message(0, kind.values(value))
    if kind is Kind.BITS:
        return Bits(int(value["bits"]), int(value["selector"]))
    return value  # type: ignore[no-any-return]  # Message checks the type when it is read


class Message:
    """A decoded message or nest; each method returns an attribute of one type, or raises MalformedReply for another."""

    __slots__ = ("_values", "command")

    def __init__(self, command: int, values: "dict[int, list[Value | Message]]") -> None:
        self.command = command
        self._values = values

    def number(self, attribute: enum.IntEnum) -> int | None:
        """Return an integer attribute, None where the message has none."""
        return self._one(attribute, int)

    def text(self, attribute: enum.IntEnum) -> str | None:
        """Return a text attribute, or None."""
        return self._one(attribute, str)

    def texts(self, attribute: enum.IntEnum) -> list[str]:
        """Return every occurrence of a text attribute."""
        return [value for value in self._values.get(attribute.value, ()) if isinstance(value, str)]

    def octets(self, attribute: enum.IntEnum) -> bytes | None:
        """Return a binary attribute, or None."""
        return self._one(attribute, bytes)

    def bits(self, attribute: enum.IntEnum) -> Bits | None:
        """Return a bitfield attribute, or None."""
        return self._one(attribute, Bits)

    def nest(self, attribute: enum.IntEnum) -> "Message | None":
        """Return a nested attribute, or None."""
        return self._one(attribute, Message)

    def nests(self, attribute: enum.IntEnum) -> "list[Message]":
        """Return every occurrence of a nested attribute."""
        return [value for value in self._values.get(attribute.value, ()) if isinstance(value, Message)]

    def _one(self, attribute: enum.IntEnum, kind: type[T]) -> T | None:
        values = self._values.get(attribute.value)
        if not values:
            return None
        if not isinstance(values[0], kind):
            raise MalformedReply(f"{attribute.name} is {values[0]!r}, expected {kind.__name__}")
        return values[0]
