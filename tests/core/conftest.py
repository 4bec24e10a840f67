"""A kernel that answers by a script: for answers that no kernel gives, or not when one wants them."""

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence

from subfunction.errors import KernelBusy
from subfunction.kernel.netlink.transport import NetlinkProtocol, Socket

Answer = Callable[[bytes], Sequence[bytes | OSError]]
"""What comes back for a request: datagrams, or errors of the receiving."""


@dataclasses.dataclass(slots=True)
class ScriptedSocket:
    """A socket whose answers are scripted; it remembers what became of it."""

    answer: Answer
    sent: list[bytes] = dataclasses.field(default_factory=list)
    closed: bool = False
    _waiting: deque[bytes | OSError] = dataclasses.field(default_factory=deque)

    def send(self, datagram: bytes) -> None:
        assert not self.closed
        self.sent.append(datagram)
        self._waiting.extend(self.answer(datagram))

    def receive(self, timeout: float | None) -> bytes:
        assert not self.closed
        if not self._waiting:
            raise KernelBusy(f"no answer within {timeout} s")
        item = self._waiting.popleft()
        if isinstance(item, OSError):
            raise item
        return item

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.closed = True


@dataclasses.dataclass(slots=True)
class ScriptedTransport:
    """A way to scripted sockets, all of which it remembers."""

    answer: Answer
    sockets: list[ScriptedSocket] = dataclasses.field(default_factory=list)

    def connect(self, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        assert protocol in {NetlinkProtocol.GENERIC, NetlinkProtocol.ROUTE}
        self.sockets.append(ScriptedSocket(self.answer))
        return self.sockets[-1]

    def subscribe(self, group: int, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        raise AssertionError(f"nobody joins group {group} of {protocol.name} here")
