"""One request and its answers, when the answers are late, torn, short, hostile, or do not come."""

import contextlib
import errno
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.conftest import ScriptedTransport

from subfunction.errors import FamilyMissing, KernelBusy, KernelError, MalformedReply
from subfunction.kernel import uapi
from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netlink.devlink_schema import DEVLINK
from subfunction.kernel.netlink.framing import split_messages
from subfunction.kernel.netlink.genetlink import Family, Netlink
from subfunction.kernel.netlink.transport import UnixTransport, open_transport
from subfunction.kernel.uapi import Attribute, Command
from subfunction_simulator.kernel import SimulatedKernel
from subfunction_simulator.kernel.netlink import wire
from subfunction_simulator.kernel.netlink.wire import Refusal, Request

NLMSG_NOOP = 1
PARENT = Handle("pci", "0000:03:00.0")
FAMILY = Family("devlink", 26, {"config": 5})
INSTANCE = wire.generic(
    Command.NEW, wire.text(Attribute.BUS_NAME, "pci"), wire.text(Attribute.DEV_NAME, "0000:05:00.0")
)
Reply = Sequence[bytes | OSError]


def scripted(*answers: Callable[[Request], Reply]) -> ScriptedTransport:
    """Answer the requests in this order, the last one for ever."""
    waiting = list(answers)

    def answer(datagram: bytes) -> Reply:
        (request,) = wire.requests(datagram)
        return (waiting.pop(0) if len(waiting) > 1 else waiting[0])(request)

    return ScriptedTransport(answer)


def ask(way: ScriptedTransport, *, dump: bool = False) -> int:
    """Ask once, and count the replies."""
    return len(Netlink(way).request(FAMILY, DEVLINK, Command.GET, dump=dump))


def whole(request: Request) -> Reply:
    return wire.dump(request, [INSTANCE, INSTANCE])


def torn(request: Request) -> Reply:
    return wire.dump(request, [INSTANCE], torn=True)


def silent(_: Request) -> Reply:
    return []


def test_a_dump_in_one_datagram_or_in_many_is_the_same() -> None:
    assert ask(scripted(whole), dump=True) == 2
    assert ask(scripted(lambda request: wire.dump(request, [INSTANCE] * 500)), dump=True) == 500
    assert ask(scripted(lambda request: [wire.end_dump(request)]), dump=True) == 0


def test_a_torn_dump_is_asked_for_again() -> None:
    way = scripted(torn, torn, whole)
    assert ask(way, dump=True) == 2
    assert [len(socket.sent) for socket in way.sockets] == [3]


def test_a_dump_that_is_torn_again_and_again_is_given_up() -> None:
    way = scripted(torn)
    with pytest.raises(KernelBusy, match="tables changed during each of 5 dumps"):
        ask(way, dump=True)
    assert [len(socket.sent) for socket in way.sockets] == [5]


def test_the_late_answer_to_an_earlier_request_is_passed_over() -> None:
    def late(request: Request) -> Reply:
        old = wire.message(26, 0, request.sequence - 1, 0, wire.generic(Command.NEW))
        refused = wire.message(uapi.NLMSG_ERROR, 0, 0, 0, struct.pack("=i", -errno.EPERM) + request.header)
        return [old, refused, *whole(request)]

    assert ask(scripted(late), dump=True) == 2


def test_no_answer_is_busy_and_the_next_request_has_a_fresh_socket() -> None:
    way = scripted(silent, whole)
    netlink = Netlink(way)
    with pytest.raises(KernelBusy):
        netlink.request(FAMILY, DEVLINK, Command.GET, dump=True)
    assert [socket.closed for socket in way.sockets] == [True]
    assert len(netlink.request(FAMILY, DEVLINK, Command.GET, dump=True)) == 2
    assert [socket.closed for socket in way.sockets] == [True, False]


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ECONNRESET, errno.ENOTCONN])
def test_a_socket_that_fails_is_busy_and_replaced(number: int) -> None:
    way = scripted(lambda _: [OSError(number, os.strerror(number))], whole)
    netlink = Netlink(way)
    with pytest.raises(KernelBusy, match=os.strerror(number)):
        netlink.request(FAMILY, DEVLINK, Command.GET, dump=True)
    assert len(netlink.request(FAMILY, DEVLINK, Command.GET, dump=True)) == 2
    assert [socket.closed for socket in way.sockets] == [True, False]


