"""Log-ins of a kubeconfig by the official client: tokens, certificates, OIDC, and exec programs (EKS, GKE, Azure).

Imported only where a kubeconfig is given: the client costs 23 MiB and about a second, and no pod needs it.

Five things of the client (37.0.2) are mended here: it logs the failure of an exec program and goes on without
credentials; it asks an OIDC issuer for a new token without checking the issuer's certificate; it keeps client keys in
files until the process ends; it leaves the connection to an issuer open while that says no goodbye; and it shows a
file's token with its line's end, which no request may carry. A client certificate that an exec program gives is not
renewed.
"""

import asyncio
import contextlib
import dataclasses
import logging
import ssl
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import kube_config
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.openid import OpenIDRequestor

from subfunction.errors import ApiUnavailable
from subfunction.process.session_sockets import SessionSockets

_BEARER: Final = "BearerToken"
_CHECK_SECONDS: Final = 60.0
"""How often the client is asked whether the token has expired; it says so five minutes before."""
_RETRY_SECONDS: Final = 10.0
"""The shortest time between two log-ins after the server has rejected the token."""
_REFRESH_SECONDS: Final = 60.0
_SAME_FILE: Final = "Compare `kubectl --kubeconfig FILE get nodes`, which logs in by the same file."
_CANNOT: Final = (
    ConfigException,
    aiohttp.ClientError,
    AttributeError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
    yaml.YAMLError,
)


class _ExecFailedError(Exception):
    """An exec program gave no credentials."""


class _Requestor(OpenIDRequestor):
    """Asks an OIDC issuer for tokens, checks its certificate, and leaves no connection behind."""

    authority: str | None = None
    _sockets: SessionSockets

    async def refresh_token(self, refresh_token: str) -> dict[str, str]:
        """Exchange a refresh token for an id token, and perhaps another refresh token."""
        ask: Callable[[str], Awaitable[dict[str, str]]] = super().refresh_token
        try:
            return await ask(refresh_token)
        finally:
            await self._sockets.abort()

    def _get_connector(self) -> aiohttp.TCPConnector:
        self._sockets = SessionSockets()
        trusted = ssl.create_default_context(cadata=self.authority)
        return aiohttp.TCPConnector(ssl=trusted, socket_factory=self._sockets.make_socket)


class _Loader(kube_config.KubeConfigLoader):
    """The client's loader, with errors that are raised and an issuer that is checked."""

    async def load_from_exec_plugin(self) -> bool:
        """Log in by the user's exec program, unless its last token is still good.

        Raises:
            _ExecFailedError: it cannot be run, has failed, or gave no credentials.
        """
        load: Callable[[], Awaitable[object]] = super().load_from_exec_plugin
        with _collected_errors() as errors:
            await load()
        if errors:
            raise _ExecFailedError(f"{self.user['exec'].get('command')}: {'; '.join(errors)}")
        return True

    async def log_in(self, configuration: Configuration) -> None:
        """Log in, and write to `configuration` where the server is, how to trust it and what to show it.

        Raises:
            ConfigException: something is missing or wrong, such as any credentials for a server with TLS.
        """
        name = self.current_context["context"].get("user")
        if name and self._user is None:
            raise ConfigException(f"there is no user {name!r}, which the context names")
        if self._user is None:
            nothing: Callable[..., Any] = kube_config.ConfigNode
            self._user = nothing("user", {})
        load: Callable[[Configuration], Awaitable[None]] = self.load_and_set
        await load(configuration)
        _trim(configuration)
        # A server without TLS asks for none.
        asks = configuration.host.startswith("https:")
        if asks and _BEARER not in configuration.api_key and not configuration.cert_file:
            known = ", ".join(sorted(self.user)) or "nothing"
            raise ConfigException(f"user {name!r} has no credentials that are known here: there is {known}")

    async def refresh(self, configuration: Configuration) -> None:
        """Log in again where the token has expired, and read a token's file again."""
        load: Callable[[], Awaitable[object]] = self._load_authentication
        into: Callable[[Configuration], object] = self._set_config
        await load()
        into(configuration)
        _trim(configuration)

    @property
    def user(self) -> dict[str, Any]:
        """The user's part of the kubeconfig."""
        return {} if self._user is None else dict(self._user.value)

    @property
    def stays(self) -> bool:
        """Whether the credentials are good until the server rejects them: an exec program has named no end."""
        return "exec" in self.user and "exec_plugin_expiry" not in self.__dict__

    async def _refresh_oidc(self, provider: Any) -> None:
        settings = dict(provider["config"].value)
        missing = [name for name in ("refresh-token", "client-id", "idp-issuer-url") if not settings.get(name)]
        if missing:
            raise ConfigException(f"oidc: the id-token has expired, and there is no {missing[0]}")
        make: Callable[..., _Requestor] = _Requestor
        requestor = make(settings["client-id"], settings.get("client-secret", ""), settings["idp-issuer-url"])
        authority: Callable[[Any], bytes | None] = self._retrieve_oidc_cacert
        if (found := authority(provider)) is not None:
            requestor.authority = found.decode()
        ask: Callable[[str], Awaitable[dict[str, str]]] = requestor.refresh_token
        answer = await ask(settings["refresh-token"])
        provider["config"].value["id-token"] = answer["id_token"]
        # An issuer may let the old one stand.
        provider["config"].value["refresh-token"] = answer.get("refresh_token", settings["refresh-token"])
        self._config_persister(self._config.value)


