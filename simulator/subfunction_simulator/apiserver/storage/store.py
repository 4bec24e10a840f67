"""The store keeps all objects in memory, and their changes: one counter of revisions, one history a kind.

A reader of changes holds a place in the history, not a queue: a slow one costs the others nothing, and one that falls
off its end is told so (410). A reader that waits for changes gives a bell that is rung at each.
"""

import asyncio
import bisect
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from subfunction_simulator.apiserver.kinds.resources import Resource
from subfunction_simulator.apiserver.objects import JsonObject, Key
from subfunction_simulator.apiserver.status import RefusedError
from subfunction_simulator.apiserver.storage.selector import Selection

ChangeKind: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED"]
HISTORY: Final = 20_000
"""The least number of changes of one kind that are remembered."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change says what happened to one object at one revision."""

    revision: int
    kind: ChangeKind
    object: JsonObject
    previous: JsonObject | None

    def view_through(self, selection: Selection) -> tuple[ChangeKind, JsonObject] | None:
        """Show it to a watcher of a selection: an object that leaves it is DELETED, one that enters it ADDED."""
        is_in = self.kind != "DELETED" and selection.matches(self.object)
        was_in = self.previous is not None and selection.matches(self.previous)
        if is_in:
            return ("MODIFIED" if was_in else "ADDED"), self.object
        if was_in and self.previous is not None:
            version = {"resourceVersion": str(self.revision)}
            return "DELETED", {**self.previous, "metadata": {**self.previous["metadata"], **version}}
        return None


@dataclass(slots=True)
class Collection:
    """A collection keeps all objects of one kind."""

    resource: Resource
    objects: dict[Key, JsonObject] = field(default_factory=dict)
    bells: set[asyncio.Event] = field(default_factory=set)
    _changes: list[Change] = field(default_factory=list)
    _forgotten: int = 0
    _order: list[Key] = field(default_factory=list)
    """The keys of all objects, sorted; empty when it must be made anew."""

    def since(self, revision: int) -> list[Change]:
        """List what happened after a revision; raises RefusedError (410) when that is not remembered any more."""
        if revision < self._forgotten:
            raise RefusedError.expired(f"too old resource version: {revision} ({self._forgotten})")
        return self._changes[bisect.bisect_right(self._changes, revision, key=lambda change: change.revision) :]

    def forget(self, revision: int) -> None:
        """Lose the history up to a revision, as etcd's compaction does."""
        kept = bisect.bisect_right(self._changes, revision, key=lambda change: change.revision)
        del self._changes[:kept]
        self._forgotten = max(self._forgotten, revision)

    def list_selected(self, selection: Selection, revision: int | None = None) -> list[JsonObject]:
        """List the selected objects as they were at a revision (None: as they are), by namespace and name.

        Raises RefusedError (410) when that is not remembered any more.
        """
        objects = self.objects if revision is None else self._at(revision)
        if objects is not self.objects:
            return [objects[key] for key in sorted(objects) if selection.matches(objects[key])]
        if len(self._order) != len(objects):
            self._order = sorted(objects)
        if selection.is_everything:
            return [objects[key] for key in self._order]
        return [objects[key] for key in self._order if selection.matches(objects[key])]

    def _at(self, revision: int) -> dict[Key, JsonObject]:
        since = self.since(revision)
        if not since:
            return self.objects
        objects = dict(self.objects)
        for change in reversed(since):
            key = (change.object["metadata"].get("namespace", ""), change.object["metadata"]["name"])
            if change.previous is None:
                objects.pop(key, None)
            else:
                objects[key] = change.previous
        return objects

    def forget_order(self) -> None:
        """Hear that an object came or went."""
        self._order = []

    def record(self, change: Change) -> None:
        """Remember a change and ring the bells."""
        self._changes.append(change)
        if len(self._changes) > 2 * HISTORY:
            self.forget(self._changes[HISTORY].revision)
        for bell in self.bells:
            bell.set()


class Store:
    """The store keeps the collections, and the one counter they share."""

    def __init__(self) -> None:
        self.revision = 0
        self._collections: dict[Resource, Collection] = {}

    def collection(self, resource: Resource) -> Collection:
        """Give the objects of one kind."""
        return self._collections.setdefault(resource, Collection(resource))

    def resources(self) -> tuple[Resource, ...]:
        """List the kinds of which there is or was an object."""
        return tuple(self._collections)

    def get(self, resource: Resource, key: Key) -> JsonObject:
        """Give one object; raises RefusedError (404)."""
        try:
            return self.collection(resource).objects[key]
        except KeyError:
            raise RefusedError.not_found(resource.group, resource.plural, key[1]) from None

    def put(self, resource: Resource, key: Key, obj: JsonObject) -> JsonObject:
        """Store an object under the next revision and give it back with that."""
        collection = self.collection(resource)
        previous = collection.objects.get(key)
        stored = self._stamp(obj)
        collection.objects[key] = stored
        if previous is None:
            collection.forget_order()
        collection.record(Change(self.revision, "MODIFIED" if previous else "ADDED", stored, previous))
        return stored

    def remove(self, resource: Resource, key: Key) -> JsonObject:
        """Take an object away and give it back as it was last, with the revision of its removal."""
        collection = self.collection(resource)
        previous = collection.objects.pop(key)
        collection.forget_order()
        removed = self._stamp(previous)
        collection.record(Change(self.revision, "DELETED", removed, previous))
        return removed

    def _stamp(self, obj: JsonObject) -> JsonObject:
        self.revision += 1
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.revision)}}
