"""The store: the newest known state of each object of a kind, from a watch and from the answers to our own writes.

An answer may come before the watch reports the same write, or after it. So an object that is older than the stored one
changes nothing, and a late answer does not bring back an object whose deletion the watch has reported.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar


class Versioned(Protocol):
    """An object of the API that has a name, a uid and a version."""

    @property
    def name(self) -> str:
        """Return its name."""

    @property
    def uid(self) -> str:
        """Return its uid: an object that is deleted and created again has another one."""

    @property
    def version(self) -> str:
        """Return its resourceVersion."""


T = TypeVar("T", bound=Versioned)

OnChange = Callable[[T | None, T | None], None]
"""Called with an object as it was stored before, and as it is now; None where there was none, or is none any more."""


def _ignore(_: object, __: object) -> None:
    """Do nothing about a change."""


class Store(Generic[T]):
    """Stores the objects of one kind by key: the name, or what `key` returns of each. An informer writes to it."""

    def __init__(
        self,
        on_change: OnChange[T] = _ignore,
        on_synced: Callable[[], None] = lambda: None,
        *,
        key: Callable[[T], str] = lambda found: found.name,
    ) -> None:
        self.items: dict[str, T] = {}
        self.synced = False
        """Whether all were listed once; before, an object that is missing here may exist."""
        self._on_change = on_change
        self._on_synced = on_synced
        self._key = key
        self._seen = 0
        """The newest version in a list or an event of the watch."""

    def __iter__(self) -> Iterator[T]:
        return iter(self.items.values())

    def get(self, key: str) -> T | None:
        """Return the object of a key, None where it is not known."""
        return self.items.get(key)

    def replace(self, found: Iterable[T], version: str, keep: frozenset[str] = frozenset()) -> None:
        """Store a whole list; delete what is not in it, unless it is newer than the list or its key is in `keep`."""
        listed = _number(version)
        self._seen = max(self._seen, listed)
        keys = set(keep)
        for each in found:
            keys.add(self._key(each))
            self.upsert(each)
        for each in [each for each in self if self._key(each) not in keys and _number(each.version) <= listed]:
            self.delete_known(each)
        if not self.synced:
            self.synced = True
            self._on_synced()

    def upsert(self, found: T) -> bool:
        """Store an object of the watch or a list, unless the stored one is as new; return whether it was stored."""
        self._seen = max(self._seen, _number(found.version))
        return self._put(found)

    def upsert_answer(self, found: T) -> bool:
        """Store the answer to a write of ours, unless the stored one is as new; return whether it was stored.

        An object that is not stored is new only if its version is newer than all that the watch has shown: else the
        watch has reported its deletion.
        """
        known = self._key(found) in self.items
        return (known or _number(found.version) > self._seen) and self._put(found)

    def delete(self, found: T) -> None:
        """Delete an object whose deletion the watch has reported."""
        self._seen = max(self._seen, _number(found.version))
        self.delete_known(found)

    def delete_known(self, found: T) -> None:
        """Delete an object, unless another one (by its uid) has its key by now."""
        key = self._key(found)
        known = self.items.get(key)
        if known is not None and known.uid == found.uid:
            del self.items[key]
            self._on_change(known, None)

    def _put(self, found: T) -> bool:
        key = self._key(found)
        known = self.items.get(key)
        if known is not None and _number(found.version) <= _number(known.version):
            return False
        self.items[key] = found
        self._on_change(known, found)
        return True


def _number(version: str) -> int:
    """Return a resourceVersion as a number, as every server has it and KEP-5504 requires; 0 where it is none."""
    return int(version) if version.isdecimal() else 0
