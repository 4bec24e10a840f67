"""The sockets of one HTTP session, which end with it.

aiohttp forgets a connection as soon as it closes it, but closing TLS is an exchange: asyncio sends its close_notify
and waits up to 30 s for the server's. A session that ends meanwhile does not wait for it, and its loop leaves the
socket open (aiohttp 3.14, CPython 3.11: `SSLProtocol._start_shutdown`); a request that is cancelled does the same.
"""

import asyncio
import contextlib
import socket
import weakref
from typing import Any, Final, TypeAlias

Address: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]
"""One of a server's addresses, as `getaddrinfo` has it."""

_TURNS: Final = 12
"""Turns of the loop, at most, in which asyncio notices that a connection has ended, and closes it (three were seen)."""


class SessionSockets:
    """Creates the sockets of one session, and aborts those that are open at its end."""

    def __init__(self) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def make_socket(self, address: Address) -> socket.socket:
        """Create the socket for one of a server's addresses: the `socket_factory` of aiohttp's connector."""
        family, kind, protocol, *_ = address
        new = socket.socket(family, kind, protocol)
        self._sockets.add(new)
        return new

    async def abort(self) -> None:
        """Abort the open sockets without a TLS shutdown, and let the event loop close them."""
        for each in self._open():
            # The socket is not connected yet, or the server closed it first.
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for _ in range(_TURNS):
            if not self._open():
                return
            await asyncio.sleep(0)

    def _open(self) -> list[socket.socket]:
        return [each for each in self._sockets if each.fileno() >= 0]
