"""Chooses the node of a SubFunction that names none, or says what is missing on each node. Pure.

The agent of that node then chooses the parent, where the spec leaves it open.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from subfunction.api.node import ParentStatus
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Flavour, ParentSpec
from subfunction_operator.controller.model.capacity import NodeCapacity, capability, fits
from subfunction_operator.controller.model.plans import Candidate
from subfunction_operator.controller.model.subfunction import CachedSubFunction

PlacementPolicy = Literal["spread", "packed"]

_ASSUMED_CAPACITY: Final = 1024
"""The capacity assumed for a parent whose driver reports none; it is only used to rank nodes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Unschedulable:
    """Why one has no node: none fits, in the words of kube-scheduler, or the server refuses the one that was chosen."""

    message: str
    reason: Reason = Reason.NO_NODE_FITS


@dataclasses.dataclass(frozen=True, slots=True)
class _Rejection:
    """Why a node does not fit, worded for one node and for several."""

    one: str
    several: str


_SELECTOR: Final = _Rejection("does not match nodeSelector", "do not match nodeSelector")
_CORDONED: Final = _Rejection("is cordoned", "are cordoned")
_NOT_READY: Final = _Rejection("is not ready", "are not ready")
_NO_AGENT: Final = _Rejection("has no agent", "have no agent")
_FULL: Final = _Rejection("is full", "are full")


def place(wanted: CachedSubFunction, candidates: Iterable[Candidate], policy: PlacementPolicy) -> str | Unschedulable:
    """Choose the node for a sub-function: of those that fit the least used one (`spread`) or the fullest (`packed`)."""
    against: Counter[_Rejection] = Counter()
    best: tuple[tuple[float, str], str] | None = None
    for candidate in candidates:
        judged = _judge(wanted, candidate)
        if isinstance(judged, _Rejection):
            against[judged] += 1
            continue
        rank = (judged if policy == "spread" else -judged), candidate.name
        if best is None or rank < best[0]:
            best = rank, candidate.name
    return best[1] if best is not None else Unschedulable(_summarise(against))


def _judge(wanted: CachedSubFunction, candidate: Candidate) -> float | _Rejection:
    """Return the share of a node's fitting parents that is in use (0 to 1), or why the node does not fit."""
    asked = wanted.unplaced
    selector = asked.node_selector if asked is not None else {}
    if any(candidate.labels.get(key) != value for key, value in selector.items()):
        return _SELECTOR
    if candidate.cordoned:
        return _CORDONED
    if not candidate.ready:
        return _NOT_READY
    room = candidate.capacity
    if room is None:
        return _NO_AGENT
    fitting = [parent for parent in room.parents.values() if fits(wanted.asks, parent)]
    if not fitting:
        return _rejection(_device_name(wanted.asks))
    able = [
        parent for parent in fitting if (can := capability(parent, wanted.spec.flavour)) is not None and can.possible
    ]
    if not able:
        return _rejection(f"parent that can make {wanted.spec.flavour}{_blocker_message(wanted.spec.flavour, fitting)}")
    return _score(wanted, room, able)


def _score(wanted: CachedSubFunction, room: NodeCapacity, able: Sequence[ParentStatus]) -> float | _Rejection:
    spec = wanted.spec
    index, number = spec.vfio.virtual_function, wanted.number
    if index is not None:
        able = [parent for parent in able if room.has_function(parent.device, index)]
        if not able:
            return _rejection(f"free virtual function {index}")
    if number is not None and spec.flavour is not Flavour.VFIO:
        able = [parent for parent in able if not room.has_number(parent.device, number)]
        if not able:
            return _Rejection(f"has number {number} taken", f"have number {number} taken")
    if spec.vfio.mediated_device is not None:
        offered = spec.vfio.mediated_device
        able = [parent for parent in able if any(each.id == offered for each in parent.mediated_types)]
        if not able:
            return _rejection(f"mediated devices of type {offered}")
    free = [room.free(parent.device, spec) for parent in able]
    if all(left == 0 for left in free):
        return _FULL
    used = sum(room.used_count(parent.device, spec) for parent in able)
    return used / (used + sum(_ASSUMED_CAPACITY if left is None else left for left in free))


def _rejection(what: str) -> _Rejection:
    return _Rejection(f"has no {what}", f"have no {what}")


def _device_name(parent: ParentSpec) -> str:
    if parent.device is not None:
        return f"parent {parent.device}"
    if parent.netdev is not None:
        return f"parent with the netdev {parent.netdev}"
    return "parent that fits the selector"


def _blocker_message(flavour: Flavour, fitting: Sequence[ParentStatus]) -> str:
    """Return the reason in brackets if all parents have the same one; else an empty string."""
    reasons = {can.reason for parent in fitting if (can := capability(parent, flavour)) is not None}
    return f" ({reason})" if len(reasons) == 1 and (reason := next(iter(reasons))) is not None else ""


def _summarise(against: Counter[_Rejection]) -> str:
    total = against.total()
    if not total:
        return "0/0 nodes fit: the cluster has no nodes."
    ordered = sorted(against.items(), key=lambda item: (-item[1], item[0].one))
    parts = (f"{count} {why.one if count == 1 else why.several}" for why, count in ordered)
    return f"0/{total} nodes fit: {', '.join(parts)}."