def _trim(configuration: Configuration) -> None:
    """Take off the line's end that a file with a token may have, as kubectl does."""
    configuration.api_key = {name: value.strip() for name, value in configuration.api_key.items()}


@contextlib.contextmanager
def _collected_errors() -> Iterator[list[str]]:
    """Take what the loader would log as an error of an exec program."""
    errors: list[str] = []

    def collect(record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR:
            return True
        errors.append(record.getMessage())
        return False

    kube_config.logger.addFilter(collect)
    try:
        yield errors
    finally:
        kube_config.logger.removeFilter(collect)


@dataclasses.dataclass(slots=True)
class Kubeconfig:
    """The current context of a kubeconfig, logged in; a Token that is kept up to date.

    Requests of several event loops may use it: a log-in runs in a thread of its own, one at a time, while the others
    show the token of before.
    """

    path: Path
    configuration: Configuration
    tls: ssl.SSLContext | None
    _loader: _Loader
    _checked_at: float = dataclasses.field(default_factory=time.monotonic)
    _rejected: bool = False
    _refreshing: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    @classmethod
    async def load(cls, path: Path) -> Self:
        """Read a kubeconfig and log in as its current context says; called within `key_files`.

        Raises:
            ApiUnavailable: it cannot be read or lacks something, or the log-in failed.
        """
        configuration, loader = Configuration(), None
        try:
            loader = _loader_of(path)
            await loader.log_in(configuration)
            tls = _tls_of(configuration)
        except (_ExecFailedError, *_CANNOT) as error:
            raise _unavailable(path, loader, error) from error
        found = cls(path, configuration, tls, loader)
        # The client declares it as None alone, and calls it before each request.
        configuration.refresh_api_key_hook = found._refresh  # type: ignore[assignment]
        return found

    async def header(self) -> str | None:
        """Return the value of the Authorization header; log in again first, where the token has expired.

        Raises:
            ApiUnavailable: the log-in failed.
        """
        return await self.configuration.get_api_key_with_prefix(_BEARER)

    def reject(self) -> None:
        """Learn that the server did not take the token: the next request logs in anew."""
        self._rejected = True

    async def _refresh(self, configuration: Configuration) -> None:
        del configuration
        if self._is_due() and self._refreshing.acquire(blocking=False):
            try:
                self._checked_at = time.monotonic()
                await asyncio.to_thread(lambda: asyncio.run(self._log_in_again()))
            finally:
                self._refreshing.release()

    def _is_due(self) -> bool:
        age = time.monotonic() - self._checked_at
        return (self._rejected and age >= _RETRY_SECONDS) or (not self._loader.stays and age >= _CHECK_SECONDS)

    async def _log_in_again(self) -> None:
        try:
            if self._rejected:
                self._loader = _loader_of(self.path)
            async with asyncio.timeout(_REFRESH_SECONDS):
                await self._loader.refresh(self.configuration)
            self._rejected = False
        except (_ExecFailedError, *_CANNOT) as error:
            raise _unavailable(self.path, self._loader, error) from error


def _loader_of(path: Path) -> _Loader:
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ConfigException(f"it is no mapping, but {type(config).__name__}")

    def persist(changed: Any) -> None:
        """Write tokens that a log-in has renewed: an issuer may take the old ones no more."""
        target = path.resolve()
        with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False, encoding="utf-8") as file:
            yaml.safe_dump(changed, file)
        Path(file.name).replace(target)

    # Relative paths are relative to the kubeconfig, as kubectl has it.
    make: Callable[..., _Loader] = _Loader
    return make(config, config_base_path=str(path.absolute().parent), config_persister=persist)


def _tls_of(configuration: Configuration) -> ssl.SSLContext | None:
    return RESTClientObject(configuration).ssl_context if configuration.host.startswith("https:") else None


@contextlib.contextmanager
def key_files() -> Iterator[None]:
    """Keep the files of keys and certificates during a block in which OpenSSL reads them; remove them at its end."""
    try:
        yield
    finally:
        remove: Callable[[], None] = kube_config._cleanup_temp_files  # noqa: SLF001
        remove()


def _unavailable(path: Path, loader: _Loader | None, error: BaseException) -> ApiUnavailable:
    install = loader.user.get("exec", {}).get("installHint") if loader and isinstance(error, _ExecFailedError) else None
    words = (
        str(error) if isinstance(error, ConfigException | _ExecFailedError | OSError) and str(error) else repr(error)
    )
    return ApiUnavailable(f"no way to the API server by {path}: {words}", hint=install or _SAME_FILE)
