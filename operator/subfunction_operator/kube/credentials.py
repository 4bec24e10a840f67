"""Where the API server is and how we prove who we are: a pod's mounted token, or a kubeconfig outside of pods.

A bound token is replaced on disk about once an hour. It is read again for each request that comes more than a few
seconds after the last reading, so that no rotation is ever noticed by a refusal.
"""

import dataclasses
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from subfunction.errors import ApiUnavailable
from subfunction.process.session_sockets import SessionSockets
from subfunction_operator.kube.settings import SERVICE_ACCOUNT

CONNECTIONS: Final = 16
"""kopf opens a connection per changed object; 500 over TLS took 214 MiB, 16 serve them as fast (measured)."""

_REREAD_SECONDS: Final = 10.0


class Token(Protocol):
    """Something that proves who we are."""

    async def header(self) -> str | None:
        """Return the value of the Authorization header as it stands now, None where none is shown."""

    def reject(self) -> None:
        """Learn that the server did not accept it (401)."""


@dataclasses.dataclass(slots=True)
class TokenFile:
    """A token on disk, read again when the last reading is old."""

    path: Path
    _read_at: float = -_REREAD_SECONDS
    _token: str = ""

    async def header(self) -> str:
        """Return the header with the token as it stands now."""
        now = time.monotonic()
        if now - self._read_at >= _REREAD_SECONDS:
            self._token = self.path.read_text(encoding="ascii").strip()
            self._read_at = now
        return f"Bearer {self._token}"

    def reject(self) -> None:
        """Change nothing: the file is read again soon enough."""


@dataclasses.dataclass(frozen=True, slots=True)
class FixedToken:
    """A token that stays, or none."""

    token: str | None = None

    async def header(self) -> str | None:
        """Return the header with the token, None without one."""
        return None if self.token is None else f"Bearer {self.token}"

    def reject(self) -> None:
        """Change nothing: there is no other token."""


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """A server's URL, how to trust it and how to be trusted."""

    server: str
    token: Token
    tls: ssl.SSLContext | None = None
    client: str = "subfunction"
    """Who we say we are: in the server's audit log, and as the manager of the fields that we write."""

    server_name: str | None = None
    """The name that the server's certificate must have, where it is not that of the URL."""
    proxy: str | None = None
    """The URL of the proxy on the way."""

    @classmethod
    async def load(
        cls, kubeconfig: Path | None, mounted: Path = SERVICE_ACCOUNT, *, client: str = "subfunction"
    ) -> "Credentials":
        """Take the kubeconfig given, else what a pod finds mounted.

        Raises:
            ApiUnavailable: neither is there, or cannot be read, or its log-in failed.
        """
        if kubeconfig is not None:
            return dataclasses.replace(await cls._of_kubeconfig(kubeconfig), client=client)
        try:
            return dataclasses.replace(cls._of_pod(mounted), client=client)
        except (OSError, KeyError, ValueError) as error:
            hint = "Outside a pod, name a kubeconfig: `--kubeconfig FILE`."
            raise ApiUnavailable(f"no way to the API server from {mounted}: {error!r}", hint=hint) from error

    @classmethod
    def _of_pod(cls, mounted: Path) -> "Credentials":
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        bracketed = f"[{host}]" if ":" in host else host
        tls = ssl.create_default_context(cafile=mounted / "ca.crt")
        return cls(f"https://{bracketed}:{port}", TokenFile(mounted / "token"), tls)

    @classmethod
    async def _of_kubeconfig(cls, path: Path) -> "Credentials":
        # Imported here: it brings the official client, 23 MiB and about a second (measured), which no pod needs.
        from subfunction_operator.kube.kubeconfig import Kubeconfig, key_files  # noqa: PLC0415

        with key_files():
            found = await Kubeconfig.load(path)
        given = found.configuration
        return cls(given.host, found, found.tls, server_name=given.tls_server_name, proxy=given.proxy)

    @asynccontextmanager
    async def session(self, *further: aiohttp.ClientMiddlewareType) -> AsyncIterator[aiohttp.ClientSession]:
        """Open a bounded session; it belongs to the running loop. `further` see each request and its answer."""

        async def authorised(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            if (header := await self.token.header()) is not None:
                request.headers["Authorization"] = header
            request.server_hostname = self.server_name
            answer = await send(request)
            if answer.status == 401:
                self.token.reject()
            return answer

        tls, connections = self.tls if self.tls is not None else True, SessionSockets()
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=tls, socket_factory=connections.make_socket)
        headers, seen_by = {"User-Agent": f"{self.client}/{version('subfunction')}"}, (authorised, *further)
        try:
            async with aiohttp.ClientSession(
                connector=connector, headers=headers, middlewares=seen_by, proxy=self.proxy
            ) as session:
                yield session
        finally:
            await connections.abort()
