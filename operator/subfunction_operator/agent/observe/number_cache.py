"""Caches which numbers of a parent are taken, for many sub-functions that choose one at the same time.

The cost of a list grows with the parent's ports, and a hundred objects that are applied together would each pay it. A
list that is two seconds old is good enough to choose a number: our own choices are added as they are made, and the
kernel refuses a number that another tool took meanwhile. Whether a port is ours is never decided from this cache.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Final

from subfunction.kernel.address import Handle
from subfunction.kernel.bus.pci import PciFunction
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.port import Port
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uplink import find_uplink
from subfunction.state.claims import PortClaim
from subfunction.state.records import Record
from subfunction.state.store import FileStore

_FRESH_SECONDS: Final = 2.0
_PORTS: Final = (0, 1, 2, 3)
"""The numbers that a card's physical ports have."""
_REFUSED_SECONDS: Final = 30.0
"""How long a number that the kernel refused is not chosen: the firmware may free its resource slowly."""


@dataclasses.dataclass(frozen=True, slots=True)
class ParentNumbers:
    """The numbers of one parent: the pfnums to try, the numbers that cannot be chosen, and by uid those in records."""

    pfs: tuple[int, ...]
    taken: frozenset[int]
    """The numbers that its ports have, and those that the kernel refused in the last 30 seconds."""
    recorded: Mapping[str, tuple[int, str]]
    """Number and object's name by uid; a record counts also while its port does not exist."""
    ports: tuple[Port, ...] = ()
    """Its sub-function ports, as listed."""

    def recorded_by_others(self, uid: str) -> Mapping[int, str]:
        """Return the numbers in records but for that of `uid`, each with its owner's name."""
        return {number: name for owner, (number, name) in self.recorded.items() if owner != uid}


@dataclasses.dataclass(slots=True)
class NumberCache:
    """The last numbers of each parent, and those that were refused; only a parent's own thread uses its entries."""

    _numbers: dict[Handle, tuple[float, ParentNumbers]] = dataclasses.field(default_factory=dict)
    _refused: dict[Handle, dict[int, float]] = dataclasses.field(default_factory=dict)

    def get(self, parent: Handle) -> ParentNumbers | None:
        """Return the last ones, None where there are none or they are older than two seconds."""
        listed_at, numbers = self._numbers.get(parent, (-_FRESH_SECONDS, None))
        return numbers if time.monotonic() - listed_at < _FRESH_SECONDS else None

    def refresh(
        self, devlink: Devlink, sysfs: Sysfs, function: PciFunction, records: FileStore[Record]
    ) -> tuple[ParentNumbers, list[Port]]:
        """List the ports anew; return its numbers, and the parent's own sub-function ports.

        The kernel may cut the list short (see PortUnlisted): a port that is missing from it may exist.
        """
        parent = function.handle
        claims = {
            uid: (record.claim, record.name)
            for uid, record in records.read_all().items.items()
            if isinstance(record.claim, PortClaim) and record.claim.parent == str(parent)
        }
        listed = _list_ports(devlink, parent, [claim for claim, _ in claims.values()])
        mine = [port for port in listed if port.is_sub_function and port.controller == 0]
        taken = frozenset(port.number for port in mine if port.number is not None)
        recorded = {uid: (claim.number, name) for uid, (claim, name) in claims.items()}
        numbers = ParentNumbers(
            _candidate_pfs(devlink, sysfs, function, mine),
            taken | self._recently_refused(parent),
            recorded,
            tuple(mine),
        )
        self._numbers[parent] = (time.monotonic(), numbers)
        return numbers, mine

    def _recently_refused(self, parent: Handle) -> frozenset[int]:
        now, refused = time.monotonic(), self._refused.get(parent, {})
        self._refused[parent] = {number: at for number, at in refused.items() if now - at < _REFUSED_SECONDS}
        return frozenset(self._refused[parent])

    def add_chosen(self, parent: Handle, uid: str, name: str, claim: PortClaim) -> None:
        """Add a number that was just recorded, and the pfnum if its port shows one."""
        if parent not in self._numbers:
            return
        listed_at, numbers = self._numbers[parent]
        numbers = dataclasses.replace(numbers, recorded={**numbers.recorded, uid: (claim.number, name)})
        if claim.pf is not None and claim.port_index is not None:
            numbers = dataclasses.replace(numbers, pfs=(claim.pf,))
        self._numbers[parent] = (listed_at, numbers)

    def add_refused(self, parent: Handle, number: int) -> None:
        """Exclude a number for 30 seconds: the kernel refused it as taken, though no port has it."""
        self._refused.setdefault(parent, {})[number] = time.monotonic()
        self.invalidate(parent)

    def invalidate(self, parent: Handle) -> None:
        """Drop the numbers of a parent: they proved wrong, and the next use lists the ports anew."""
        self._numbers.pop(parent, None)


def _list_ports(devlink: Devlink, parent: Handle, claims: list[PortClaim]) -> list[Port]:
    """List a parent's ports; where a list would wait for other instances, read those that records name, one by one.

    The number of a port that another tool has made is then found out by the kernel's refusal.
    """
    if devlink.filters_lists:
        return devlink.ports(parent)
    known = (devlink.port(parent, claim.port_index) for claim in claims if claim.port_index is not None)
    return [port for port in known if port is not None]


def _candidate_pfs(devlink: Devlink, sysfs: Sysfs, function: PciFunction, mine: list[Port]) -> tuple[int, ...]:
    """Return the pfnums to try in a port add: the one that an existing port shows, else one for each kernel's rule.

    Linux up to 7.1 expects the physical port's number, later ones that of the PCI function, and no answer of the
    kernel tells which (mlx5: esw/devlink_port.c).
    """
    shown = next((port.pf for port in mine if port.pf is not None), None)
    if shown is not None:
        return (shown,)
    physical = find_uplink(devlink, sysfs, function.handle) if devlink.filters_lists else None
    if physical is None or physical.port_number is None:
        # There is no physical port with `enable_eth` off. A wrong pfnum is refused, and creates nothing.
        return tuple(dict.fromkeys((function.number, *_PORTS)))
    return tuple(dict.fromkeys((physical.port_number, function.number)))
