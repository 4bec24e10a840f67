"""`/metrics`, `/livez` and `/readyz` over HTTP, in a thread with a loop of its own.

So the answer comes when the program's own loop hangs, and nothing that asks can hold that loop up. One request a
connection, a few seconds each, a bounded number at once: on a host's network anybody may knock.
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
from subfunction.metrics import ProgramMetrics
from subfunction.probes import Heartbeat, Probes

_LOG = logging.getLogger("subfunction.listener")

_SECONDS: Final = 5.0
"""That a request may take, from the connection to the last byte."""

_AT_ONCE: Final = 64
_HEAD_BYTES: Final = 8192
_LAST_PORT: Final = 65535
_PLAIN: Final = "text/plain; charset=utf-8"
_FORM: Final = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F.]*:[0-9a-fA-F:.]*)\]|(?P<v4>[0-9.]*)):(?P<port>[0-9]{1,5})")
_TYPED: Final = "Write `:9341` for every address, or one of them: `127.0.0.1:9341`, `[::1]:9341`."


class Address(NamedTuple):
    """Where to listen; an empty host is every address, of IPv4 and IPv6."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `:9341`, `127.0.0.1:9341`, `[::1]:9341`.

        Raises:
            CannotListen: it is none of these.
        """
        found = _FORM.fullmatch(text)
        host = (found["v6"] or found["v4"]) if found else None
        if found is None or host is None or not _is_address(host) or int(found["port"]) > _LAST_PORT:
            raise CannotListen(f"{text!r} is no address to listen on", hint=_TYPED)
        return cls(host, int(found["port"]))

    def bound(self) -> socket.socket:
        """Take the address.

        Raises:
            CannotListen: somebody else has it, or this machine does not.
        """
        everywhere = self.host in {"", "::"} and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if everywhere or ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family, dualstack_ipv6=everywhere)
        except OSError as error:
            hint = f"`ss -ltnp 'sport = :{self.port}'` names who has it; `--listen` takes another address."
            raise CannotListen(f"cannot listen on {self}: {os.strerror(error.errno or 0)}", hint=hint) from error

    def __str__(self) -> str:
        """Write it as it is typed."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Answer(NamedTuple):
    """What is sent back."""

    status: HTTPStatus
    text: bytes
    kind: str = _PLAIN

    def rendered(self, *, body: bool) -> bytes:
        """Give its bytes on the wire."""
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
        self._conversations = 0
        self._stop: Callable[[], object] = lambda: None
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="listener", daemon=True)

    @property
    def port(self) -> int:
        """The port that it has; where 0 was asked for, one that was free."""
        port: int = self._socket.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and give the port back."""
        self._stop()
        self._thread.join()

    async def _serve(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        server = await asyncio.start_server(self._converse, sock=self._socket, limit=_HEAD_BYTES)
        self._started.set()
        await stopped.wait()
        # Not waited for: whoever is being answered must not hold up the program's end.
        server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._conversations += 1
        try:
            if self._conversations > _AT_ONCE:
                return
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answered(head.decode("latin-1")))
                await writer.drain()
        except (TimeoutError, EOFError, asyncio.LimitOverrunError, OSError) as error:
            _LOG.debug("a request came to nothing: %r", error)
        finally:
            self._conversations -= 1
            writer.close()

    def _answered(self, head: str) -> bytes:
        request, *lines = head.split("\r\n")
        method, _, rest = request.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if method not in {"GET", "HEAD"}:
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"GET it.\n").rendered(body=True)
        try:
            answer = self._answer(path, headers.get("accept", ""))
        except Exception:  # noqa: BLE001  # the edge of this thread: whoever asks hears of it, and the next one is answered
            _LOG.exception("%s cannot be told", path)
            answer = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"a fault of the program; see its log\n")
        return answer.rendered(body=method == "GET")

    def _answer(self, path: str, accept: str) -> Answer:
        match path:
            case "/metrics":
                encode, kind = choose_encoder(accept)
                return Answer(HTTPStatus.OK, encode(self._metrics.registry), kind)
            case "/livez":
                return _probed("live", self._probes.unalive())
            case "/readyz":
                return _probed("ready", self._probes.unready())
        return Answer(HTTPStatus.NOT_FOUND, b"/metrics /livez /readyz\n")


@contextlib.contextmanager
def served(
    listen: str, metrics: ProgramMetrics, waiting: Callable[[], Iterable[str]], *heartbeats: Heartbeat
) -> Iterator[None]:
    """Serve metrics and probes for a block, where anywhere is to be listened at all.

    `waiting` says what is missing before the program is ready; it is called in another thread, and must not block.

    Raises:
        CannotListen: `listen` is no address, or somebody else's.
    """
    probes = Probes(waiting, *heartbeats)
    metrics.ready.source = lambda: {(): float(probes.unready() is None)}
    metrics.heartbeats.source = lambda: {(each.loop,): each.age for each in heartbeats}
    if not listen:
        yield
        return
    address = Address.parse(listen)
    with Listener(address, metrics, probes) as listener:
        _LOG.info("metrics and probes are on %s", address._replace(port=listener.port))
        yield


def _is_address(host: str) -> bool:
    """Say whether it is an address of IPv4 or IPv6, or none at all, which is every one."""
    try:
        return not host or bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _probed(what: str, why_not: str | None) -> Answer:
    if why_not is None:
        return Answer(HTTPStatus.OK, f"{what}\n".encode())
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"not {what}: {why_not}\n".encode())
