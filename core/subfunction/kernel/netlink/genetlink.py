"""The generic netlink client: looks up families by name, and sends requests and link changes.

A `Netlink` belongs to one worker thread, like the `NetlinkRequester`s it uses.
"""

import dataclasses
import enum
import errno
from collections.abc import Mapping
from typing import Final

from subfunction.errors import FamilyMissing, KernelError, MalformedReply
from subfunction.kernel import uapi
from subfunction.kernel.netlink.codec import Envelope, Interface, Kind, Message, Pairs, Schema
from subfunction.kernel.netlink.framing import HEADER
from subfunction.kernel.netlink.request import NetlinkRequester
from subfunction.kernel.netlink.transport import NetlinkProtocol, Transport
from subfunction.kernel.uapi.link import RouteMessage

_TIMEOUT: Final = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """A generic netlink family, with the numbers that this kernel gave to it and to its multicast groups."""

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
    """Sends requests to one kernel from one thread: generic netlink's, and those about links."""

    def __init__(self, transport: Transport, *, timeout: float = _TIMEOUT) -> None:
        self.transport = transport
        self._timeout = timeout
        self._generic = NetlinkRequester(transport, NetlinkProtocol.GENERIC, timeout)
        self._route = NetlinkRequester(transport, NetlinkProtocol.ROUTE, timeout)
        self._families: dict[str, Family] = {}

    def second_client(self) -> "Netlink":
        """Return a client of the same kernel for another thread: with its own sockets and the families known so far."""
        twin = Netlink(self.transport, timeout=self._timeout)
        twin._families = dict(self._families)
        return twin

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
                raise  # a shortage of memory or sockets does not mean that the family is missing
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
        """Send one command and return its replies; see `NetlinkRequester.ask`.

        Raises:
            KernelError: the kernel refused; `.errno` and `.text` are the kernel's.
            KernelBusy: no answer came in time, or each try of the dump was torn.
            MalformedReply: the answer is malformed, or from another family.
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
            KernelError: the kernel refused; `.errno` and `.text` are the kernel's.
            KernelBusy: no answer came in time.
            MalformedReply: the answer is malformed.
        """
        self._ask_route(RouteMessage.SETLINK, schema, interface, attributes)

    def read_link(self, schema: Schema, ifindex: int, attributes: Pairs = ()) -> tuple[Interface, Message]:
        """Send one RTM_GETLINK and return the link as it answers; with index 0 that which the attributes name.

        Raises:
            KernelError: the kernel refused; ENODEV where this namespace has no such link.
            KernelBusy: no answer came in time.
            MalformedReply: the answer is malformed, or about another link.
        """
        replies = self._ask_route(RouteMessage.GETLINK, schema, Interface(index=ifindex), attributes)
        links = [schema.decode_link(reply) for reply in replies]
        found = [(interface.index, link.command) for interface, link in links]
        if len(found) != 1 or found[0] != (ifindex or found[0][0], RouteMessage.NEWLINK):
            raise MalformedReply(f"the answer about link {ifindex} is not one link of that index")
        return links[0]

    def _ask_route(self, message: RouteMessage, schema: Schema, interface: Interface, attributes: Pairs) -> list[bytes]:
        def encode(flags: int, sequence: int) -> bytes:
            return schema.encode_link(Envelope(message, flags, sequence), interface, attributes)

        return self._route.ask(message.name, encode)

    def close(self) -> None:
        """Close the sockets; the next request opens a new one."""
        self._generic.close()
        self._route.close()
