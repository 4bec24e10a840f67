"""Whom news concerns, and when they are looked at.

The kernel speaks of ports, links and directories, and each change of a sub-function is announced some ten times.
"""

import dataclasses
from typing import Final

from subfunction_operator.backlog import Backlog
from subfunction_operator.faults import Faults
from subfunction_operator.outcome import Outcome
from subfunction_operator.sightings import Sightings

EVERYTHING: Final = ""
"""What stands in the backlog for a look at all; no object has such a uid."""

_BURST: Final = 0.1
"""Seconds until the kernel's announcements are followed."""

_STIR: Final = 0.5
"""Seconds until those in trouble are looked at because of news that may not concern them."""


@dataclasses.dataclass(slots=True)
class Attention:
    """What puts sub-functions into the backlog, and what it knows of them for that."""

    backlog: Backlog
    _sightings: Sightings = dataclasses.field(default_factory=Sightings)
    _expectant: set[str] = dataclasses.field(default_factory=set)
    """Those that news of a stranger may concern: in trouble, or with a netdev that is away and may come back anew."""
    _faults: Faults = dataclasses.field(default_factory=Faults)

    def look_at(self, device: str) -> None:
        """Hear that something happened to a port (`pci/0000:05:00.0/32768`) or an instance of the kernel."""
        if (uid := self._sightings.of_device(device)) is not None:
            self.look_soon(uid)

    def look_at_link(self, ifindex: int) -> None:
        """Hear that a network link changed, or left."""
        self._look_at_owner(self._sightings.of_link(ifindex))

    def look_at_path(self, path: str) -> None:
        """Hear that something happened to a device, by its directory in sysfs."""
        self._look_at_owner(self._sightings.of_path(path))

    def _look_at_owner(self, uid: str | None) -> None:
        if uid is not None:
            self.look_soon(uid)
        else:
            self.look_at_expectant()

    def look_at_expectant(self) -> None:
        """Hear of something that is nobody's yet: a driver, a parent, a bridge, a netdev that somebody waits for."""
        for uid in self._expectant:
            self.backlog.add(uid, max(_STIR, self._faults.pause(uid)))

    def look_at_all_soon(self) -> None:
        """Hear that much may have happened, and perhaps more is to come."""
        self.backlog.add(EVERYTHING, _STIR)

    def look_soon(self, uid: str) -> None:
        """Hear that something of a sub-function changed; one that keeps failing is not its own next try."""
        self.backlog.add(uid, max(_BURST, self._faults.pause(uid)))

    def expect_news(self, uid: str) -> None:
        """Let news of strangers concern one too."""
        self._expectant.add(uid)

    def looked_at(self, uid: str, outcome: Outcome) -> None:
        """Take note of how a look at one ended."""
        failed, seen = outcome.error is not None, outcome.seen
        if seen is not None:
            self._sightings.remember(uid, seen)
        (self._expectant.add if failed or (seen is not None and seen.away) else self._expectant.discard)(uid)
        self._faults.ended(uid, failed=failed)

    def forget(self, uid: str) -> None:
        """Expect nothing of one any more."""
        self._sightings.forget(uid)
        self._expectant.discard(uid)
        self._faults.ended(uid, failed=False)
