"""A counter of bytes on the way of one program to the API server: TCP is passed through, TLS and all."""

import asyncio
import contextlib
import dataclasses
from types import TracebackType
from typing import Final, Self

_CHUNK: Final = 1 << 16


@dataclasses.dataclass(slots=True)
class Count:
    """Bytes since the start, TLS included."""

    to_server: int = 0
    from_server: int = 0
    connections: int = 0


class Meter:
    """Listens on a port of its own and passes everything on to `port`; an asynchronous context."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._count = Count()
        self._behind = port
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> Count:
        """What has passed until now."""
        return dataclasses.replace(self._count)

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Listen no more; end what is open."""
        assert self._server is not None
        self._server.close()
        for pair in self._pairs:
            pair.cancel()
        await asyncio.gather(*self._pairs, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count.connections += 1
        this = asyncio.current_task()
        assert this is not None
        self._pairs.add(this)
        this.add_done_callback(self._pairs.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._behind)
            ways = [
                asyncio.create_task(self._one_way(reader, server_writer, "to_server")),
                asyncio.create_task(self._one_way(server_reader, writer, "from_server")),
            ]
            try:
                # HTTP keeps no half of a connection: a server that dies must not leave its client listening.
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                server_writer.close()
        writer.close()

    async def _one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                setattr(self._count, direction, getattr(self._count, direction) + len(chunk))
                writer.write(chunk)
                await writer.drain()
