"""Remembers when each parent was put back into switchdev mode, so that it is not tried again at once.

Each change of the mode interrupts the parent's uplink, and all sub-functions of a parent would ask for one. So the
pause is the parent's: a minute at first, doubled with each attempt, an hour at most.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Final

from subfunction.errors import SwitchdevRefused
from subfunction.kernel.address import Handle

_FIRST_PAUSE: Final = 60.0
_LONGEST_PAUSE: Final = 3600.0


@dataclasses.dataclass(slots=True)
class _Attempts:
    count: int
    last: float
    refusal: str = ""

    @property
    def pause(self) -> float:
        return min(_FIRST_PAUSE * 2.0 ** (self.count - 1), _LONGEST_PAUSE)


@dataclasses.dataclass(slots=True)
class RestoreBackoff:
    """The attempts of each parent; only the parent's own thread uses its entry. `clock` is in seconds."""

    clock: Callable[[], float] = time.monotonic
    _attempts: dict[Handle, _Attempts] = dataclasses.field(default_factory=dict)

    def pause_reason(self, parent: Handle) -> str | None:
        """Return why the parent must not be put back now; None where it may be."""
        found = self._attempts.get(parent)
        if found is None or self.clock() - found.last >= found.pause:
            return None
        return found.refusal or "it was put back into switchdev mode a moment ago, and did not stay there"

    def record(self, parent: Handle) -> None:
        """Note an attempt, before it is made: one that never ends counts too. A good hour forgets all earlier ones."""
        now, found = self.clock(), self._attempts.get(parent)
        known = found is not None and now - found.last < found.pause + _LONGEST_PAUSE
        self._attempts[parent] = _Attempts(found.count + 1 if found is not None and known else 1, now)

    def record_refusal(self, parent: Handle, error: SwitchdevRefused) -> None:
        """Note why the kernel refused the last attempt."""
        if (found := self._attempts.get(parent)) is not None:
            found.refusal = error.message
