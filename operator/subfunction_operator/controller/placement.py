"""a SubFunction without a node + what all nodes can do -> a node, or what is missing on each. Pure.

The agent of the node then chooses the parent, where the spec leaves that open.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from subfunction.api import Flavour, ParentSpec
from subfunction.api_node import ParentStatus
from subfunction_operator.controller.member import Member
from subfunction_operator.controller.room import Room, fits, of

Policy = Literal["spread", "packed"]

_UNTOLD: Final = 1024
"""The capacity that a parent is taken to have whose driver does not tell it; only nodes are ranked by it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """One node; `room` is None while its agent has said nothing."""

    name: str
    labels: Mapping[str, str]
    cordoned: bool
    ready: bool
    room: Room | None


@dataclasses.dataclass(frozen=True, slots=True)
class Nowhere:
    """No node will do; `message` says why, in the manner of the scheduler."""

    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Why:
    """What is missing on a node, for one node and for several."""

    one: str
    several: str


_SELECTOR: Final = _Why("does not match nodeSelector", "do not match nodeSelector")
_CORDONED: Final = _Why("is cordoned", "are cordoned")
_NOT_READY: Final = _Why("is not ready", "are not ready")
_NO_AGENT: Final = _Why("has no agent", "have no agent")
_FULL: Final = _Why("is full", "are full")


def place(wanted: Member, candidates: Iterable[Candidate], policy: Policy) -> str | Nowhere:
    """Choose the node for a sub-function that has none: the least used one (or the fullest) of those that fit."""
    against: Counter[_Why] = Counter()
    best: tuple[tuple[float, str], str] | None = None
    for candidate in candidates:
        judged = _judged(wanted, candidate)
        if isinstance(judged, _Why):
            against[judged] += 1
            continue
        rank = (judged if policy == "spread" else -judged), candidate.name
        if best is None or rank < best[0]:
            best = rank, candidate.name
    return best[1] if best is not None else Nowhere(_summed_up(against))


def _judged(wanted: Member, candidate: Candidate) -> float | _Why:
    """Give the part of a node's fitting parents that is in use, or why it is none for this one."""
    asked = wanted.unplaced
    selector = asked.node_selector if asked is not None else {}
    if any(candidate.labels.get(key) != value for key, value in selector.items()):
        return _SELECTOR
    if candidate.cordoned:
        return _CORDONED
    if not candidate.ready:
        return _NOT_READY
    room = candidate.room
    if room is None:
        return _NO_AGENT
    fitting = [parent for parent in room.parents.values() if fits(wanted.asks, parent)]
    if not fitting:
        return _without(_named(wanted.asks))
    able = [parent for parent in fitting if (can := of(parent, wanted.spec.flavour)) is not None and can.possible]
    if not able:
        return _without(f"parent that can make {wanted.spec.flavour}{_because(wanted.spec.flavour, fitting)}")
    return _with_room(wanted, room, able)


def _with_room(wanted: Member, room: Room, able: Sequence[ParentStatus]) -> float | _Why:
    spec = wanted.spec
    index, number = spec.vfio.virtual_function, wanted.number
    if index is not None:
        able = [parent for parent in able if room.has_function(parent.device, index)]
        if not able:
            return _without(f"free virtual function {index}")
    if number is not None and spec.flavour is not Flavour.VFIO:
        able = [parent for parent in able if not room.has_number(parent.device, number)]
        if not able:
            return _Why(f"has number {number} taken", f"have number {number} taken")
    if spec.vfio.mediated_device is not None:
        offered = spec.vfio.mediated_device
        able = [parent for parent in able if any(each.id == offered for each in parent.mediated_types)]
        if not able:
            return _without(f"mediated devices of type {offered}")
    free = [room.free(parent.device, spec) for parent in able]
    if all(left == 0 for left in free):
        return _FULL
    used = sum(room.taken(parent.device, spec) for parent in able)
    return used / (used + sum(_UNTOLD if left is None else left for left in free))


def _without(what: str) -> _Why:
    return _Why(f"has no {what}", f"have no {what}")


def _named(parent: ParentSpec) -> str:
    if parent.device is not None:
        return f"parent {parent.device}"
    if parent.netdev is not None:
        return f"parent with the netdev {parent.netdev}"
    return "parent that fits the selector"


def _because(flavour: Flavour, fitting: Sequence[ParentStatus]) -> str:
    """Name the obstacle, where all of them have the same."""
    reasons = {can.reason for parent in fitting if (can := of(parent, flavour)) is not None}
    return f" ({reason})" if len(reasons) == 1 and (reason := next(iter(reasons))) is not None else ""


def _summed_up(against: Counter[_Why]) -> str:
    total = against.total()
    if not total:
        return "0/0 nodes fit: the cluster has no nodes."
    ordered = sorted(against.items(), key=lambda item: (-item[1], item[0].one))
    parts = (f"{count} {why.one if count == 1 else why.several}" for why, count in ordered)
    return f"0/{total} nodes fit: {', '.join(parts)}."
