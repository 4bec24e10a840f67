"""Builds the status of a SubFunction without a node, for which no agent writes one. Pure; the time is a parameter.

Once `spec.nodeName` is set, the agent of that node replaces the whole status, and sets `Placed` itself. The
controller's write tests the object's version, so it cannot overwrite the agent's.
"""

import dataclasses

from subfunction.api.conditions import Condition, ConditionType, date_condition
from subfunction.api.subfunction import ParentSpec, TemplateSpec
from subfunction_operator.controller.model.subfunction import CachedSubFunction
from subfunction_operator.controller.placement.scheduler import Unschedulable


@dataclasses.dataclass(frozen=True, slots=True)
class SchedulingKey:
    """The fields that placement depends on: SubFunctions with equal keys fit the same nodes."""

    spec: TemplateSpec
    asks: ParentSpec
    selector: frozenset[tuple[str, str]]
    number: int | None


def scheduling_key(wanted: CachedSubFunction) -> SchedulingKey:
    """Build the key of one SubFunction."""
    selector = frozenset(wanted.unplaced.node_selector.items()) if wanted.unplaced else frozenset[tuple[str, str]]()
    return SchedulingKey(wanted.spec, wanted.asks, selector, wanted.number)


def previous_condition(wanted: CachedSubFunction, kind: ConditionType) -> Condition | None:
    """Return its last condition of a type if that was False; else None."""
    before = wanted.unplaced.conditions if wanted.unplaced else ()
    return next((condition for condition in before if condition.type == kind and condition.status == "False"), None)


def unplaced_conditions(wanted: CachedSubFunction, why: Unschedulable, now: str) -> tuple[Condition, ...] | None:
    """Build the conditions of one that has no node; None if it has them already. `now` is RFC 3339 in UTC."""
    before = wanted.unplaced.conditions if wanted.unplaced else ()
    conditions = tuple(_condition(kind, wanted, why, now) for kind in (ConditionType.PLACED, ConditionType.READY))
    return None if conditions == before else conditions


def _condition(kind: ConditionType, wanted: CachedSubFunction, why: Unschedulable, now: str) -> Condition:
    undated = Condition(
        type=kind,
        status="False",
        reason=why.reason,
        message=why.message,
        observed_generation=wanted.generation,
    )
    return date_condition(undated, previous_condition(wanted, kind), now)
