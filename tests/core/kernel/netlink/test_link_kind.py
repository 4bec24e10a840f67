"""Reading what kind of link has a name: the kernel's answer, a later kernel's, and answers that are none."""

import struct

import pytest
from tests.core.conftest import ScriptedTransport

from subfunction.errors import KernelError, MalformedReply
from subfunction.kernel.link import Links
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.uapi.link import LinkAttribute, LinkInfoAttribute, RouteMessage
from subfunction_simulator.kernel.netlink import wire
from subfunction_simulator.kernel.netlink.wire import Refusal, Request

LINK = struct.Struct("=BxHiII")
OPENVSWITCH = wire.text(LinkInfoAttribute.KIND, "openvswitch")


def links(*bodies: bytes, index: int = 7, kind: int = RouteMessage.NEWLINK) -> Links:
    """Answer each question with such links, each of that index, and with the acknowledgement."""

    def answer(datagram: bytes) -> list[bytes]:
        (request,) = wire.requests(datagram, LINK.size)
        assert request.kind == RouteMessage.GETLINK
        return [*(reply(request, body) for body in bodies), wire.acknowledgement(request)]

    def reply(request: Request, body: bytes) -> bytes:
        return wire.message(kind, 0, request.sequence, request.port, LINK.pack(0, 1, index, 0, 0) + body)

    return Links(Netlink(ScriptedTransport(answer)))


def test_the_kind_is_read_among_what_else_is_said_of_a_link() -> None:
    name, later = wire.text(LinkAttribute.IFNAME, "br-int"), wire.nest(4712, wire.text(1, "x"))
    info = wire.nest(LinkAttribute.LINKINFO, wire.nest(2, wire.u32(1, 3)), OPENVSWITCH, wire.text(4, "bridge"))
    assert links(name + later + info).kind(7) == "openvswitch"


def test_the_netdev_of_a_device_has_no_kind() -> None:
    assert links(wire.text(LinkAttribute.IFNAME, "eth0")).kind(7) == ""
    # As a port of a bridge it says what its master is, and nothing of itself.
    assert links(wire.nest(LinkAttribute.LINKINFO, wire.text(4, "bridge"))).kind(7) == ""


@pytest.mark.parametrize(
    "answering",
    [
        links(),
        links(b"", b""),
        links(b"", index=8),
        links(b"", kind=RouteMessage.DELLINK),
        links(wire.nest(LinkAttribute.LINKINFO, wire.attribute(LinkInfoAttribute.KIND, b"\xff\xfe"))),
    ],
    ids=["none", "two", "another", "deleted", "no text"],
)
def test_an_answer_that_is_not_one_link_of_that_index_is_malformed(answering: Links) -> None:
    with pytest.raises(MalformedReply):
        answering.kind(7)


@pytest.mark.parametrize(("number", "text"), [(12, ""), (1, "")])
def test_a_refusal_is_no_answer(number: int, text: str) -> None:
    def answer(datagram: bytes) -> list[bytes]:
        (request,) = wire.requests(datagram, LINK.size)
        return [wire.acknowledgement(request, Refusal(number, text))]

    with pytest.raises(KernelError, match="ip link show if7"):
        Links(Netlink(ScriptedTransport(answer))).kind(7)
