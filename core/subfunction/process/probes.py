"""Liveness and readiness of a program, determined without a call into its event loop.

Not live means that only a restart helps: an event loop that has not run for long is stuck in something that will not
end. Ready means that the program does its work; until then `/readyz` names what it waits for.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final, Never

STALLED_SECONDS: Final = 30.0
"""Seconds after which a loop counts as stuck; the longest delay seen on a loaded node is below a second."""

_BEAT_SECONDS: Final = 1.0


class Heartbeat:
    """Records when an event loop last ran a task; any thread may read it."""

    def __init__(self, loop: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.loop = loop
        self._clock = clock
        self._last = clock()

    @property
    def age(self) -> float:
        """Return the seconds since the last beat, or since this object was made."""
        return self._clock() - self._last

    async def beat(self) -> Never:
        """Beat each second, for as long as this task runs in its loop."""
        while True:
            self._last = self._clock()
            await asyncio.sleep(_BEAT_SECONDS)


class ReadinessGate:
    """The conditions that must each be met once before a program is ready; any thread may call it."""

    def __init__(self, *what: str) -> None:
        self._why = dict.fromkeys(what, "")

    def expect(self, what: str) -> None:
        """Add a condition to wait for."""
        self._why.setdefault(what, "")

    def complete(self, what: str) -> None:
        """Mark a condition as met; it is not waited for any more, even if it fails later."""
        self._why.pop(what, None)

    def fail(self, what: str, why: str) -> None:
        """Record why a condition is not met yet; no effect on one that is not waited for."""
        if what in self._why:
            self._why[what] = why

    def __call__(self) -> tuple[str, ...]:
        """Return the conditions that are not met yet, each with its reason if known."""
        return tuple(f"{what}: {why}" if why else what for what, why in self._why.copy().items())


class Probes:
    """The answers of `/livez` and `/readyz`; `waiting` returns what is missing, and must not block."""

    def __init__(self, waiting: Callable[[], Iterable[str]], *heartbeats: Heartbeat) -> None:
        self.heartbeats = heartbeats
        self._waiting = waiting

    def find_dead(self) -> str | None:
        """Return which loops are stuck; None if the program is live."""
        stuck = [each for each in self.heartbeats if each.age > STALLED_SECONDS]
        return "; ".join(f"the {each.loop} loop has not moved for {each.age:.0f} s" for each in stuck) or None

    def find_unready(self) -> str | None:
        """Return what is stuck or missing; None if the program is ready."""
        return self.find_dead() or "; ".join(self._waiting()) or None
