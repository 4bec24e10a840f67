"""Netlink messages to bytes and back; the only module that imports pyroute2, which does the work.

A family is described by a `Schema`: the number and kind of each attribute that we send or look at. What a message holds
is asked for by number and by the type it must have, so that a torn or hostile message is a typed error and never a
wrong object.
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
from subfunction.kernel.attributes import attributes, check_form

Value: TypeAlias = "int | str | bytes | bool | Bits | Pairs"
Pairs: TypeAlias = Sequence[tuple[enum.IntEnum, Value]]

T = TypeVar("T")


class Kind(enum.StrEnum):
    """What an attribute holds, by pyroute2's name for it."""

    U8 = "uint8"
    U16 = "uint16"
    U32 = "uint32"
    U64 = "uint64"
    TEXT = "asciiz"
    BYTES = "cdata"
    FLAG = "flag"
    BITS = "bits"


@dataclasses.dataclass(frozen=True, slots=True)
class Bits:
    """A `nla_bitfield32`: the bits `selector` names are set as in `value`."""

    value: int
    selector: int


# A field must not be called `value`: pyroute2 then gives that field alone instead of both.
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
    """What stands before a link's attributes (`struct ifinfomsg`); `change` masks the flags that are to be set."""

    index: int
    flags: int = 0
    change: int = 0
    family: int = 0


class Schema:
    """The attributes of a family, or of one nest in it: number and kind of each; what is not named is not decoded."""

    def __init__(self, known: "Mapping[enum.IntEnum, Kind | Schema]") -> None:
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
        """Give pyroute2's class for these attributes nested in another."""
        # The kernel parses PORT_FUNCTION strictly: without NLA_F_NESTED it answers EINVAL.
        return type("Nest", (nla,), {**self._namespace, "nla_flags": uapi.NLA_F_NESTED})

    def encode(self, envelope: Envelope, command: int, pairs: Pairs) -> bytes:
        """Build one message with its netlink and generic netlink headers."""
        message = self._message()
        message["cmd"] = command
        message["version"] = envelope.version
        return self._encoded(message, envelope, pairs)

    def encode_link(self, envelope: Envelope, interface: Interface, pairs: Pairs) -> bytes:
        """Build one message about a link, with its netlink header."""
        message = self._link()
        message["family"] = interface.family
        message["index"] = interface.index
        message["flags"] = interface.flags
        message["change"] = interface.change
        return self._encoded(message, envelope, pairs)

    def _encoded(self, message: Any, envelope: Envelope, pairs: Pairs) -> bytes:
        message["attrs"] = self.arranged(pairs)
        message["header"]["type"] = envelope.kind
        message["header"]["flags"] = envelope.flags
        message["header"]["sequence_number"] = envelope.sequence
        message.encode()
        return bytes(message.data)

    def arranged(self, pairs: Pairs) -> list[tuple[str, object]]:
        """Arrange attributes as pyroute2 takes them; a flag that is False is left out."""
        plain: list[tuple[str, object]] = []
        for attribute, value in pairs:
            kind = self._attributes[attribute.name][1]
            if isinstance(kind, Schema):
                if not isinstance(value, Sequence) or isinstance(value, str | bytes):
                    raise TypeError(f"{attribute.name} is a nest")
                plain.append((attribute.name, {"attrs": kind.arranged(value)}))
            elif isinstance(value, Bits):
                plain.append((attribute.name, {"bits": value.value, "selector": value.selector}))
            elif kind is not Kind.FLAG or value:
                plain.append((attribute.name, value))
        return plain

    def decode(self, message: bytes) -> "Message":
        """Read one message, headers included.

        Raises:
            MalformedReply: the bytes are not a message of this schema.
        """
        self.check(memoryview(message), _GENERIC_HEADERS)
        decoded = self._decoded(self._message, message)
        return Message(int(decoded["cmd"]), self.values(decoded))

    def decode_link(self, message: bytes) -> "tuple[Interface, Message]":
        """Read one message about a link; its command is the message's type.

        Raises:
            MalformedReply: the bytes are not such a message.
        """
        self.check(memoryview(message), _LINK_HEADERS)
        decoded = self._decoded(self._link, message)
        interface = Interface(decoded["index"], decoded["flags"], decoded["change"], decoded["family"])
        return interface, Message(int(decoded["header"]["type"]), self.values(decoded))

    def check(self, octets: memoryview, offset: int = 0) -> None:
        """Check the form of the attributes from `offset` on: pyroute2 reads a short number on into what follows it.

        Raises:
            MalformedReply: an attribute has a length that it cannot have, or stands there twice.
        """
        if len(octets) < offset:
            raise MalformedReply(f"{len(octets)} bytes where headers have {offset}")
        seen: set[int] = set()
        for number, value in attributes(octets[offset:]):
            name, kind = self._by_number.get(number, ("", Kind.BYTES))
            if isinstance(kind, Schema):
                kind.check(value)  # the elements of a list all have the same number
            elif name:
                if number in seen:
                    raise MalformedReply(f"{name} stands there twice")
                seen.add(number)
                check_form(name, value, _LENGTHS.get(kind), text=kind is Kind.TEXT)

    @staticmethod
    def _decoded(kind: type, message: bytes) -> Any:
        decoded = kind(message)
        try:
            decoded.decode()
        except (NetlinkNLADecodeError, NetlinkError, struct.error, KeyError, TypeError, UnicodeDecodeError) as error:
            raise MalformedReply(f"cannot decode {len(message)} bytes of netlink: {error}") from error
        return decoded

    def values(self, decoded: Any) -> "dict[int, list[Value | Message]]":
        """Sort what pyroute2 decoded by attribute number."""
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
    return value  # type: ignore[no-any-return]  # Message checks its type when it is asked for


class Message:
    """A decoded message or nest; its attributes are asked for by number and by the type they must have."""

    __slots__ = ("_values", "command")

    def __init__(self, command: int, values: "dict[int, list[Value | Message]]") -> None:
        self.command = command
        self._values = values

    def number(self, attribute: enum.IntEnum) -> int | None:
        """Give an integer attribute, or None where the message has none."""
        return self._one(attribute, int)

    def text(self, attribute: enum.IntEnum) -> str | None:
        """Give a text attribute, or None."""
        return self._one(attribute, str)

    def octets(self, attribute: enum.IntEnum) -> bytes | None:
        """Give a binary attribute, or None."""
        return self._one(attribute, bytes)

    def bits(self, attribute: enum.IntEnum) -> Bits | None:
        """Give a bitfield attribute, or None."""
        return self._one(attribute, Bits)

    def flag(self, attribute: enum.IntEnum) -> bool:
        """Say whether a flag is present."""
        return attribute.value in self._values

    def nest(self, attribute: enum.IntEnum) -> "Message | None":
        """Give a nested attribute, or None."""
        return self._one(attribute, Message)

    def nests(self, attribute: enum.IntEnum) -> "list[Message]":
        """Give every occurrence of a nested attribute."""
        return [value for value in self._values.get(attribute.value, ()) if isinstance(value, Message)]

    def _one(self, attribute: enum.IntEnum, kind: type[T]) -> T | None:
        values = self._values.get(attribute.value)
        if not values:
            return None
        if not isinstance(values[0], kind):
            raise MalformedReply(f"{attribute.name} is {values[0]!r}, expected {kind.__name__}")
        return values[0]
