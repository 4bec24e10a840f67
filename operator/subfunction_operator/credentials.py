"""Where the API server is and how we prove who we are: a pod's mounted token, or a kubeconfig for development.

A bound token is replaced on disk about once an hour. It is read again for each request that comes more than a few
seconds after the last reading, so that no rotation is ever noticed by a refusal.
"""

import base64
import dataclasses
import os
import ssl
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import yaml

from subfunction.errors import ApiUnavailable
from subfunction_operator.connections import Connections

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")

CONNECTIONS: Final = 16
"""kopf opens a connection per changed object; 500 over TLS took 214 MiB, 16 serve them as fast (measured)."""

_REREAD_SECONDS: Final = 10.0


class Token(Protocol):
    """Something that gives the current bearer token, None where none is needed."""

    def current(self) -> str | None:
        """Give the token as it stands now."""


@dataclasses.dataclass(slots=True)
class TokenFile:
    """A token on disk, read again when the last reading is old."""

    path: Path
    _read_at: float = -_REREAD_SECONDS
    _token: str | None = None

    def current(self) -> str | None:
        """Give the token as it stands now."""
        now = time.monotonic()
        if now - self._read_at >= _REREAD_SECONDS:
            self._token = self.path.read_text(encoding="ascii").strip()
            self._read_at = now
        return self._token


@dataclasses.dataclass(frozen=True, slots=True)
class FixedToken:
    """A token that stays, or none."""

    token: str | None = None

    def current(self) -> str | None:
        """Give the token."""
        return self.token


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """A server's URL, how to trust it and how to be trusted."""

    server: str
    token: Token
    tls: ssl.SSLContext | None = None
    client: str = "subfunction"
    """Who we say we are: in the server's audit log, and as the manager of the fields that we write."""

    @classmethod
    def found(
        cls, kubeconfig: Path | None, mounted: Path = SERVICE_ACCOUNT, *, client: str = "subfunction"
    ) -> "Credentials":
        """Take the kubeconfig given, else what a pod finds mounted.

        Raises:
            ApiUnavailable: neither is there, or cannot be read.
        """
        try:
            found = cls._of_kubeconfig(kubeconfig) if kubeconfig else cls._of_pod(mounted)
            return dataclasses.replace(found, client=client)
        except (OSError, KeyError, StopIteration, TypeError, ValueError, yaml.YAMLError) as error:
            where = kubeconfig or mounted
            hint = "Outside a pod, name a kubeconfig: `--kubeconfig FILE`."
            raise ApiUnavailable(f"no way to the API server from {where}: {error!r}", hint=hint) from error

    @classmethod
    def _of_pod(cls, mounted: Path) -> "Credentials":
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        bracketed = f"[{host}]" if ":" in host else host
        tls = ssl.create_default_context(cafile=mounted / "ca.crt")
        return cls(f"https://{bracketed}:{port}", TokenFile(mounted / "token"), tls)

    @classmethod
    def _of_kubeconfig(cls, path: Path) -> "Credentials":
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(config, "context", config["current-context"])
        cluster, user = _named(config, "cluster", context["cluster"]), _named(config, "user", context.get("user", ""))
        server = str(cluster["server"]).rstrip("/")
        if unknown := sorted({"exec", "auth-provider", "username"} & set(user)):
            raise ValueError(f"user {context['user']!r} logs in by {unknown[0]}, which the agent does not know")
        # Relative paths are relative to the kubeconfig, as kubectl has it.
        folder = path.parent
        token: Token = TokenFile(folder / user["tokenFile"]) if "tokenFile" in user else FixedToken(user.get("token"))
        return cls(server, token, _tls(cluster, user, folder) if server.startswith("https:") else None)

    @asynccontextmanager
    async def session(self, *further: aiohttp.ClientMiddlewareType) -> AsyncIterator[aiohttp.ClientSession]:
        """Open a bounded session; it belongs to the running loop. `further` see each request and its answer."""

        async def authorised(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            if (token := self.token.current()) is not None:
                request.headers["Authorization"] = f"Bearer {token}"
            return await send(request)

        tls, connections = self.tls if self.tls is not None else True, Connections()
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=tls, socket_factory=connections.made)
        headers, seen_by = {"User-Agent": f"{self.client}/{version('subfunction')}"}, (authorised, *further)
        try:
            async with aiohttp.ClientSession(connector=connector, headers=headers, middlewares=seen_by) as session:
                yield session
        finally:
            await connections.end()


def _named(config: Any, kind: str, name: str) -> Any:
    found = next((entry[kind] for entry in config.get(f"{kind}s") or () if entry["name"] == name), None)
    if found is None and kind != "user":
        raise KeyError(f"{kind} {name!r}")
    return found or {}


def _tls(cluster: Any, user: Any, folder: Path) -> ssl.SSLContext:
    data, file = cluster.get("certificate-authority-data"), cluster.get("certificate-authority")
    authority = base64.b64decode(data).decode() if data else None
    context = ssl.create_default_context(cafile=folder / file if file and not data else None, cadata=authority)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if "client-certificate-data" in user or "client-certificate" in user:
        with tempfile.TemporaryDirectory() as scratch:
            certificate, key = (_as_file(user, kind, folder, Path(scratch)) for kind in ("certificate", "key"))
            context.load_cert_chain(certificate, key)
    return context


def _as_file(user: Any, kind: str, folder: Path, scratch: Path) -> Path:
    """Give a client's certificate or key as a file, since OpenSSL reads no other."""
    data = user.get(f"client-{kind}-data")
    if data is None:
        return folder / str(user[f"client-{kind}"])
    path = scratch / kind
    # The folder is for its owner's eyes alone, and gone a moment later.
    path.write_bytes(base64.b64decode(data))
    return path
