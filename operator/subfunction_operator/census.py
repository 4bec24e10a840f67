"""Which numbers of a parent are taken: counted once for many who choose at the same time.

A dump of a parent's ports costs as much as it has ports, and a hundred objects that are applied together would each pay
it. A count that is a moment old is good enough to choose by: our own choices are added as they are made, and a number
that somebody else took meanwhile is refused by the kernel itself. Whose a port is, is never decided from here.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Final

from subfunction.claims import PortClaim
from subfunction.folder import Folder
from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.port import Port
from subfunction.kernel.uapi import PortFlavour
from subfunction.records import Record

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

    def take(self, devlink: Devlink, parent: Handle, records: Folder[Record]) -> tuple[Count, list[Port]]:
        """Count anew; give the parent's own sub-functions too."""
        ports = devlink.ports(parent)
        pf = next((port.port_number for port in ports if port.flavour is PortFlavour.PHYSICAL), None)
        mine = [port for port in ports if port.is_sub_function and port.controller == 0 and port.pf == pf]
        taken = frozenset(port.number for port in mine if port.number is not None)
        recorded = {
            uid: (record.claim.number, record.name)
            for uid, record in records.read_all().items.items()
            if isinstance(record.claim, PortClaim) and record.claim.parent == str(parent)
        }
        count = Count(pf, taken, recorded)
        self._counts[parent] = (time.monotonic(), count)
        return count, mine

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
