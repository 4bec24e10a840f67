"""One request to the API server, and what its answers mean; an Event. What every program says to it goes through here.

Each is one request and is not retried here: who asks knows whether it still matters.
"""

import dataclasses
import datetime as dt
from collections.abc import AsyncGenerator
from typing import Any, Final

import aiohttp
import msgspec

from subfunction.api import GROUP, VERSION
from subfunction.errors import ApiConflict, ApiRefused, ApiUnavailable
from subfunction_operator.event import Event

MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
_BROKEN_OFF: Final = 0.2
"""Seconds until a stream is opened again that was open."""
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)


@dataclasses.dataclass(frozen=True, slots=True)
class Involved:
    """The object that an Event is about."""

    kind: str
    name: str
    uid: str
    version: str


@dataclasses.dataclass(frozen=True, slots=True)
class Reporter:
    """Who posts an Event: a program, and which of its kind."""

    component: str
    instance: str


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """An API server, in a session that shows who we are."""

    session: aiohttp.ClientSession
    url: str

    async def post_event(self, of: Involved, event: Event, by: Reporter) -> None:
        """Post an Event; those of cluster-scoped objects live in the namespace `default`."""
        at = now()
        body = {
            "metadata": {"generateName": f"{of.name[:240]}.", "namespace": "default"},
            "involvedObject": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": of.kind,
                "name": of.name,
                "uid": of.uid,
                "resourceVersion": of.version,
            },
            "reason": event.reason,
            "message": event.message[:1024],
            "type": "Warning" if event.warning else "Normal",
            "source": {"component": by.component, "host": by.instance},
            "reportingComponent": by.component,
            "reportingInstance": by.instance,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        await self.request("POST", "/api/v1/namespaces/default/events", body)

    async def lines(self, path: str, parameters: dict[str, str], silence: float) -> AsyncGenerator[list[bytes]]:
        """Open a stream and give its lines as they come; it ends when the server ends it.

        Raises:
            ApiRefused: the server said no.
            ApiUnavailable: it cannot be reached, asks for patience, broke off, or was silent for `silence` seconds.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=silence)
        again = None
        try:
            async with self.session.get(f"{self.url}{path}", params=parameters, timeout=timeout) as response:
                if response.status >= 300:
                    raise _refusal(f"GET {path}", response, await response.read())
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
        """Make one request and give the JSON of its answer; `kind` is the content type of `body`.

        Raises:
            ApiRefused, ApiConflict: the server said no.
            ApiUnavailable: it cannot be reached, is out of order, or asks for patience.
        """
        raw = await self.raw(method, path, body, kind, parameters)
        try:
            return msgspec.json.decode(raw)
        except msgspec.DecodeError as error:
            raise ApiUnavailable(f"{method} {path}: the answer is no JSON: {raw[:80]!r}") from error

    async def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str = "application/json",
        parameters: dict[str, str] | None = None,
    ) -> bytes:
        """Make one request, as above, and give its answer as it came."""
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
        raise _refusal(f"{method} {path}", response, raw)


def now() -> str:
    """Give the time as the API writes it: RFC 3339, in UTC, whole seconds."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _refusal(operation: str, response: aiohttp.ClientResponse, raw: bytes) -> ApiRefused | ApiUnavailable:
    try:
        message = str(msgspec.json.decode(raw)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        message = raw[:200].decode(errors="replace") or response.reason or ""
    words = f"{operation}: {response.status} {message}"
    if response.status == 429 or response.status >= 500:
        after = response.headers.get("Retry-After", "")
        return ApiUnavailable(words, retry_after=float(after) if after.isdecimal() else None)
    # A 422 is none: a status that the schema refuses stays refused, and a JSON patch whose `test` of the uid fails too.
    kind = ApiConflict if response.status == 409 else ApiRefused
    hint = "Our role lacks this; see our ClusterRole." if response.status == 403 else ""
    return kind(words, status=response.status, hint=hint)
