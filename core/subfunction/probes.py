"""Whether a program lives and is ready, told without asking the loop that it is about.

Alive means that a restart would not help: an event loop that has not had its turn for long is stuck in something that
will not end. Ready means that what the program is for is being done; what it still waits for is said in words.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final, Never

STALLED_SECONDS: Final = 30.0
"""After which a loop counts as stuck; the longest that one was seen late on a loaded node is below a second."""

_BEAT_SECONDS: Final = 1.0


class Heartbeat:
    """When an event loop last had its turn; any thread may ask."""

    def __init__(self, loop: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.loop = loop
        self._clock = clock
        self._last = clock()

    @property
    def age(self) -> float:
        """Seconds since the last beat, or since it was made."""
        return self._clock() - self._last

    async def beating(self) -> Never:
        """Beat for as long as this task runs, in the loop that it runs in."""
        while True:
            self._last = self._clock()
            await asyncio.sleep(_BEAT_SECONDS)


class Awaited:
    """What a program waits for before it is ready, each once; any thread may ask."""

    def __init__(self, *what: str) -> None:
        self._why = dict.fromkeys(what, "")

    def begins(self, what: str) -> None:
        """Hear that this is awaited from now on."""
        self._why.setdefault(what, "")

    def came(self, what: str) -> None:
        """Hear that it is there; from then on it is not awaited any more, whatever becomes of it."""
        self._why.pop(what, None)

    def failed(self, what: str, why: str) -> None:
        """Hear why it is not there yet."""
        if what in self._why:
            self._why[what] = why

    def __call__(self) -> tuple[str, ...]:
        """Say what is still awaited, and why."""
        return tuple(f"{what}: {why}" if why else what for what, why in self._why.copy().items())


class Probes:
    """What `/livez` and `/readyz` say: None is yes, else why not. `waiting` says what is missing; it must not block."""

    def __init__(self, waiting: Callable[[], Iterable[str]], *heartbeats: Heartbeat) -> None:
        self.heartbeats = heartbeats
        self._waiting = waiting

    def unalive(self) -> str | None:
        """Say what is stuck."""
        stuck = [each for each in self.heartbeats if each.age > STALLED_SECONDS]
        return "; ".join(f"the {each.loop} loop has not moved for {each.age:.0f} s" for each in stuck) or None

    def unready(self) -> str | None:
        """Say what is missing."""
        return self.unalive() or "; ".join(self._waiting()) or None
