"""A real API server behind the face of the embedded one: counted, and with faults to order, by a relay before it.

The relay speaks plain HTTP, passes requests on as they are and answers as they come, but for the faults of `Traffic`:
it refuses requests, and it cuts, fails or stalls watches. So one suite asks both servers the same.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from components.controlplane import ADMIN, ControlPlane
from subfunction.process.session_sockets import SessionSockets
from subfunction_simulator.apiserver.status import RefusedError
from subfunction_simulator.apiserver.traffic import Asked, SeveredError, Traffic

_OF_ONE_CONNECTION: Final = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})
_ITEM_VERBS: Final = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTION_VERBS: Final = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_TRUE: Final = frozenset({"1", "true", "True"})
_LONGEST_LINE: Final = 8 * 1024 * 1024


class CutError(Exception):
    """The watch is to end without a word, its connection cut."""


class RelayedApiServer:
    """A control plane's API server with what the embedded one offers to tests; an asynchronous context.

    `token`: what every request must carry; without one, whoever asks is the administrator.
    """

    def __init__(self, plane: ControlPlane, *, token: str | None = None) -> None:
        self.traffic = Traffic()
        self.port = 0
        self.plane = plane
        self._token = token
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._connections = SessionSockets()
        self._exchanges: set[asyncio.Future[aiohttp.ClientResponse]] = set()

    @property
    def url(self) -> str:
        """Where it is served; meaningful once started."""
        return f"http://127.0.0.1:{self.port}"

    def kubeconfig(self) -> str:
        """A kubeconfig (YAML) that leads here."""
        return self.plane.kubeconfig(self._token or ADMIN, server=self.url)

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self.plane.tls(), socket_factory=self._connections.make_socket),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            read_bufsize=_LONGEST_LINE,
        )
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cut all watches and listen no more; the server behind goes on."""
        runner, self._runner = self._runner, None
        session, self._session = self._session, None
        if runner:
            self.traffic.drop_watches()
            await runner.cleanup()
        if self._exchanges:
            await asyncio.wait(self._exchanges)
        if session:
            await session.close()
            await self._connections.abort()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = asked_of(request.method, request.path, request.query)
        try:
            self.traffic.note(asked, request.headers.get("User-Agent", ""))
            return await self._pass_on(request, asked)
        except RefusedError as refusal:
            return web.json_response(refusal.to_json(), status=refusal.code, headers=refusal.headers)
        except (CutError, SeveredError, aiohttp.ClientError) as error:
            # Whoever asks sees what it would see without a relay: a connection that breaks off.
            if request.transport:
                request.transport.abort()
            raise ConnectionResetError(str(error)) from error

    async def _pass_on(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        headers = _passed(request.headers)
        if self._token is None:
            headers["Authorization"] = f"Bearer {ADMIN}"
        body = await request.read() if request.can_read_body else None
        answer = await self._asked(request.method, request.raw_path, body, headers)
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_passed(answer.headers))
        if asked.verb == "watch" and answer.status == 200:
            await self._follow(request, asked, answer, response)
            return response
        content = await answer.read()
        self.traffic.finish(asked)
        response.content_length = len(content)
        await response.prepare(request)
        await response.write(content)
        return response

    async def _asked(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """The server's answer; what is not a watch is read.

        Whoever asked may have gone meanwhile: the exchange goes on to its end all the same, for a TLS connection that
        is left in the midst of one closes at some time that nobody is told of.
        """
        exchange = asyncio.ensure_future(self._exchange(method, path, body, headers))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._exchanges.discard)
        try:
            return await asyncio.shield(exchange)
        except asyncio.CancelledError:
            exchange.add_done_callback(_hang_up)
            raise

    async def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        assert self._session is not None
        url = URL(f"{self.plane.url}{path}", encoded=True)
        # `kubectl scale` names no type for what it sends, and the server takes it for JSON: none is added.
        bare = ("Content-Type",)
        answer = await self._session.request(method, url, data=body, headers=headers, skip_auto_headers=bare)
        if "watch" not in url.query or answer.status != 200:
            await answer.read()
        return answer

    async def _follow(
        self, request: web.Request, asked: Asked, answer: aiohttp.ClientResponse, response: web.StreamResponse
    ) -> None:
        stream = RelayedWatch(asked.resource)
        self.traffic.streams.add(stream)
        try:
            await response.prepare(request)
            async with aclosing(stream.lines(answer.content)) as lines:
                async for line in lines:
                    await response.write(line)
        finally:
            self.traffic.streams.discard(stream)
            _abort(answer)


def _hang_up(exchange: asyncio.Future[aiohttp.ClientResponse]) -> None:
    """End the watch that nobody waits for any more."""
    if not exchange.cancelled() and exchange.exception() is None:
        _abort(exchange.result())


def _abort(answer: aiohttp.ClientResponse) -> None:
    """Close a connection now, without TLS's goodbye; of an answer that was read whole, nothing."""
    if answer.connection is not None and answer.connection.transport is not None:
        answer.connection.transport.abort()
    answer.close()


class RelayedWatch:
    """One open watch that passes through."""

    def __init__(self, plural: str) -> None:
        self.plural = plural
        self._struck = asyncio.Event()
        self._flows = asyncio.Event()
        self._flows.set()
        self._failure: RefusedError | None = None

    def cut(self) -> None:
        """End it by cutting the connection."""
        self._struck.set()

    def fail(self, failure: RefusedError) -> None:
        """End it by an ERROR event."""
        self._failure = failure
        self._struck.set()

    def stall(self, *, stalled: bool) -> None:
        """Let it fall silent, or go on."""
        if stalled:
            self._flows.clear()
        else:
            self._flows.set()

    async def lines(self, content: aiohttp.StreamReader) -> AsyncGenerator[bytes]:
        """The events that the server sends, and what the faults make of them; raises CutError."""
        striking = asyncio.ensure_future(self._struck.wait())
        reading = asyncio.ensure_future(self._next(content))
        try:
            while True:
                await asyncio.wait({striking, reading}, return_when=asyncio.FIRST_COMPLETED)
                if self._failure:
                    event = {"type": "ERROR", "object": self._failure.to_json()}
                    yield f"{json.dumps(event)}\n".encode()
                    return
                if striking.done():
                    raise CutError
                line = reading.result()
                if not line:
                    return
                yield line
                reading = asyncio.ensure_future(self._next(content))
        finally:
            striking.cancel()
            reading.cancel()

    async def _next(self, content: aiohttp.StreamReader) -> bytes:
        line = await content.readline()
        await self._flows.wait()
        return line


def asked_of(method: str, path: str, query: Mapping[str, str]) -> Asked:
    """A request as RBAC names it; what is about no resource is named by its path."""
    match path.strip("/").split("/"):
        case ["api", _, *rest] | ["apis", _, _, *rest] if rest:
            if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
                rest = rest[2:]
            resource, name, subresource = (*rest, "", "")[:3]
            verb = (_ITEM_VERBS if name else _COLLECTION_VERBS).get(method, method.lower())
            if verb == "list" and query.get("watch") in _TRUE:
                verb = "watch"
            return Asked(verb, resource, subresource, name, dict(query))
    return Asked(method.lower(), path, query=dict(query))


def _passed(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Those headers that are about the message, not about the connection."""
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _OF_ONE_CONNECTION)
