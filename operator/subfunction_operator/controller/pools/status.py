"""Builds the status of a SubFunctionPool from the plans of all nodes. Pure; the time is a parameter.

No field changes by itself: a status that says nothing new is equal to the one before.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from subfunction.api.conditions import Condition, ConditionType, date_condition
from subfunction.api.pool import MOST_TROUBLE, POOL_LABEL, PoolStatus, SubFunctionPool, Trouble, UpdateType
from subfunction.api.reasons import Reason
from subfunction_operator.controller.model.plans import NodePlan

WAITS: Final = frozenset({Reason.ROLLING, Reason.PENDING, Reason.DRAINING})
"""Reasons why a pool is not ready though nothing is wrong."""

_MOST_NODES_NAMED: Final = 3


def build_pool_status(
    pool: SubFunctionPool, nodes: Iterable[NodePlan], refused: Trouble | None, now: str
) -> PoolStatus:
    """Build the status; `refused` is a write that the API server rejected; `now` is RFC 3339 in UTC."""
    plans = sorted(nodes, key=lambda plan: plan.node)
    troubles = {plan.node: plan.trouble for plan in plans if plan.trouble is not None}
    if refused is not None:
        troubles[refused.node] = refused
    trouble = [troubles[node] for node in sorted(troubles)]
    desired, updated = sum(plan.desired for plan in plans), sum(plan.updated for plan in plans)
    current, ready = sum(plan.current for plan in plans), sum(plan.ready for plan in plans)
    status, reason, message = _condition_words(desired, current, ready, updated, trouble)
    if reason is Reason.READY and not desired:
        status, reason, message = _idle_condition(pool, plans)
    if reason in {Reason.ROLLING, Reason.PENDING}:
        message += _waiting_message(pool, plans, rolling=reason is Reason.ROLLING)
    ready_condition = Condition(
        type=ConditionType.READY,
        status=status,
        reason=reason,
        message=message,
        observed_generation=pool.metadata.generation,
    )
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
        conditions=(date_condition(ready_condition, pool.status.condition(ConditionType.READY), now),),
        trouble=tuple(trouble[:MOST_TROUBLE]),
        more_trouble=max(0, len(trouble) - MOST_TROUBLE),
    )


def _idle_condition(pool: SubFunctionPool, plans: Sequence[NodePlan]) -> tuple[str, Reason, str]:
    """Return the condition of a pool that desires nothing: False only if spec.parents fits no parent of any node."""
    selected, in_use = sum(plan.selected for plan in plans), sum(plan.in_use for plan in plans)
    if not pool.spec.replicas:
        return "True", Reason.READY, "scaled to 0" + (f"; {in_use} in use go when their pods end" if in_use else "")
    if not selected:
        return "True", Reason.READY, "no node is selected; see `kubectl get nodes --show-labels`"
    none = f"no selected node ({selected} in all) has a parent"
    if pool.spec.parents:
        return "False", Reason.PARENT_NOT_FOUND, f"{none} as spec.parents asks; see `kubectl describe sfnode`"
    flavour = pool.spec.template.spec.flavour
    return "True", Reason.READY, f"{none} that can make {flavour}; see `kubectl describe sfnode`"


def _waiting_message(pool: SubFunctionPool, plans: Iterable[NodePlan], *, rolling: bool) -> str:
    """Name the nodes that are waited for; those that are not Ready come first, since they may take long."""
    if rolling and pool.spec.update_strategy.type is UpdateType.ON_DELETE:
        return ", and the others wait until they are deleted (OnDelete)"
    missed = sorted((plan for plan in plans if plan.unavailable), key=lambda plan: (not plan.down, plan.node))
    names = [f"{plan.node} (its Node is not ready)" if plan.down else plan.node for plan in missed]
    return f"; waiting for {_join_names(names)}" if names else ""


def _join_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NODES_NAMED} more" if len(names) > _MOST_NODES_NAMED else ""
    return ", ".join(names[:_MOST_NODES_NAMED]) + more


def _condition_words(
    desired: int, current: int, ready: int, updated: int, trouble: list[Trouble]
) -> tuple[str, Reason | str, str]:
    counts = f"{ready} of {desired} ready"
    if trouble:
        named = _join_names([each.node for each in trouble])
        return "False", trouble[0].reason, f"{counts}; in trouble: {named}. {trouble[0].message}"
    if current > desired:
        return "False", Reason.DRAINING, f"{counts}; {current - desired} are too many"
    if updated < current:
        return "False", Reason.ROLLING, f"{counts}; {updated} of {current} are as the template says"
    if ready < desired:
        return "False", Reason.PENDING, counts
    return "True", Reason.READY, counts
