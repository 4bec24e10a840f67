"""The status of a SubFunction that has no node: the controller writes it, since no agent does. Pure; the time is given.

From the moment that `spec.nodeName` is set the status is the agent's of that node, which replaces it whole and says
`Placed` itself; the controller's write carries the object's version, so that it cannot come after that moment.
"""

import dataclasses

from subfunction.api import Condition, ConditionType, ParentSpec, TemplateSpec
from subfunction.reasons import Reason
from subfunction_operator.controller.member import Member
from subfunction_operator.controller.placement import Nowhere


@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """What placement looks at: two of which this is the same fit the same nodes."""

    spec: TemplateSpec
    asks: ParentSpec
    selector: frozenset[tuple[str, str]]
    number: int | None


def signature(wanted: Member) -> Signature:
    """Give what placement looks at in one."""
    selector = frozenset(wanted.unplaced.node_selector.items()) if wanted.unplaced else frozenset[tuple[str, str]]()
    return Signature(wanted.spec, wanted.asks, selector, wanted.number)


def told(wanted: Member, kind: ConditionType) -> Condition | None:
    """Give what was said before of why it is not so; None where nothing was."""
    before = wanted.unplaced.conditions if wanted.unplaced else ()
    return next((condition for condition in before if condition.type == kind and condition.status == "False"), None)


def unplaced_conditions(wanted: Member, why: Nowhere, now: str) -> tuple[Condition, ...] | None:
    """Say why it fits nowhere; None where that has been said. `now` is RFC 3339 in UTC."""
    before = wanted.unplaced.conditions if wanted.unplaced else ()
    conditions = tuple(_condition(kind, wanted, why, now) for kind in (ConditionType.PLACED, ConditionType.READY))
    return None if conditions == before else conditions


def _condition(kind: ConditionType, wanted: Member, why: Nowhere, now: str) -> Condition:
    old = told(wanted, kind)
    return Condition(
        type=kind,
        status="False",
        reason=Reason.NO_NODE_FITS,
        message=why.message,
        last_transition_time=old.last_transition_time if old else now,
        observed_generation=wanted.generation,
    )
