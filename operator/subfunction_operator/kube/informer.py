"""The informer: keeps a store up to date with all objects of one kind, by a LIST in pages and a watch from its version.

Each object is decoded by itself, from the server's bytes to what is stored, so that those of a whole cluster need
little memory (`docs/decisions/2026-11-22-informer.md`). A watch that broke off goes on from the last version. After
everything that may have hidden a deletion (a 410, an ERROR event, a line that cannot be read) there is a new LIST.
"""

import asyncio
import contextlib
import dataclasses
import logging
import re
from collections.abc import AsyncGenerator, Callable
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from subfunction.errors import ApiRefused, ApiUnavailable, SubFunctionError
from subfunction_operator.kube.backoff import LONGEST_RETRY_AFTER, RequestBackoff
from subfunction_operator.kube.rest import RestClient

_LOG = logging.getLogger(__name__)

_PAGE: Final = 500
_WATCH_SECONDS: Final = 300
_SILENCE: Final = 75.0
"""Seconds without a byte after which a watch is dead: a server sends a bookmark every minute."""
_EXPIRED: Final = 410
T = TypeVar("T")


class ReflectorStore(Protocol[T]):
    """The store that an informer writes to."""

    def replace(self, found: list[T], version: str) -> None:
        """Replace all objects by those of a list; `version` is the list's resourceVersion."""

    def upsert(self, found: T) -> object:
        """Store an object that was added or modified."""

    def delete(self, found: T) -> None:
        """Delete an object; `found` is its last state."""


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] = []


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _ObjectHeader(msgspec.Struct):
    """The version of any object, or the code and message of an ERROR event."""

    metadata: _ListMetadata = msgspec.field(default_factory=_ListMetadata)
    code: int = 0
    message: str = ""


_LIST: Final = msgspec.json.Decoder(_List)
_EVENT: Final = msgspec.json.Decoder(_Event)
_HEADER: Final = msgspec.json.Decoder(_ObjectHeader)


class _Expired(SubFunctionError):
    """The watch cannot go on from its version, so that a new LIST is needed."""


@dataclasses.dataclass(slots=True)
class Informer(Generic[T]):
    """Lists and watches one kind; `path` is that of its collection, `read` decodes an object's JSON for the store."""

    client: RestClient
    path: str
    read: Callable[[msgspec.Raw], T]
    store: ReflectorStore[T]
    silence: float = _SILENCE
    relisted: Callable[[], None] = lambda: None
    """Called each time that a new LIST is needed."""

    async def run(self) -> None:
        """List and watch for ever; each failure in a row doubles the pause, up to half a minute.

        A LIST is refused while the CRD or our role is not there yet. Only a line of a watch ends a row of failures: a
        role that allows `list` without `watch` would have us list without end.
        """
        version, pauses = "", iter(RequestBackoff())
        while True:
            asked = 0.0
            try:
                if not version:
                    version = await self._list()
                async for seen in self._watch(version):
                    version = seen
                    pauses = iter(RequestBackoff())
            except _Expired as error:
                _LOG.info("%s is listed anew: %s", self.path, error)
                version = ""
                self.relisted()
            except (ApiRefused, ApiUnavailable) as error:
                _LOG.log(logging.WARNING if isinstance(error, ApiRefused) else logging.INFO, "%s", error)
                asked = error.asked
            await asyncio.sleep(min(asked, LONGEST_RETRY_AFTER) + next(pauses))

    async def _list(self) -> str:
        found: list[T] = []
        parameters = {"limit": str(_PAGE)}
        while True:
            try:
                page = _LIST.decode(await self.client.request_raw("GET", self.path, parameters=parameters))
            except msgspec.DecodeError as error:
                raise ApiUnavailable(f"GET {self.path}: the answer is no list: {error}") from error
            except ApiRefused as error:
                if error.status != _EXPIRED:
                    raise
                raise _Expired(str(error)) from error
            found.extend(each for item in page.items if (each := self._decode(item)) is not None)
            if not page.metadata.continue_:
                break
            parameters["continue"] = page.metadata.continue_
        self.store.replace(found, page.metadata.resource_version)
        return page.metadata.resource_version

    async def _watch(self, version: str) -> AsyncGenerator[str]:
        """Store what changes after a version; yield the newest version after each batch of events."""
        parameters = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        try:
            async with contextlib.aclosing(self.client.stream_lines(self.path, parameters, self.silence)) as streamed:
                async for lines in streamed:
                    for line in lines:
                        version = self._handle_event(line) or version
                    yield version
                    await asyncio.sleep(0)
        except ApiRefused as error:
            raise _Expired(str(error)) from error

    def _handle_event(self, line: bytes) -> str:
        """Store the object of one event; return its version, empty where it has none."""
        try:
            event = _EVENT.decode(line)
            header = _HEADER.decode(event.object)
        except msgspec.DecodeError as error:
            raise _Expired(f"an event that is none: {error}") from error
        if event.type == "ERROR":
            raise _Expired(header.message or str(header.code))
        if event.type != "BOOKMARK" and (found := self._decode(event.object)) is not None:
            (self.store.delete if event.type == "DELETED" else self.store.upsert)(found)
        return header.metadata.resource_version

    def _decode(self, raw: msgspec.Raw) -> T | None:
        try:
            return self.read(raw)
        except msgspec.DecodeError as error:
            who = re.search(rb'"name": ?"([^"]*)"', bytes(raw))
            name = who[1].decode() if who else "an object"
            _LOG.error("%s/%s is not of the shape that the CRD promises, and is left alone: %s", self.path, name, error)
            return None
