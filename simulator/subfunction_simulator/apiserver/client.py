"""A plain client asks a Kubernetes API, for what stands around the embedded server: tests, benches, the demo.

It hides nothing: a method, a path, a body; a code and an object back.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from subfunction_simulator.apiserver.media_types import MERGE_PATCH
from subfunction_simulator.apiserver.objects import JsonObject

PATIENCE: Final = 5.0
"""Seconds an awaited event may take."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer holds what came back: an object, a list, or a `Status`."""

    code: int
    body: JsonObject
    headers: dict[str, str]

    @property
    def metadata(self) -> JsonObject:
        """Give the object's metadata."""
        metadata: JsonObject = self.body["metadata"]
        return metadata

    @property
    def message(self) -> str:
        """Give what a `Status` says."""
        return str(self.body.get("message", ""))


class Events:
    """An open watch gives an event at a time."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.bytes = 0
        """How many bytes of events have been taken."""
        self._response = response

    async def next(self, seconds: float = PATIENCE) -> tuple[str, JsonObject]:
        """Give the next event's type and object; raises EOFError at the end, TimeoutError when none comes."""
        async with asyncio.timeout(seconds):
            line = await self._response.content.readline()
        if not line:
            raise EOFError("the server ended the watch")
        self.bytes += len(line)
        event = json.loads(line)
        return event["type"], event["object"]

    async def take(self, count: int) -> list[tuple[str, str]]:
        """Give the types and the objects' names of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(kind, obj["metadata"]["name"]) for kind, obj in events]


class Client:
    """A client asks one server; `token` is a bearer token."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str | None = None) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        media: str = "application/json",
        accept: str = "",
        **query: str,
    ) -> Answer:
        """Make one request. Raises aiohttp.ClientError; a refusal is an answer like others."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {**self._headers, "Content-Type": media, "Accept": accept or "application/json"}
        async with self._session.request(
            method, self._url + path, data=data, params=query, headers=headers
        ) as response:
            return Answer(response.status, _decode(await response.read()), dict(response.headers))

    async def merge(self, path: str, body: JsonObject) -> Answer:
        """Merge-patch an object."""
        return await self("PATCH", path, body, media=MERGE_PATCH)

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncGenerator[Events]:
        """Watch a collection; raises aiohttp.ClientResponseError when the server refuses to."""
        params = {"watch": "true", **query}
        async with self._session.get(self._url + path, params=params, headers=self._headers) as response:
            response.raise_for_status()
            yield Events(response)


def _decode(content: bytes) -> JsonObject:
    """Decode the object in an answer; of what is none, give the text as a message."""
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {"message": content.decode(errors="replace")}
