"""Reconciles a pool: plans it, carries out the plan, and writes its status."""

import asyncio
from typing import Final

from subfunction.api.conditions import ConditionType, is_transition
from subfunction.api.pool import POOL_KIND, Trouble
from subfunction.errors import ApiRefused
from subfunction_operator.controller.api.executor import CHANGED, PlanExecutor
from subfunction_operator.controller.api.writer import ApiWriter
from subfunction_operator.controller.cluster import Cluster
from subfunction_operator.controller.model.plans import Plan
from subfunction_operator.controller.pools.plan_cache import PlanCache
from subfunction_operator.controller.pools.status import WAITS, build_pool_status
from subfunction_operator.kube.events import Event
from subfunction_operator.kube.rest import now

_MOST_AT_ONCE: Final = 512
"""Writes for one pool before other keys have their turn."""
_REFUSED_AGAIN: Final = 10.0
"""Seconds until a write is tried again that the server rejected."""


class PoolReconciler:
    """Reconciles pools; writes the status of one at most every `status_interval` seconds."""

    def __init__(
        self, cluster: Cluster, plans: PlanCache, executor: PlanExecutor, writer: ApiWriter, status_interval: float
    ) -> None:
        self._cluster = cluster
        self._plans = plans
        self._executor = executor
        self._writer = writer
        self._status_interval = status_interval
        self._written_at: dict[str, float] = {}

    async def reconcile(self, name: str) -> float | None:
        """Reconcile one pool; return the seconds until the next time, None where only a change calls for it.

        Raises:
            ApiUnavailable, ApiRefused: the server does not answer, or rejected the status.
        """
        pool = self._cluster.pools.get(name)
        if pool is None or pool.deleting:
            # The garbage collector deletes its sub-functions or orphans them, by the deletion's propagation policy.
            self._written_at.pop(name, None)
            return None
        await self._plans.refresh(pool)
        todo, is_all = _next_batch(self._plans.plan(pool))
        refused = await self._executor.execute(pool, todo)
        await self._plans.refresh(pool)
        delay = await self._update_status(name, refused)
        if refused is not None:
            return _REFUSED_AGAIN if delay is None else min(delay, _REFUSED_AGAIN)
        return delay if is_all else 0.0

    async def _update_status(self, name: str, refused: Trouble | None) -> float | None:
        """Write the status if it differs; return the seconds to wait where the last write is too recent."""
        pool = self._cluster.pools.get(name)
        if pool is None:
            return None
        status = build_pool_status(pool, self._plans.of(pool), refused, now())
        if status == pool.status:
            return None
        clock = asyncio.get_running_loop().time()
        due = self._written_at.get(name, clock - self._status_interval) + self._status_interval
        if clock < due:
            return due - clock
        self._written_at[name] = clock
        old, new = pool.status.condition(ConditionType.READY), status.condition(ConditionType.READY)
        try:
            self._cluster.pools.upsert_answer(await self._writer.update_pool_status(pool, status))
        except ApiRefused as error:
            if error.status not in CHANGED:
                raise
            return None  # deleted or replaced; the watch delivers that
        if new is not None and is_transition(old, new):
            bad = new.status == "False" and new.reason not in WAITS
            await self._writer.record_event(POOL_KIND, pool, Event(new.reason, new.message, warning=bad))
        return None


def _next_batch(todo: Plan) -> tuple[Plan, bool]:
    """Return the part of a plan that is carried out now, and whether that is all of it."""
    count = len(todo.creations) + len(todo.deletions) + len(todo.changes)
    if count <= _MOST_AT_ONCE:
        return todo, True
    deletions = todo.deletions[:_MOST_AT_ONCE]
    changes = todo.changes[: _MOST_AT_ONCE - len(deletions)]
    return Plan(todo.creations[: _MOST_AT_ONCE - len(deletions) - len(changes)], deletions, changes), False