def test_a_refusal_keeps_the_socket_and_the_kernels_words() -> None:
    refusal = Refusal(errno.EBUSY, "mlx5_core: SF is inactivated but it is still attached", offset=24)
    way = scripted(lambda request: [wire.acknowledgement(request, refusal)])
    with pytest.raises(KernelError) as refused:
        ask(way)
    assert (refused.value.errno, refused.value.text) == (errno.EBUSY, refusal.text)
    assert not way.sockets[0].closed


def test_a_refusal_that_repeats_the_request_is_read_behind_it() -> None:
    def whole_request(request: Request) -> Reply:
        # Without NLM_F_CAPPED the whole request stands between errno and the texts.
        body = wire.generic(Command.GET, wire.text(Attribute.BUS_NAME, "pci"))
        header = struct.pack("=IHHII", 16 + len(body), request.kind, request.flags, request.sequence, 0)
        error = struct.pack("=i", -errno.EINVAL) + header + body + wire.text(uapi.NLMSGERR_ATTR_MSG, "no")
        return [wire.message(uapi.NLMSG_ERROR, uapi.NLM_F_ACK_TLVS, request.sequence, 0, error)]

    with pytest.raises(KernelError) as refused:
        ask(scripted(whole_request))
    assert (refused.value.errno, refused.value.text) == (errno.EINVAL, "no")


def test_a_dump_that_ends_in_an_error_is_refused() -> None:
    def refused(request: Request) -> Reply:
        return [wire.reply(request, INSTANCE, uapi.NLM_F_MULTI), wire.end_dump(request, Refusal(errno.ENODEV, "gone"))]

    with pytest.raises(KernelError) as error:
        ask(scripted(refused), dump=True)
    assert (error.value.errno, error.value.text) == (errno.ENODEV, "gone")


def test_noise_between_the_messages_is_passed_over() -> None:
    def noisy(request: Request) -> Reply:
        noop = wire.message(NLMSG_NOOP, 0, request.sequence, 0, b"")
        return [noop, *whole(request)]

    assert ask(scripted(noisy), dump=True) == 2


@pytest.mark.parametrize(
    "datagram",
    [
        bytes(3),
        struct.pack("=IHHII", 4, 26, 0, 1, 0),
        struct.pack("=IHHII", 4096, 26, 0, 1, 0),
        struct.pack("=IHHII", 20, uapi.NLMSG_ERROR, 0, 1, 0) + struct.pack("=i", -1),
        struct.pack("=IHHII", 18, uapi.NLMSG_ERROR, 0, 1, 0) + bytes(2),
        struct.pack("=IHHII", 18, uapi.NLMSG_DONE, 0, 1, 0) + bytes(2),
    ],
    ids=["stray", "short", "long", "error without request", "error of two bytes", "done of two bytes"],
)
def test_a_datagram_that_cannot_be_is_malformed_and_its_socket_replaced(datagram: bytes) -> None:
    way = scripted(lambda _: [datagram])
    with pytest.raises(MalformedReply):
        ask(way)
    assert way.sockets[0].closed


def test_a_reply_without_a_body_is_malformed() -> None:
    way = scripted(lambda request: [wire.reply(request, b""), wire.acknowledgement(request)], whole)
    netlink = Netlink(way)
    with pytest.raises(MalformedReply):
        netlink.request(FAMILY, DEVLINK, Command.GET)
    assert len(netlink.request(FAMILY, DEVLINK, Command.GET, dump=True)) == 2


@given(st.binary(max_size=400))
def test_any_datagram_is_split_or_malformed(datagram: bytes) -> None:
    with contextlib.suppress(MalformedReply):
        assert sum(map(len, split_messages(datagram))) <= len(datagram)


def recorded(root: Path) -> dict[str, list[bytes]]:
    """Record what a kernel answers to the questions below; the sequence number is always 1."""
    kernel = SimulatedKernel(root)
    devlink = Devlink(Netlink(kernel.transport()))
    index = devlink.create_port(PARENT, pf=0, number=88).index
    devlink.set_active(PARENT, index, active=True)
    kernel.settle()
    handle = [(Attribute.BUS_NAME, PARENT.bus), (Attribute.DEV_NAME, PARENT.device)]
    nested = [(Attribute.BUS_NAME, "auxiliary"), (Attribute.DEV_NAME, "mlx5_core.sf.2")]

    def ask_for(command: Command, pairs: Sequence[tuple[Attribute, int | str]], flags: int) -> list[bytes]:
        body = wire.generic(command, *(wire.text(a, v) if isinstance(v, str) else wire.u32(a, v) for a, v in pairs))
        return kernel.answer(wire.message(26, uapi.NLM_F_REQUEST | flags, 1, 0, body))

    return {
        "ports": ask_for(Command.PORT_GET, handle, uapi.NLM_F_DUMP),
        "port": ask_for(Command.PORT_GET, [*handle, (Attribute.PORT_INDEX, index)], uapi.NLM_F_ACK),
        "refusal": ask_for(Command.PORT_NEW, handle, uapi.NLM_F_ACK),
        "capacity": ask_for(Command.RESOURCE_DUMP, handle, uapi.NLM_F_ACK),
        "parameter": ask_for(Command.PARAM_GET, [*nested, (Attribute.PARAM_NAME, "enable_eth")], uapi.NLM_F_ACK),
    }


