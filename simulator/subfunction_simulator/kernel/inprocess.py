"""A process reaches a simulated kernel within itself: no thread, no waiting, every run alike."""

import errno
import os
import select
import socket
import threading
from collections import deque
from typing import Protocol

from subfunction.errors import KernelBusy
from subfunction.kernel.netlink.transport import Socket
from subfunction.kernel.uapi import NetlinkProtocol
from subfunction_simulator.kernel.netlink.announce import Listener

_QUEUE = 4096
"""Datagrams a listener may leave unread before it has lost some; about what 1 MiB of socket buffer holds."""


class AnsweringKernel(Protocol):
    """A kernel answers its sockets."""

    def answer(self, datagram: bytes, protocol: NetlinkProtocol = ...) -> list[bytes]:
        """Run the requests of a datagram and give the datagrams that answer them."""

    def join(self, group: int, listener: Listener, protocol: NetlinkProtocol = ...) -> None:
        """Let `listener` hear the notifications of a multicast group."""

    def leave(self, listener: Listener) -> None:
        """Let `listener` hear nothing any more."""


class InProcess:
    """A program reaches a simulated kernel in its process by this Transport."""

    def __init__(self, kernel: AnsweringKernel) -> None:
        self._kernel = kernel

    def connect(self, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        """Open a socket for requests."""
        return Requester(self._kernel, protocol)

    def subscribe(self, group: int, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        """Open a socket on which `group` arrives."""
        subscriber = Subscriber(self._kernel, protocol)
        self._kernel.join(group, subscriber, protocol)
        return subscriber


class Requester:
    """A socket for requests runs each as `send` is called, as sendmsg(2) does."""

    def __init__(self, kernel: AnsweringKernel, protocol: NetlinkProtocol) -> None:
        self._kernel = kernel
        self._protocol = protocol
        self._replies: deque[bytes] = deque()

    def send(self, datagram: bytes) -> None:
        """Run the request."""
        self._replies.extend(self._kernel.answer(datagram, self._protocol))

    def receive(self, timeout: float | None) -> bytes:
        """Give the next reply; where there is none, none will ever come, and there is nothing to wait for."""
        if not self._replies:
            raise KernelBusy(f"no answer within {timeout} s")
        return self._replies.popleft()

    def fileno(self) -> int:
        """Have no descriptor: nothing arrives here unasked."""
        return -1

    def close(self) -> None:
        """Forget what was not received."""
        self._replies.clear()


class Subscriber:
    """A socket for notifications has a descriptor that is readable while there is something to receive."""

    def __init__(self, kernel: AnsweringKernel, protocol: NetlinkProtocol) -> None:
        self._kernel = kernel
        self._protocol = protocol
        self._lock = threading.Lock()
        self._waiting: deque[bytes | OSError] = deque()
        self._overran = False
        # One byte stands in the pair while anything waits, so that it can never fill.
        self._reader, self._writer = socket.socketpair()

    def deliver(self, datagram: bytes) -> None:
        """Take a notification."""
        with self._lock:
            if len(self._waiting) < _QUEUE:
                self._put(datagram)
                return
        self.overrun()

    def overrun(self) -> None:
        """Let the next receive say ENOBUFS, once, before what is queued."""
        with self._lock:
            if not self._overran:
                self._overran = True
                self._put(OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)), first=True)

    def end(self) -> None:
        """Let the socket end after what is queued."""
        with self._lock:
            self._put(ConnectionResetError("the kernel's end of the socket is closed"))

    def _put(self, item: bytes | OSError, *, first: bool = False) -> None:
        if not self._waiting:
            self._writer.send(b"\0")
        if first:
            self._waiting.appendleft(item)
        else:
            self._waiting.append(item)

    def send(self, datagram: bytes) -> None:
        """Run a request as any socket does; its answers are not for this socket's owner to wait for."""
        self._kernel.answer(datagram, self._protocol)

    def receive(self, timeout: float | None) -> bytes:
        """Give the next notification."""
        if not select.select([self._reader], [], [], timeout)[0]:
            raise KernelBusy(f"no answer within {timeout} s")
        with self._lock:
            item = self._waiting.popleft()
            if not self._waiting:
                self._reader.recv(1)
            if isinstance(item, bytes):
                return item
            self._overran &= item.errno != errno.ENOBUFS
        raise item

    def fileno(self) -> int:
        """Give the descriptor, for an event loop to watch."""
        return self._reader.fileno()

    def close(self) -> None:
        """Leave the group."""
        self._kernel.leave(self)
        with self._lock:
            self._waiting.clear()
            self._waiting.append(ConnectionResetError("the socket is closed"))  # nothing signals any more
        self._reader.close()
        self._writer.close()
