"""A watch gives the changes of one kind from a revision on, as one client's selection sees them."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from subfunction_simulator.apiserver.kinds.resources import Resource
from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.status import RefusedError
from subfunction_simulator.apiserver.storage.selector import Selection
from subfunction_simulator.apiserver.storage.store import Store

LONGEST: Final = 3600.0
"""Seconds a watch lives if its client names no `timeoutSeconds`."""


class CutError(Exception):
    """The watch is to end without a word, its connection cut."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """A client says how it wants its watch."""

    revision: int | None = None
    """Where to begin; None: with all that is there, as ADDED."""
    bookmarks: bool = False
    announces_initial_end: bool = False
    """Whether a bookmark tells when all that was there has been sent (`sendInitialEvents`, KEP-3157)."""
    timeout: float = LONGEST
    """Seconds until the server ends it."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event is one line of a watch; a bookmark has an object of metadata only, an error a `Status`."""

    kind: str
    object: JsonObject


class Stream:
    """A stream is one open watch. A slow client's events stand in no queue: they are read from the history later."""

    def __init__(self, store: Store, resource: Resource, selection: Selection, options: WatchOptions) -> None:
        self.plural = resource.plural
        self._resource = resource
        self._store = store
        self._collection = store.collection(resource)
        self._selection = selection
        self._options = options
        self._bell = asyncio.Event()
        self._is_cut = False
        self._is_stalled = False
        self._failure: RefusedError | None = None

    def cut(self) -> None:
        """End it by cutting the connection."""
        self._is_cut = True
        self._bell.set()

    def fail(self, failure: RefusedError) -> None:
        """End it by an ERROR event."""
        self._failure = failure
        self._bell.set()

    def stall(self, *, stalled: bool) -> None:
        """Let it fall silent, or go on."""
        self._is_stalled = stalled
        self._bell.set()

    async def batches(self, bookmark_seconds: float) -> AsyncGenerator[list[Event]]:
        """Give its events, as many at a time as there are; raises CutError when it is to be cut."""
        self._collection.bells.add(self._bell)
        try:
            async for batch in self._batches(bookmark_seconds):
                yield batch
        except RefusedError as refusal:
            yield [Event("ERROR", refusal.to_json())]
        finally:
            self._collection.bells.discard(self._bell)

    async def _batches(self, bookmark_seconds: float) -> AsyncGenerator[list[Event]]:
        clock = asyncio.get_running_loop().time
        end = clock() + self._options.timeout
        next_bookmark = clock() + bookmark_seconds
        seen = self._options.revision
        if seen is None:
            seen = self._store.revision
            yield self._initial(seen)
        while True:
            self._bell.clear()
            if self._is_cut:
                raise CutError
            if self._failure:
                raise self._failure
            now = clock()
            if not self._is_stalled:
                batch = self._news(seen)
                seen = self._store.revision
                is_over = now >= end
                if self._options.bookmarks and (is_over or now >= next_bookmark):
                    batch.append(self._bookmark(seen))
                    next_bookmark = now + bookmark_seconds
                if batch:
                    yield batch
                if is_over:
                    return
            wait = None if self._is_stalled else min(end, next_bookmark) - clock()
            await _wait_for_bell(self._bell, wait)

    def _initial(self, revision: int) -> list[Event]:
        events = [Event("ADDED", obj) for obj in self._collection.list_selected(self._selection)]
        if self._options.announces_initial_end:
            events.append(self._bookmark(revision, {"k8s.io/initial-events-end": "true"}))
        return events

    def _news(self, seen: int) -> list[Event]:
        views = (change.view_through(self._selection) for change in self._collection.since(seen))
        return [Event(*view) for view in views if view]

    def _bookmark(self, revision: int, annotations: dict[str, str] | None = None) -> Event:
        metadata: JsonObject = {"resourceVersion": str(revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        return Event(
            "BOOKMARK", {"kind": self._resource.kind, "apiVersion": self._resource.api_version, "metadata": metadata}
        )


async def _wait_for_bell(bell: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(None if seconds is None else max(0.0, seconds)):
            await bell.wait()
    except TimeoutError:
        return
