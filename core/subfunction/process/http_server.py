"""Serves `/metrics`, `/livez` and `/readyz` over HTTP, in a thread with an event loop of its own.

So it answers even when the program's own loop hangs, and no client can block that loop. The number of requests at once
and the seconds of each are bounded, one request a connection: on the host's network any client may connect.
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Final, NamedTuple, Self

from prometheus_client.exposition import choose_encoder

from subfunction.errors import CannotListen
from subfunction.process.metrics import ProgramMetrics
from subfunction.process.probes import Heartbeat, Probes

_LOG = logging.getLogger(__name__)

_SECONDS: Final = 5.0
"""Seconds that a request may take, from the connection to the last byte."""

_AT_ONCE: Final = 64
_HEAD_BYTES: Final = 8192
_LAST_PORT: Final = 65535
_PLAIN: Final = "text/plain; charset=utf-8"
_FORM: Final = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F.]*:[0-9a-fA-F:.]*)\]|(?P<v4>[0-9.]*)):(?P<port>[0-9]{1,5})")
_TYPED: Final = "Write `:9341` for every address, or one of them: `127.0.0.1:9341`, `[::1]:9341`."


class Address(NamedTuple):
    """An address to listen on; an empty host means every address, of IPv4 and IPv6."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Parse `:9341`, `127.0.0.1:9341` or `[::1]:9341`.

        Raises:
            CannotListen: `text` is none of these.
        """
        found = _FORM.fullmatch(text)
        host = (found["v6"] or found["v4"]) if found else None
        if found is None or host is None or not _is_address(host) or int(found["port"]) > _LAST_PORT:
            raise CannotListen(f"{text!r} is no address to listen on", hint=_TYPED)
        return cls(host, int(found["port"]))

    def bound(self) -> socket.socket:
        """Bind a listening socket to the address and return it.

        Raises:
            CannotListen: another process has the address, or this machine does not.
        """
        everywhere = self.host in {"", "::"} and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if everywhere or ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family, dualstack_ipv6=everywhere)
        except OSError as error:
            hint = f"`ss -ltnp 'sport = :{self.port}'` names who has it; `--listen` takes another address."
            raise CannotListen(f"cannot listen on {self}: {os.strerror(error.errno or 0)}", hint=hint) from error

    def __str__(self) -> str:
        """Return the address as users type it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Response(NamedTuple):
    """An HTTP response."""

    status: HTTPStatus
    text: bytes
    kind: str = _PLAIN

    def render(self, *, body: bool) -> bytes:
        """Return the bytes to send; without `body` only the head, as HEAD asks for."""
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\nContent-Type: {self.kind}\r\n"
            f"Content-Length: {len(self.text)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (self.text if body else b"")


class Listener:
    """Serves one program's metrics and probes while the context is open."""

    def __init__(self, address: Address, metrics: ProgramMetrics, probes: Probes) -> None:
        self._metrics = metrics
        self._probes = probes
        self._socket = address.bound()
        self._open_requests = 0
        self._stop: Callable[[], object] = lambda: None
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="listener", daemon=True)

    @property
    def port(self) -> int:
        """Return the port that the socket has; a free one where the address asks for port 0."""
        port: int = self._socket.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        """Start the thread and wait until it serves."""
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving, and free the port."""
        self._stop()
        self._thread.join()

    async def _serve(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        server = await asyncio.start_server(self._handle, sock=self._socket, limit=_HEAD_BYTES)
        self._started.set()
        await stopped.wait()
        # No wait_closed(): a client that is being answered must not delay the program's end.
        server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open_requests += 1
        try:
            if self._open_requests > _AT_ONCE:
                return
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._respond(head.decode("latin-1")))
                await writer.drain()
        except (TimeoutError, EOFError, asyncio.LimitOverrunError, OSError) as error:
            _LOG.debug("a request was not answered: %r", error)
        finally:
            self._open_requests -= 1
            writer.close()

    def _respond(self, head: str) -> bytes:
        request, *lines = head.split("\r\n")
        method, _, rest = request.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if method not in {"GET", "HEAD"}:
            return Response(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET and HEAD are served\n").render(body=True)
        try:
            answer = self._answer(path, headers.get("accept", ""))
        except Exception:  # noqa: BLE001  # the edge of this thread: the client gets 500, the thread lives
            _LOG.exception("cannot answer %s", path)
            answer = Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"a fault of the program; see its log\n")
        return answer.render(body=method == "GET")

    def _answer(self, path: str, accept: str) -> Response:
        match path:
            case "/metrics":
                encode, kind = choose_encoder(accept)
                return Response(HTTPStatus.OK, encode(self._metrics.registry), kind)
            case "/livez":
                return _probe_response("live", self._probes.find_dead())
            case "/readyz":
                return _probe_response("ready", self._probes.find_unready())
        return Response(HTTPStatus.NOT_FOUND, b"/metrics /livez /readyz\n")


@contextlib.contextmanager
def serve_metrics(
    listen: str, metrics: ProgramMetrics, waiting: Callable[[], Iterable[str]], *heartbeats: Heartbeat
) -> Iterator[None]:
    """Serve metrics and probes for the length of a block; with an empty `listen` serve nothing.

    `waiting` returns what is missing before the program is ready; it is called in another thread, and must not block.

    Raises:
        CannotListen: `listen` is no address, or another process has it.
    """
    probes = Probes(waiting, *heartbeats)
    metrics.ready.source = lambda: {(): float(probes.find_unready() is None)}
    metrics.heartbeats.source = lambda: {(each.loop,): each.age for each in heartbeats}
    if not listen:
        yield
        return
    address = Address.parse(listen)
    with Listener(address, metrics, probes) as listener:
        _LOG.info("metrics and probes are on %s", address._replace(port=listener.port))
        yield


def _is_address(host: str) -> bool:
    """Return whether `host` is an address of IPv4 or IPv6, or empty, which means every address."""
    try:
        return not host or bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _probe_response(what: str, why_not: str | None) -> Response:
    if why_not is None:
        return Response(HTTPStatus.OK, f"{what}\n".encode())
    return Response(HTTPStatus.SERVICE_UNAVAILABLE, f"not {what}: {why_not}\n".encode())
