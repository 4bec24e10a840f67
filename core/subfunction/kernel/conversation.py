"""Requests and their replies by one netlink protocol.

The sockets are our own (`transport.py`): the kernel runs a request inside the caller's sendmsg(2) whatever a socket
class says, so a conversation belongs to one worker thread, and a simulated kernel must be able to stand at the other
end.
"""

from collections.abc import Callable
from typing import Final

from subfunction.errors import KernelBusy, MalformedReply
from subfunction.kernel import uapi
from subfunction.kernel.datagram import HEADER, messages, raise_refusal
from subfunction.kernel.transport import NetlinkProtocol, Socket, Transport

_DUMP_TRIES: Final = 5


class Conversation:
    """Requests to one kernel from one thread; a socket that fell out of step is replaced by a fresh one."""

    def __init__(self, transport: Transport, protocol: NetlinkProtocol, timeout: float) -> None:
        self._transport = transport
        self._protocol = protocol
        self._timeout = timeout
        self._socket: Socket | None = None
        self._sequence = 0

    def ask(self, operation: str, encode: Callable[[int, int], bytes], *, dump: bool = False) -> list[bytes]:
        """Send what `encode` makes of flags and sequence number, and gather the replies.

        A dump that the kernel calls torn is asked for again.

        Raises:
            KernelError: the kernel refused; `.errno` and `.text` are its words.
            KernelBusy: no answer in time, or the dump never came whole.
            MalformedReply: the answer makes no sense.
        """
        flags = uapi.NLM_F_REQUEST | (uapi.NLM_F_DUMP if dump else uapi.NLM_F_ACK)
        for _ in range(_DUMP_TRIES):
            self._sequence += 1
            try:
                replies = self._converse(encode(flags, self._sequence), operation)
            except (KernelBusy, MalformedReply):
                self.close()
                raise
            except OSError as error:
                self.close()
                raise KernelBusy(f"{operation}: {error}") from error
            if replies is not None:
                return replies
        raise KernelBusy(f"{operation}: the kernel's tables changed during each of {_DUMP_TRIES} dumps")

    def _converse(self, request: bytes, operation: str) -> list[bytes] | None:
        """Send, and receive until the end; None when the dump was torn (NLM_F_DUMP_INTR)."""
        # By its own name: whoever gave this thread up may close the socket meanwhile.
        socket = self._socket
        if socket is None:
            socket = self._socket = self._transport.connect(self._protocol)
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
                    raise_refusal(message, kind, flags, operation)
                if kind in {uapi.NLMSG_ERROR, uapi.NLMSG_DONE}:
                    return None if torn else replies
                if kind > uapi.NLMSG_OVERRUN:
                    replies.append(message)

    def close(self) -> None:
        """Give the socket back; the next request opens another."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()
