"""The connections of one session: none outlives it, whatever state it is in when the session ends.

aiohttp forgets a connection at the moment that it closes it, and over TLS closing begins a conversation: asyncio says
goodbye and waits up to 30 s for the server's. A session that ends meanwhile does not wait for it, and its loop leaves
the socket open (aiohttp 3.14, CPython 3.11: `SSLProtocol._start_shutdown`); a request that is cancelled does the same.
"""

import asyncio
import contextlib
import socket
import weakref
from typing import Final

import aiohttp

_TURNS: Final = 12
"""Turns of the loop that asyncio takes at most to notice that a connection has ended, and to close it (three, seen)."""


class Connections:
    """The sockets of one session."""

    def __init__(self) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def made(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """Make the socket for one of a server's addresses; a `socket_factory` of aiohttp's connector."""
        family, kind, protocol, *_ = address
        new = socket.socket(family, kind, protocol)
        self._sockets.add(new)
        return new

    async def end(self) -> None:
        """End those that are still open, without a goodbye, and let the loop close them."""
        for each in self._open():
            # Not connected yet, or the server was first.
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for _ in range(_TURNS):
            if not self._open():
                return
            await asyncio.sleep(0)

    def _open(self) -> list[socket.socket]:
        return [each for each in self._sockets if each.fileno() >= 0]
