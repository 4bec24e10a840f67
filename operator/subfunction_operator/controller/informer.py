"""All objects of one kind, and each change of them: a LIST in pages, then a watch from where the list ended, for ever.

Straight from the server's bytes to what is kept, an object at a time, so that those of a whole cluster pass through
little memory (`docs/decisions/2026-11-22-informer.md`). After whatever may have hidden a deletion there is a new LIST.
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
from subfunction_operator.endpoint import Endpoint

_LOG = logging.getLogger("subfunction.watch")

_PAGE: Final = 500
_WATCH_SECONDS: Final = 300
_SILENCE: Final = 75.0
"""Seconds without a byte after which a watch is dead: a server sends a bookmark every minute."""
_EXPIRED: Final = 410
_PAUSE: Final = 0.5
_REFUSED: Final = 5.0
"""Seconds until a LIST is tried again that was refused: the CRD is not there yet, or our role."""
T = TypeVar("T")


class Sink(Protocol[T]):
    """Who hears of the objects."""

    def listed(self, found: list[T], version: str) -> None:
        """Hear of all that there are, at a version of the whole."""

    def changed(self, found: T) -> None:
        """Hear of one that is new or different."""

    def gone(self, found: T) -> None:
        """Hear of one that is gone, as it was last."""


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] = []


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Bare(msgspec.Struct):
    """Of any object its version; of an ERROR what it says."""

    metadata: _ListMetadata = msgspec.field(default_factory=_ListMetadata)
    code: int = 0
    message: str = ""


_LIST: Final = msgspec.json.Decoder(_List)
_EVENT: Final = msgspec.json.Decoder(_Event)
_BARE: Final = msgspec.json.Decoder(_Bare)


class _Relist(SubFunctionError):
    """What was missed is not told any more."""


@dataclasses.dataclass(slots=True)
class Informer(Generic[T]):
    """One kind, at the path of its collection; `read` makes of an object's JSON what is kept."""

    endpoint: Endpoint
    path: str
    read: Callable[[msgspec.Raw], T]
    sink: Sink[T]
    silence: float = _SILENCE
    relisted: Callable[[], None] = lambda: None
    """Hears each time that all have to be listed anew."""
    lists: int = 0
    """How often all were listed."""

    async def run(self) -> None:
        """Work for ever, whatever becomes of the server."""
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list()
                async for seen in self._watch(version):
                    version = seen
            except _Relist as error:
                _LOG.info("%s is listed anew: %s", self.path, error)
                version = ""
                self.relisted()
                await asyncio.sleep(_PAUSE)
            except ApiRefused as error:
                _LOG.warning("%s", error)
                await asyncio.sleep(_REFUSED)
            except ApiUnavailable as error:
                _LOG.info("%s", error)
                await asyncio.sleep(error.retry_after or _PAUSE)

    async def _list(self) -> str:
        found: list[T] = []
        parameters = {"limit": str(_PAGE)}
        while True:
            try:
                page = _LIST.decode(await self.endpoint.raw("GET", self.path, parameters=parameters))
            except msgspec.DecodeError as error:
                raise ApiUnavailable(f"GET {self.path}: the answer is no list: {error}") from error
            except ApiRefused as error:
                if error.status != _EXPIRED:
                    raise
                raise _Relist(str(error)) from error
            found.extend(each for item in page.items if (each := self._understood(item)) is not None)
            if not page.metadata.continue_:
                break
            parameters["continue"] = page.metadata.continue_
        self.lists += 1
        self.sink.listed(found, page.metadata.resource_version)
        return page.metadata.resource_version

    async def _watch(self, version: str) -> AsyncGenerator[str]:
        """Tell what changes after a version; gives the version that has been told."""
        parameters = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        try:
            async with contextlib.aclosing(self.endpoint.lines(self.path, parameters, self.silence)) as streamed:
                async for lines in streamed:
                    for line in lines:
                        version = self._told(line) or version
                    yield version
                    await asyncio.sleep(0)
        except ApiRefused as error:
            raise _Relist(str(error)) from error

    def _told(self, line: bytes) -> str:
        """Tell one event; gives its version, empty where it has none."""
        try:
            event = _EVENT.decode(line)
            bare = _BARE.decode(event.object)
        except msgspec.DecodeError as error:
            raise _Relist(f"an event that is none: {error}") from error
        if event.type == "ERROR":
            raise _Relist(bare.message or str(bare.code))
        if event.type != "BOOKMARK" and (found := self._understood(event.object)) is not None:
            (self.sink.gone if event.type == "DELETED" else self.sink.changed)(found)
        return bare.metadata.resource_version

    def _understood(self, raw: msgspec.Raw) -> T | None:
        try:
            return self.read(raw)
        except msgspec.DecodeError as error:
            who = re.search(rb'"name": ?"([^"]*)"', bytes(raw))
            name = who[1].decode() if who else "an object"
            _LOG.error("%s/%s is not of the shape that the CRD promises, and is left alone: %s", self.path, name, error)
            return None
