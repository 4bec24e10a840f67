"""Sends requests by one netlink protocol and receives their replies.

The sockets are our own (`transport.py`), not pyroute2's. The kernel runs a request inside the caller's sendmsg(2), also
with an asynchronous socket class, so a requester belongs to one worker thread; and a simulated kernel must be able to
serve the other end.
"""

from collections.abc import Callable
from typing import Final

from subfunction.errors import KernelBusy, MalformedReply
from subfunction.kernel import uapi
from subfunction.kernel.netlink.framing import HEADER, raise_if_refused, split_messages
from subfunction.kernel.netlink.transport import NetlinkProtocol, Socket, Transport

_DUMP_TRIES: Final = 5


class NetlinkRequester:
    """Sends requests to one kernel from one thread; after a failed exchange the socket is replaced."""

    def __init__(self, transport: Transport, protocol: NetlinkProtocol, timeout: float) -> None:
        self._transport = transport
        self._protocol = protocol
        self._timeout = timeout
        self._socket: Socket | None = None
        self._sequence = 0

    def ask(self, operation: str, encode: Callable[[int, int], bytes], *, dump: bool = False) -> list[bytes]:
        """Send the message that `encode` builds from flags and sequence number, and return the replies.

        A dump that the kernel marks as torn is requested again.

        Raises:
            KernelError: the kernel refused; `.errno` and `.text` are the kernel's.
            KernelBusy: no answer came in time, or each try of the dump was torn.
            MalformedReply: the answer is malformed.
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
        """Send a request and receive to its end; return None if the dump was torn (NLM_F_DUMP_INTR)."""
        # A local variable: another thread that has abandoned this one may close the socket and clear the attribute.
        socket = self._socket
        if socket is None:
            socket = self._socket = self._transport.connect(self._protocol)
        socket.send(request)
        replies: list[bytes] = []
        torn = False
        while True:
            for message in split_messages(socket.receive(self._timeout)):
                _, kind, flags, sequence, _ = HEADER.unpack_from(message)
                if sequence != self._sequence:
                    continue  # a late answer to an abandoned request
                torn |= bool(flags & uapi.NLM_F_DUMP_INTR)
                if kind == uapi.NLMSG_ERROR or (kind == uapi.NLMSG_DONE and len(message) > HEADER.size):
                    raise_if_refused(message, kind, flags, operation)
                if kind in {uapi.NLMSG_ERROR, uapi.NLMSG_DONE}:
                    return None if torn else replies
                if kind > uapi.NLMSG_OVERRUN:
                    replies.append(message)

    def close(self) -> None:
        """Close the socket; the next request opens a new one."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()
