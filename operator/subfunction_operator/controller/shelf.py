"""The newest that is known of each object of a kind, from a watch and from the answers to our own writes.

An answer may come before the watch tells of the same write, and also after it: what is older than what is known is no
news, and what the watch has already seen go does not come back.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar


class Kept(Protocol):
    """An object of the API, as far as its version goes."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def uid(self) -> str:
        """Its identity."""

    @property
    def version(self) -> str:
        """Its resourceVersion."""


T = TypeVar("T", bound=Kept)

News = Callable[[T | None, T | None], None]
"""Hears what was known and what is known now."""


class Shelf(Generic[T]):
    """The objects of one kind, by name; a sink of an informer."""

    def __init__(self, news: News[T], synced: Callable[[], None]) -> None:
        self.items: dict[str, T] = {}
        self.synced = False
        """Whether all were listed once."""
        self._news = news
        self._was_synced = synced
        self._told = 0
        """The newest version that list or watch told of."""

    def __iter__(self) -> Iterator[T]:
        return iter(self.items.values())

    def get(self, name: str) -> T | None:
        """Give the one of a name."""
        return self.items.get(name)

    def listed(self, found: Iterable[T], version: str) -> None:
        """Take over a whole list; what is not on it and no newer than it is gone."""
        self._told = max(self._told, _number(version))
        names = set()
        for each in found:
            names.add(each.name)
            self.changed(each)
        for each in [each for each in self if each.name not in names and _number(each.version) <= self._told]:
            self.forget(each)
        if not self.synced:
            self.synced = True
            self._was_synced()

    def changed(self, found: T) -> None:
        """Take over what the watch tells."""
        self._told = max(self._told, _number(found.version))
        self._learn(found)

    def answered(self, found: T) -> None:
        """Take over the answer to a write of ours."""
        if found.name in self.items or _number(found.version) > self._told:
            self._learn(found)

    def gone(self, found: T) -> None:
        """Forget what the watch has seen go."""
        self._told = max(self._told, _number(found.version))
        self.forget(found)

    def forget(self, found: T) -> None:
        """Forget an object, unless there is another one of its name by now."""
        known = self.items.get(found.name)
        if known is not None and known.uid == found.uid:
            del self.items[found.name]
            self._news(known, None)

    def _learn(self, found: T) -> None:
        known = self.items.get(found.name)
        if known is not None and _number(found.version) <= _number(known.version):
            return
        self.items[found.name] = found
        self._news(known, found)


def _number(version: str) -> int:
    """Give a resourceVersion as the number that it is with every server of today (and by KEP-5504 must be)."""
    return int(version) if version.isdecimal() else 0
