"""An exchange with a kernel, read: which request, with which attributes, and how it was answered."""

import dataclasses
import enum
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from subfunction.errors import KernelError
from subfunction.kernel import uapi
from subfunction.kernel.bus.vdpa import VDPA
from subfunction.kernel.link import LINK
from subfunction.kernel.netlink.attributes import split_attributes
from subfunction.kernel.netlink.codec import Kind, Schema
from subfunction.kernel.netlink.devlink_schema import DEVLINK
from subfunction.kernel.netlink.framing import HEADER, raise_if_refused, split_messages
from subfunction.kernel.uapi import Command
from subfunction.kernel.uapi.link import LinkAttribute, LinkInfoAttribute, RouteMessage
from subfunction.kernel.uapi.vdpa import VDPA_FAMILY, VdpaCommand

_GENERIC: Final = HEADER.size + 4
_LINK: Final = HEADER.size + 16
_READ_OF_LINKS: Final = Schema(
    {
        **dict(LINK._attributes.values()),
        LinkAttribute.ALT_IFNAME: Kind.TEXT,
        LinkAttribute.PROP_LIST: Schema({LinkAttribute.ALT_IFNAME: Kind.TEXT}, repeated=(LinkAttribute.ALT_IFNAME,)),
        LinkAttribute.LINKINFO: Schema({LinkInfoAttribute.KIND: Kind.TEXT}),
    }
)
_FAMILIES: Final[dict[str, tuple[Schema, type[enum.IntEnum]]]] = {
    uapi.DEVLINK_FAMILY: (DEVLINK, Command),
    VDPA_FAMILY: (VDPA, VdpaCommand),
}


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Question:
    """A kind of request: its family, its command, and the paths of the attributes that it carries."""

    family: str
    command: str
    kind: Literal["do", "dump"]
    attributes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.family} {self.command} {self.kind} ({', '.join(self.attributes)})"


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """An error, with the text of its extended ack."""

    errno: int
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer: what it replied, or why it refused."""

    question: Question
    replies: tuple[bytes, ...] = ()
    refusal: Refusal | None = None


def read_exchanges(file: Path) -> Iterator[Exchange]:
    """Read what `tests/contract/recorder.py` wrote; exchanges that look up a family are left out."""
    families: dict[int, str] = {}
    for line in file.read_text(encoding="ascii").splitlines():
        given = json.loads(line)
        request = bytes.fromhex(given["request"])
        messages = [one for each in given["answers"] for one in split_messages(bytes.fromhex(each))]
        kind, flags, sequence = HEADER.unpack_from(request)[1:4]
        messages = [message for message in messages if HEADER.unpack_from(message)[3] == sequence]
        if given["protocol"] == "ROUTE":
            name, schema = RouteMessage(kind).name, _READ_OF_LINKS
            question = Question("route", name, "do", tuple(sorted(set(attribute_paths(schema, request[_LINK:])))))
        elif kind == uapi.GENL_ID_CTRL:
            families |= _family(request, messages)
            continue
        elif families.get(kind) in _FAMILIES:
            schema, commands = _FAMILIES[families[kind]]
            command = request[HEADER.size]
            if command not in set(commands):
                continue  # a question that tests alone ask
            dump: Literal["do", "dump"] = "dump" if flags & uapi.NLM_F_DUMP == uapi.NLM_F_DUMP else "do"
            attributes = tuple(sorted(set(attribute_paths(schema, request[_GENERIC:]))))
            question = Question(families[kind], commands(command).name, dump, attributes)
        else:
            continue
        yield _answered(question, messages)


def attribute_paths(schema: Schema, octets: bytes, above: str = "") -> Iterator[str]:
    """Yield the path of each attribute, nests included (`PORT_FUNCTION.HW_ADDR`); a number where we do not know it."""
    for number, value in split_attributes(memoryview(octets)):
        name, kind = schema._by_number.get(number, (str(number), Kind.BYTES))
        yield f"{above}{name}"
        if isinstance(kind, Schema):
            yield from attribute_paths(kind, bytes(value), f"{above}{name}.")


def reply_paths(family: str, reply: bytes) -> frozenset[str]:
    """Return the paths of the attributes of a reply that we know, which are those that we may read."""
    schema, offset = (_READ_OF_LINKS, _LINK) if family == "route" else (_FAMILIES[family][0], _GENERIC)
    paths = attribute_paths(schema, reply[offset:])
    return frozenset(path for path in paths if not path.rpartition(".")[2].isdecimal())


def decode(exchange: Exchange) -> list[object]:
    """Decode the replies as the product does.

    Raises:
        MalformedReply: it could not.
    """
    if exchange.question.family == "route":
        return [_READ_OF_LINKS.decode_link(reply) for reply in exchange.replies]
    return [_FAMILIES[exchange.question.family][0].decode(reply) for reply in exchange.replies]


def _family(request: bytes, messages: Iterable[bytes]) -> dict[int, str]:
    names = dict(split_attributes(memoryview(request)[_GENERIC:]))
    name = bytes(names[uapi.ControlAttribute.FAMILY_NAME]).rstrip(b"\0").decode()
    for message in messages:
        if HEADER.unpack_from(message)[1] == uapi.GENL_ID_CTRL:
            found = dict(split_attributes(memoryview(message)[_GENERIC:]))
            return {int.from_bytes(found[uapi.ControlAttribute.FAMILY_ID], "little"): name}
    return {}


def _answered(question: Question, messages: Iterable[bytes]) -> Exchange:
    replies = []
    for message in messages:
        _, kind, flags, _, _ = HEADER.unpack_from(message)
        if kind == uapi.NLMSG_ERROR or (kind == uapi.NLMSG_DONE and len(message) > HEADER.size):
            try:
                raise_if_refused(message, kind, flags, "")
            except KernelError as refused:
                return Exchange(question, refusal=Refusal(refused.errno, refused.text))
        elif kind > uapi.NLMSG_OVERRUN:
            replies.append(message)
    return Exchange(question, tuple(replies))
