"""Which numbers of a parent are taken: counted once for many who choose at the same time.

A dump of a parent's ports costs as much as it has ports, and a hundred objects that are applied together would each pay
it. A count that is a moment old is good enough to choose by: our own choices are added as they are made, and a number
that somebody else took meanwhile is refused by the kernel itself. Whose a port is, is never decided from here.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Final

from subfunction.kernel.address import Handle

_FRESH_SECONDS: Final = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Count:
    """One count: the parent's own number, those its ports have, and by uid those that records name."""

    pf: int | None
    taken: frozenset[int]
    recorded: Mapping[str, tuple[int, str]]

    def of_others(self, uid: str) -> Mapping[int, str]:
        """Give the numbers that records name, but for its own, each with its owner's name."""
        return {number: name for owner, (number, name) in self.recorded.items() if owner != uid}


@dataclasses.dataclass(slots=True)
class Census:
    """The last count of each parent; each is kept by that parent's own thread."""

    _counts: dict[Handle, tuple[float, Count]] = dataclasses.field(default_factory=dict)

    def last(self, parent: Handle) -> Count | None:
        """Give the last count, None where there is none or it is too old."""
        counted_at, count = self._counts.get(parent, (-_FRESH_SECONDS, None))
        return count if time.monotonic() - counted_at < _FRESH_SECONDS else None

    def counted(self, parent: Handle, count: Count) -> None:
        """Keep a count that was just made."""
        self._counts[parent] = (time.monotonic(), count)

    def chosen(self, parent: Handle, uid: str, number: int, name: str) -> None:
        """Add a number that was just written down in a record."""
        if parent in self._counts:
            counted_at, count = self._counts[parent]
            self._counts[parent] = (
                counted_at,
                dataclasses.replace(count, recorded={**count.recorded, uid: (number, name)}),
            )

    def forget(self, parent: Handle) -> None:
        """Count anew next time: something was not as thought."""
        self._counts.pop(parent, None)
