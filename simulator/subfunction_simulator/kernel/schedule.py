"""The firmware does some things later: attaching, detaching, freeing.

Time is counted in requests where a test wants every run alike (a request made is a step of time, so a poll makes
things happen), and in seconds where a server stands between.
"""

import dataclasses
import enum
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol


class Kind(enum.StrEnum):
    """Each kind of later work can be held back."""

    ATTACH = "attach"
    DETACH = "detach"


class Clock(Protocol):
    """A clock measures time."""

    def now(self) -> float:
        """Give the time."""

    def tick(self) -> None:
        """Take note that a request was made."""


class Requests:
    """Requests alone move this time."""

    def __init__(self) -> None:
        self._count = 0

    def now(self) -> float:
        """Give the number of requests made."""
        return self._count

    def tick(self) -> None:
        """Count one more."""
        self._count += 1


class Seconds:
    """This time passes by itself."""

    def now(self) -> float:
        """Give seconds since some moment."""
        return time.monotonic()

    def tick(self) -> None:
        """Do nothing: a request takes no time."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The firmware takes this long, in requests (the default) or in seconds."""

    attach: float = 2
    detach: float = 2
    in_seconds: bool = False

    def clock(self) -> Clock:
        """Make the clock that counts so."""
        return Seconds() if self.in_seconds else Requests()


class Schedule:
    """The schedule keeps work until its time; the owner of the kernel's lock runs it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.on_change: Callable[[], None] = lambda: None
        """Called when work was added or let go, for a server's timer."""
        self._held: set[Kind] = set()
        self._serial = itertools.count()
        self._work: list[tuple[float, int, Kind, Callable[[], None]]] = []

    def after(self, delay: float, kind: Kind, work: Callable[[], None]) -> None:
        """Do `work` once `delay` is over."""
        heapq.heappush(self._work, (self.clock.now() + delay, next(self._serial), kind, work))
        self.on_change()

    def hold(self, kind: Kind) -> None:
        """Do no work of this kind until it is let go."""
        self._held.add(kind)

    def let_go(self, kind: Kind) -> None:
        """Take up the work of this kind again."""
        self._held.discard(kind)
        self.on_change()

    def next_due(self) -> float | None:
        """Give the time of the next work that is not held."""
        return min((due for due, _, kind, _ in self._work if kind not in self._held), default=None)

    def run_due(self) -> None:
        """Do what is due."""
        self._run(self.clock.now())

    def run_all(self) -> None:
        """Do everything that is not held, due or not, and what follows from it."""
        self._run(float("inf"))

    def clear(self) -> None:
        """Forget everything, as a reboot does."""
        self._work.clear()
        self._held.clear()

    def _run(self, until: float) -> None:
        waiting = []
        while self._work and self._work[0][0] <= until:
            entry = heapq.heappop(self._work)
            if entry[2] in self._held:
                waiting.append(entry)
            else:
                entry[3]()
        for entry in waiting:
            heapq.heappush(self._work, entry)
