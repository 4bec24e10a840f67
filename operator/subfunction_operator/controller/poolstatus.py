"""plans of all nodes -> the status of a SubFunctionPool. Pure; the time is given.

As everywhere, nothing in it moves but with what it says: a status that says nothing new is equal to the one before.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from subfunction.api import Condition, ConditionType
from subfunction.api_pool import MOST_TROUBLE, POOL_LABEL, PoolStatus, SubFunctionPool, Trouble, UpdateType
from subfunction.reasons import Reason
from subfunction_operator.controller.rollout import NodePlan

WAITS: Final = frozenset({Reason.ROLLING, Reason.PENDING, Reason.DRAINING})
"""Why a pool is not ready where nothing is wrong."""

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
    if reason is Reason.READY and not desired:
        status, reason, message = _idle(pool, plans)
    if reason in {Reason.ROLLING, Reason.PENDING}:
        message += _awaited(pool, plans, rolling=reason is Reason.ROLLING)
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


def _idle(pool: SubFunctionPool, plans: Sequence[NodePlan]) -> tuple[str, Reason, str]:
    """Say why there is nothing to do: a name that no node has is a fault, a cluster without such nodes is none."""
    selected, held = sum(plan.selected for plan in plans), sum(plan.in_use for plan in plans)
    if not pool.spec.replicas:
        return "True", Reason.READY, "scaled to 0" + (f"; {held} in use go when their pods end" if held else "")
    if not selected:
        return "True", Reason.READY, "no node is selected; see `kubectl get nodes --show-labels`"
    none = f"no selected node ({selected} in all) has a parent"
    if pool.spec.parents:
        return "False", Reason.PARENT_NOT_FOUND, f"{none} as spec.parents asks; see `kubectl describe sfnode`"
    flavour = pool.spec.template.spec.flavour
    return "True", Reason.READY, f"{none} that can make {flavour}; see `kubectl describe sfnode`"


def _awaited(pool: SubFunctionPool, plans: Iterable[NodePlan], *, rolling: bool) -> str:
    """Name the nodes that are waited for: those that are down first, since these may take long."""
    if rolling and pool.spec.update_strategy.type is UpdateType.ON_DELETE:
        return ", and the others wait until somebody deletes them (OnDelete)"
    missed = sorted((plan for plan in plans if plan.unavailable), key=lambda plan: (not plan.down, plan.node))
    names = [f"{plan.node} (its Node is not ready)" if plan.down else plan.node for plan in missed]
    return f"; waiting for {_named(names)}" if names else ""


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NODES_NAMED} more" if len(names) > _MOST_NODES_NAMED else ""
    return ", ".join(names[:_MOST_NODES_NAMED]) + more


def _said(
    desired: int, current: int, ready: int, updated: int, trouble: list[Trouble]
) -> tuple[str, Reason | str, str]:
    counts = f"{ready} of {desired} ready"
    if trouble:
        named = _named([each.node for each in trouble])
        return "False", trouble[0].reason, f"{counts}; in trouble: {named}. {trouble[0].message}"
    if current > desired:
        return "False", Reason.DRAINING, f"{counts}; {current - desired} are too many"
    if updated < current:
        return "False", Reason.ROLLING, f"{counts}; {updated} of {current} are as the template says"
    if ready < desired:
        return "False", Reason.PENDING, counts
    return "True", Reason.READY, counts
