"""How often a sub-function failed lately: what it does itself (bind, unbind, announce) must not be its own next try."""

import dataclasses
import time
from typing import Final

_FIRST: Final = 0.5
_LONGEST: Final = 30.0
_FORGET: Final = 5.0
"""Seconds beyond its pause after which a fault counts as the first again."""


@dataclasses.dataclass(slots=True)
class Faults:
    """The pause that news of each must wait: none while all is well, twice as long after each fault in a row."""

    _pauses: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def pause(self, uid: str) -> float:
        """Give the seconds that an announcement must wait; a change of the object itself waits for nothing."""
        return self._pauses.get(uid, (0.0, 0.0))[0]

    def ended(self, uid: str, *, failed: bool) -> None:
        """Take note of how a look ended."""
        if not failed:
            self._pauses.pop(uid, None)
            return
        now = time.monotonic()
        pause, at = self._pauses.get(uid, (0.0, 0.0))
        again = pause and now - at < pause + _FORGET
        self._pauses[uid] = (min(pause * 2, _LONGEST) if again else _FIRST, now)
