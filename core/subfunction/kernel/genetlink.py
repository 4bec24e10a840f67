"""Generic netlink: families by name, one request and its replies, and what the kernel says when it refuses.

A `Netlink` belongs to one worker thread, like the conversations it stands on.
"""

import dataclasses
import enum
import errno
from collections.abc import Mapping
from typing import Final

from subfunction.errors import FamilyMissing, KernelError, MalformedReply
from subfunction.kernel import uapi
from subfunction.kernel.conversation import Conversation
from subfunction.kernel.datagram import HEADER
from subfunction.kernel.netlink import Envelope, Interface, Kind, Message, Pairs, Schema
from subfunction.kernel.transport import NetlinkProtocol, Transport
from subfunction.kernel.uapi.link import RouteMessage

_TIMEOUT: Final = 10.0


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
    """Requests to one kernel from one thread: generic netlink's, and those about links."""

    def __init__(self, transport: Transport, *, timeout: float = _TIMEOUT) -> None:
        self.transport = transport
        self._generic = Conversation(transport, NetlinkProtocol.GENERIC, timeout)
        self._route = Conversation(transport, NetlinkProtocol.ROUTE, timeout)
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
        """Send one command and gather its replies; see Conversation.ask.

        Raises:
            KernelError: the kernel refused; `.errno` and `.text` are its words.
            KernelBusy: no answer in time, or the dump never came whole.
            MalformedReply: the answer makes no sense.
        """

        def encode(flags: int, sequence: int) -> bytes:
            return schema.encode(Envelope(family.number, flags, sequence, family.version), command, attributes)

        replies = self._generic.ask(command.name, encode, dump=dump)
        if any(HEADER.unpack_from(reply)[1] != family.number for reply in replies):
            raise MalformedReply(f"{command.name}: another family answers for {family.name!r}")
        return [schema.decode(reply) for reply in replies]

    def change_link(self, schema: Schema, interface: Interface, attributes: Pairs) -> None:
        """Send one RTM_SETLINK and wait for its acknowledgement.

        Raises:
            KernelError: the kernel refused; `.errno` and `.text` are its words.
            KernelBusy: no answer in time.
            MalformedReply: the answer makes no sense.
        """
        message = RouteMessage.SETLINK

        def encode(flags: int, sequence: int) -> bytes:
            return schema.encode_link(Envelope(message, flags, sequence), interface, attributes)

        self._route.ask(message.name, encode)

    def close(self) -> None:
        """Give the sockets back; the next request opens another."""
        self._generic.close()
        self._route.close()