QUESTIONS: dict[str, Callable[[Devlink], object]] = {
    "ports": lambda devlink: devlink.ports(PARENT),
    "port": lambda devlink: devlink.port(PARENT, 32768),
    "refusal": lambda devlink: devlink.create_port(PARENT, pf=0, number=1),
    "capacity": lambda devlink: devlink.capacity(PARENT),
    "parameter": lambda devlink: devlink.parameter(Handle("auxiliary", "mlx5_core.sf.2"), "enable_eth"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    return recorded(tmp_path_factory.mktemp("kernel"))


class Prepared(Netlink):
    """A Netlink that knows its family already, so that only the answer under test is asked for."""

    def family(self, name: str) -> Family:
        return FAMILY if name == FAMILY.name else super().family(name)


def outcome(question: str, datagrams: Sequence[bytes]) -> object:
    """Ask, and give the answer or the error; any other exception than ours is a fault."""
    try:
        return QUESTIONS[question](Devlink(Prepared(ScriptedTransport(lambda _: datagrams))))
    except (KernelError, KernelBusy, MalformedReply) as error:
        return error


def test_the_recorded_answers_are_understood(answers: dict[str, list[bytes]]) -> None:
    assert len(list(outcome("ports", answers["ports"]))) == 1  # type: ignore[call-overload]  # a list of ports
    assert outcome("capacity", answers["capacity"]) == 128
    assert outcome("parameter", answers["parameter"]) is False
    assert "Port flavour or PCI PF are not specified" in str(outcome("refusal", answers["refusal"]))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_an_answer_cut_short_anywhere_is_an_error_of_ours(answers: dict[str, list[bytes]], data: st.DataObject) -> None:
    question = data.draw(st.sampled_from(sorted(QUESTIONS)))
    stream = answers[question]
    which = data.draw(st.integers(0, len(stream) - 1))
    cut = data.draw(st.integers(0, len(stream[which]) - 1))
    outcome(question, [*stream[:which], stream[which][:cut]])


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_an_answer_with_any_bytes_changed_is_an_answer_or_an_error_of_ours(
    answers: dict[str, list[bytes]], data: st.DataObject
) -> None:
    question = data.draw(st.sampled_from(sorted(QUESTIONS)))
    stream = [bytearray(datagram) for datagram in answers[question]]
    for _ in range(data.draw(st.integers(1, 4))):
        datagram = data.draw(st.sampled_from(stream))
        datagram[data.draw(st.integers(0, len(datagram) - 1))] = data.draw(st.integers(0, 255))
    outcome(question, [bytes(datagram) for datagram in stream])


def test_a_family_is_looked_up_once(tmp_path: Path) -> None:
    kernel = SimulatedKernel(tmp_path)
    way = ScriptedTransport(kernel.answer)
    netlink = Netlink(way)
    assert netlink.family("devlink") is netlink.family("devlink")
    assert netlink.family("devlink").groups == {"config": 5}
    assert [len(socket.sent) for socket in way.sockets] == [1]


def test_only_a_family_that_the_kernel_does_not_know_is_missing() -> None:
    way = scripted(lambda request: [wire.acknowledgement(request, Refusal(errno.ENOENT))])
    with pytest.raises(FamilyMissing, match="has no netlink family 'devlink'"):
        Netlink(way).family("devlink")
    way = scripted(lambda request: [wire.acknowledgement(request, Refusal(errno.ENOMEM))])
    with pytest.raises(KernelError, match="Cannot allocate memory"):
        Netlink(way).family("devlink")


def test_a_simulated_kernel_that_is_not_there_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(FamilyMissing, match="no simulated kernel listens at") as missing:
        UnixTransport(tmp_path / "netlink.sock").connect()
    assert "subfunction-simulator kernel" in missing.value.hint
    assert isinstance(open_transport(str(tmp_path / "netlink.sock")), UnixTransport)
