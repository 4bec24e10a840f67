"""Generic netlink: one request and its replies, and what the kernel says when it refuses.

The sockets are our own (`transport.py`): the kernel runs a request inside the caller's sendmsg(2) whatever a socket
class says, so a `Netlink` belongs to one worker thread, and a simulated kernel must be able to stand at the other end.
"""

import dataclasses
import enum
import errno
import struct
from collections.abc import Iterator, Mapping
from typing import Final

from subfunction.errors import FamilyMissing, KernelBusy, KernelError, MalformedReply
from subfunction.kernel import uapi
from subfunction.kernel.netlink import Envelope, Kind, Message, Pairs, Schema
from subfunction.kernel.transport import Socket, Transport

HEADER: Final = struct.Struct("=IHHII")
"""Length, type, flags, sequence number and port of a message, in the byte order of this machine."""

_ERROR = struct.Struct("=i")
_TLV = struct.Struct("=HH")
_TIMEOUT: Final = 10.0
_DUMP_TRIES: Final = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """A generic netlink family as this kernel numbers it."""

    name: str
    number: int
    groups: Mapping[str, int]
    version: int = 1


_GROUP = Schema({uapi.GroupAttribute.NAME: Kind.TEXT, uapi.GroupAttribute.ID: Kind.U32})
_CONTROL = Schema(
    {
        uapi.ControlAttribute.FAMILY_ID: Kind.U16,
        uapi.ControlAttribute.FAMILY_NAME: Kind.TEXT,
        # An array: its elements are nests numbered from 1; few families have more than a handful.
        uapi.ControlAttribute.MCAST_GROUPS: Schema({uapi.ArrayIndex(index): _GROUP for index in uapi.ArrayIndex}),
    }
)

_NLCTRL = Family("nlctrl", uapi.GENL_ID_CTRL, {}, version=2)


class Netlink:
    """Requests to one kernel from one thread; a socket that fell out of step is replaced by a fresh one."""

    def __init__(self, transport: Transport, *, timeout: float = _TIMEOUT) -> None:
        self.transport = transport
        self._timeout = timeout
        self._socket: Socket | None = None
        self._sequence = 0
        self._families: dict[str, Family] = {}

    def family(self, name: str) -> Family:
        """Look up a family, once (`genl ctrl get name devlink`).

        Raises:
            FamilyMissing: this kernel, or this network namespace, has no such family.
        """
        if name not in self._families:
            self._families[name] = self._look_up(name)
        return self._families[name]

    def _look_up(self, name: str) -> Family:
        attribute = uapi.ControlAttribute
        try:
            found = self.request(_NLCTRL, _CONTROL, uapi.ControlCommand.GETFAMILY, [(attribute.FAMILY_NAME, name)])
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise  # a shortage says nothing of the family
            hint = "Load the NIC's driver, and run in the host's network namespace; see `devlink dev show`."
            raise FamilyMissing(f"this kernel has no netlink family {name!r}: {error.message}", hint=hint) from error
        if not found or (number := found[0].number(attribute.FAMILY_ID)) is None:
            raise MalformedReply(f"the kernel's answer names no id of family {name!r}")
        groups = {}
        array = found[0].nest(attribute.MCAST_GROUPS)
        for index in uapi.ArrayIndex:
            group = array.nest(index) if array else None
            if group is not None:
                groups[group.text(uapi.GroupAttribute.NAME) or ""] = group.number(uapi.GroupAttribute.ID) or 0
        return Family(name, number, groups)

    def request(
        self, family: Family, schema: Schema, command: enum.IntEnum, attributes: Pairs = (), *, dump: bool = False
    ) -> list[Message]:
        """Send one command and gather its replies; a dump that the kernel calls torn is asked for again.

        Raises:
            KernelError: the kernel refused; `.errno` and `.text` are its words.
            KernelBusy: no answer in time, or the dump never came whole.
            MalformedReply: the answer makes no sense.
        """
        flags = uapi.NLM_F_REQUEST | (uapi.NLM_F_DUMP if dump else uapi.NLM_F_ACK)
        for _ in range(_DUMP_TRIES):
            self._sequence += 1
            envelope = Envelope(family.number, flags, self._sequence, family.version)
            try:
                replies = self._converse(schema.encode(envelope, command, attributes), command.name)
            except (KernelBusy, MalformedReply):
                self.close()
                raise
            except OSError as error:
                self.close()
                raise KernelBusy(f"{command.name}: {error}") from error
            if replies is not None:
                return [schema.decode(reply) for reply in replies]
        raise KernelBusy(f"{command.name}: the kernel's tables changed during each of {_DUMP_TRIES} dumps")

    def _converse(self, request: bytes, operation: str) -> list[bytes] | None:
        """Send, and receive until the end; None when the dump was torn (NLM_F_DUMP_INTR)."""
        # By its own name: whoever gave this thread up may close the socket meanwhile.
        socket = self._socket
        if socket is None:
            socket = self._socket = self.transport.connect()
        socket.send(request)
        replies: list[bytes] = []
        torn = False
        while True:
            for message in messages(socket.receive(self._timeout)):
                _, kind, flags, sequence, _ = HEADER.unpack_from(message)
                if sequence != self._sequence:
                    continue  # the late answer to a request that was given up
                torn |= bool(flags & uapi.NLM_F_DUMP_INTR)
                if kind == uapi.NLMSG_ERROR or (kind == uapi.NLMSG_DONE and len(message) > HEADER.size):
                    _raise_refusal(message, kind, flags, operation)
                if kind in {uapi.NLMSG_ERROR, uapi.NLMSG_DONE}:
                    return None if torn else replies
                if kind > uapi.NLMSG_OVERRUN:
                    replies.append(message)

    def close(self) -> None:
        """Give the socket back; the next request opens another."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()


def messages(datagram: bytes) -> Iterator[bytes]:
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


def _raise_refusal(message: bytes, kind: int, flags: int, operation: str) -> None:
    """Raise what an ERROR or DONE message says, unless it says that all is well."""
    body = message[HEADER.size :]
    if len(body) < _ERROR.size:
        raise MalformedReply(f"{operation}: a netlink error of {len(body)} bytes")
    number = -_ERROR.unpack_from(body)[0]
    if number == 0:
        return
    offset = _ERROR.size
    if kind == uapi.NLMSG_ERROR:
        # The refused request follows: its header alone when capped, else all of it.
        if len(body) < offset + HEADER.size:
            raise MalformedReply(f"{operation}: a netlink error without its request")
        request = HEADER.unpack_from(body, offset)[0]
        offset += HEADER.size if flags & uapi.NLM_F_CAPPED else request + 3 & ~3
    text = _extended_ack(body[offset:]) if flags & uapi.NLM_F_ACK_TLVS else ""
    raise KernelError.refused(operation, number, text)


def _extended_ack(tlvs: bytes) -> str:
    offset = 0
    while offset + _TLV.size <= len(tlvs):
        length, kind = _TLV.unpack_from(tlvs, offset)
        if not _TLV.size <= length <= len(tlvs) - offset:
            return ""
        if kind == uapi.NLMSGERR_ATTR_MSG:
            return tlvs[offset + _TLV.size : offset + length].rstrip(b"\0").decode(errors="replace")
        offset += length + 3 & ~3
    return ""
