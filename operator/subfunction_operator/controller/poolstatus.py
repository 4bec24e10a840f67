"""plans of all nodes -> the status of a SubFunctionPool. Pure; the time is given.

As everywhere, nothing in it moves but with what it says: a status that says nothing new is equal to the one before.
"""

from collections.abc import Iterable
from typing import Final

from subfunction.api import Condition, ConditionType
from subfunction.api_pool import MOST_TROUBLE, POOL_LABEL, PoolStatus, SubFunctionPool, Trouble
from subfunction.reasons import Reason
from subfunction_operator.controller.rollout import NodePlan

_MOST_NODES_NAMED: Final = 3


def pool_status(pool: SubFunctionPool, nodes: Iterable[NodePlan], refused: Trouble | None, now: str) -> PoolStatus:
    """Say what there is; `refused` is what the API server would not have; `now` is RFC 3339 in UTC."""
    plans = sorted(nodes, key=lambda plan: plan.node)
    troubles = {plan.node: plan.trouble for plan in plans if plan.trouble is not None}
    if refused is not None:
        troubles[refused.node] = refused
    trouble = [troubles[node] for node in sorted(troubles)]
    desired, updated = sum(plan.desired for plan in plans), sum(plan.updated for plan in plans)
    current, ready = sum(plan.current for plan in plans), sum(plan.ready for plan in plans)
    status, reason, message = _said(desired, current, ready, updated, trouble)
    old = pool.status.condition(ConditionType.READY)
    groups = [size for plan in plans for size in plan.groups]
    wanted = pool.spec.replicas
    return PoolStatus(
        observed_generation=pool.metadata.generation,
        replicas=max(groups, key=lambda size: (abs(size - wanted), size), default=0),
        selector=f"{POOL_LABEL}={pool.name}",
        nodes=sum(plan.selected for plan in plans),
        desired=desired,
        current=current,
        ready=ready,
        updated=updated,
        in_use=sum(plan.in_use for plan in plans),
        conditions=(
            Condition(
                type=ConditionType.READY,
                status=status,
                reason=reason,
                message=message,
                last_transition_time=old.last_transition_time if old and old.status == status else now,
                observed_generation=pool.metadata.generation,
            ),
        ),
        trouble=tuple(trouble[:MOST_TROUBLE]),
        more_trouble=max(0, len(trouble) - MOST_TROUBLE),
    )


def _said(desired: int, current: int, ready: int, updated: int, trouble: list[Trouble]) -> tuple[str, str, str]:
    counts = f"{ready} of {desired} ready"
    if trouble:
        named = ", ".join(each.node for each in trouble[:_MOST_NODES_NAMED])
        more = f" and {len(trouble) - _MOST_NODES_NAMED} more" if len(trouble) > _MOST_NODES_NAMED else ""
        return "False", trouble[0].reason, f"{counts}; in trouble: {named}{more}. {trouble[0].message}"
    if current > desired:
        return "False", Reason.DRAINING, f"{counts}; {current - desired} are too many"
    if updated < current:
        return "False", Reason.ROLLING, f"{counts}; {updated} of {current} are as the template says"
    if ready < desired:
        return "False", Reason.PENDING, counts
    return "True", Reason.READY, counts if desired else "no node has a parent for it, or no node is selected"
