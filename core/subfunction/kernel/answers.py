"""Checks that an answer of devlink's is one, and about what was asked."""

from subfunction.errors import MalformedReply
from subfunction.kernel.address import Handle
from subfunction.kernel.netlink.codec import Message
from subfunction.kernel.port import Port, parse_handle


def only_answer(replies: list[Message], handle: Handle) -> Message:
    """Return the one answer to a question about an instance.

    Raises:
        MalformedReply: there are none, several, or another instance answers.
    """
    if len(replies) != 1:
        raise MalformedReply(f"{len(replies)} answers to a question that has one")
    if (answering := parse_handle(replies[0])) != handle:
        raise MalformedReply(f"{answering} answers for {handle}")
    return replies[0]


def expected_port(port: Port, **asked: int) -> Port:
    """Return the port, whose attributes are as they were asked for.

    Raises:
        MalformedReply: another port answers.
    """
    for name, value in asked.items():
        if getattr(port, name) != value:
            raise MalformedReply(f"{port.handle}/{port.index} answers for a port of {name} {value}")
    return port
