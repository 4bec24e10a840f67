"""One HTTP session with the API server: its sockets, which end with it, and the count of its requests.

aiohttp forgets a connection as soon as it closes it, but closing TLS is an exchange: asyncio sends its close_notify
and waits up to 30 s for the server's. A session that ends meanwhile does not wait for it, and its loop leaves the
socket open (aiohttp 3.14, CPython 3.11: `SSLProtocol._start_shutdown`); a request that is cancelled does the same.
"""

import asyncio
import contextlib
import re
import socket
import weakref
from typing import Final

import aiohttp

from subfunction.process.metrics import ClientMetrics

_TURNS: Final = 12
"""Turns of the loop, at most, in which asyncio notices that a connection has ended, and closes it (three were seen)."""

_RESOURCE: Final = re.compile(r"/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/[^/]+)?/(?P<plural>[^/]+)(?P<name>/.+)?")
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NO_ANSWER: Final = "none"


class SessionSockets:
    """Creates the sockets of one session, and aborts those that are open at its end."""

    def __init__(self) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def make_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
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


def count_requests(metrics: ClientMetrics) -> aiohttp.ClientMiddlewareType:
    """Build the middleware that counts each request of a session with the status code of its answer."""

    async def requested(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        kind = request_verb(request.method, request.url.path, watching="watch" in request.url.query)
        try:
            answer = await send(request)
        except (aiohttp.ClientError, OSError):
            metrics.record_request(kind, _NO_ANSWER)
            raise
        metrics.record_request(kind, str(answer.status))
        return answer

    return requested


def request_verb(method: str, path: str, *, watching: bool = False) -> str:
    """Return the verb of a request as a Role names it: `get list watch create update patch delete`."""
    if method != "GET":
        return _VERBS.get(method, method.lower())
    if watching:
        return "watch"
    found = _RESOURCE.fullmatch(path)
    return "list" if found and found["name"] is None else "get"
