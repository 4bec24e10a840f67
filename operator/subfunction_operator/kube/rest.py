"""The client of the API server: sends one request and returns its answer, or raises what the answer means.

A request is sent once: the caller decides whether to retry it.
"""

import dataclasses
import datetime as dt
from collections.abc import AsyncGenerator, Awaitable
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

from subfunction.errors import ApiConflict, ApiRefused, ApiUnavailable

MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
_BROKEN_OFF: Final = 0.2
"""Seconds until a stream that broke off is opened again."""
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class RestClient:
    """Sends requests to one API server, in a session that has our credentials."""

    session: aiohttp.ClientSession
    url: str

    async def stream_lines(self, path: str, parameters: dict[str, str], silence: float) -> AsyncGenerator[list[bytes]]:
        """Open a stream and yield its lines as they come; return when the server ends it.

        Raises:
            ApiRefused: the server refused.
            ApiUnavailable: it cannot be reached, asks to wait, broke off, or was silent for `silence` seconds.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=silence)
        again = None
        try:
            async with self.session.get(f"{self.url}{path}", params=parameters, timeout=timeout) as response:
                if response.status >= 300:
                    raise _api_error(f"GET {path}", response, await response.read())
                again, rest = _BROKEN_OFF, b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    if lines:
                        yield lines
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"GET {path}: {str(error) or repr(error)}", retry_after=again) from error

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str = "application/json",
        parameters: dict[str, str] | None = None,
    ) -> Any:
        """Send one request and return its answer, decoded from JSON; `kind` is the content type of `body`.

        Raises:
            ApiRefused, ApiConflict: the server refused.
            ApiUnavailable: it cannot be reached, failed (5xx), or asks to wait (429).
        """
        raw = await self.request_raw(method, path, body, kind, parameters)
        try:
            return msgspec.json.decode(raw)
        except msgspec.DecodeError as error:
            raise ApiUnavailable(f"{method} {path}: the answer is no JSON: {raw[:80]!r}") from error

    async def request_raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str = "application/json",
        parameters: dict[str, str] | None = None,
    ) -> bytes:
        """Send one request as `request` does, and return the undecoded body of its answer."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Accept": "application/json", **({"Content-Type": kind} if data else {})}
        try:
            async with self.session.request(
                method, f"{self.url}{path}", data=data, headers=headers, params=parameters, timeout=_TIMEOUT
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"{method} {path}: {str(error) or repr(error)}") from error
        if response.status < 300:
            return raw
        raise _api_error(f"{method} {path}", response, raw)


async def ignore_not_found(request: Awaitable[T]) -> T | None:
    """Return the answer of a request, None only where the server answered 404 (controller-runtime's `IgnoreNotFound`).

    Raises:
        ApiRefused, ApiConflict, ApiUnavailable: as the request.
    """
    try:
        return await request
    except ApiRefused as error:
        if error.status == 404:
            return None
        raise


def build_patch(uid: str, path: str, value: Any) -> list[dict[str, Any]]:
    """Return the JSON patch (RFC 6902) that sets one path of an object, if the object still has this uid."""
    return [{"op": "test", "path": "/metadata/uid", "value": uid}, {"op": "add", "path": path, "value": value}]


def now() -> str:
    """Return the time as the API writes it: RFC 3339, in UTC, whole seconds."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _api_error(operation: str, response: aiohttp.ClientResponse, raw: bytes) -> ApiRefused | ApiUnavailable:
    try:
        message = str(msgspec.json.decode(raw)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        message = raw[:200].decode(errors="replace") or response.reason or ""
    words = f"{operation}: {response.status} {message}"
    if response.status == 429 or response.status >= 500:
        after = response.headers.get("Retry-After", "")
        return ApiUnavailable(words, retry_after=float(after) if after.isdecimal() else None)
    # A 422 is no conflict: a status that the schema refuses stays refused, as does a patch whose `test` fails.
    kind = ApiConflict if response.status == 409 else ApiRefused
    hint = "Our role lacks this; see our ClusterRole." if response.status == 403 else ""
    return kind(words, status=response.status, hint=hint)
