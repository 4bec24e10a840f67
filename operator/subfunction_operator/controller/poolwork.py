"""A pool brought nearer to what it asks for: planned, carried out, told in its status."""

import asyncio
from typing import Final

from subfunction.api import ConditionType
from subfunction.api_pool import POOL_KIND, Trouble
from subfunction.errors import ApiRefused
from subfunction_operator.controller.cluster import Cluster
from subfunction_operator.controller.execution import CHANGED, Execution
from subfunction_operator.controller.poolplans import PoolPlans
from subfunction_operator.controller.poolstatus import WAITS, pool_status
from subfunction_operator.controller.rollout import Plan
from subfunction_operator.controller.writes import Writes
from subfunction_operator.endpoint import now
from subfunction_operator.event import Event

_MOST_AT_ONCE: Final = 512
"""How many writes are made for one pool before others have their turn."""
_REFUSED_AGAIN: Final = 10.0
"""Seconds until that is tried again which the server would not have."""


class PoolWork:
    """The work on pools; a status is written every `status_interval` seconds at the most."""

    def __init__(
        self, cluster: Cluster, plans: PoolPlans, execution: Execution, writes: Writes, status_interval: float
    ) -> None:
        self._cluster = cluster
        self._plans = plans
        self._execution = execution
        self._writes = writes
        self._status_interval = status_interval
        self._told_at: dict[str, float] = {}

    async def work(self, name: str) -> float | None:
        """Work on one pool; gives the seconds until the next time, None where something will happen before.

        Raises:
            ApiUnavailable, ApiRefused: the server does not answer, or would not have the status.
        """
        pool = self._cluster.pools.get(name)
        if pool is None or pool.deleting:
            # Its sub-functions are the garbage collector's, or left as they are: that is the deleter's to say.
            self._told_at.pop(name, None)
            return None
        await self._plans.refresh(pool)
        todo, is_all = _some_of(self._plans.plan(pool))
        refused = await self._execution.carry_out(pool, todo)
        await self._plans.refresh(pool)
        delay = await self._tell(name, refused)
        if refused is not None:
            return _REFUSED_AGAIN if delay is None else min(delay, _REFUSED_AGAIN)
        return delay if is_all else 0.0

    async def _tell(self, name: str, refused: Trouble | None) -> float | None:
        """Write the status if it says something new; gives the seconds to wait where the last one is too fresh."""
        pool = self._cluster.pools.get(name)
        if pool is None:
            return None
        said = pool_status(pool, self._plans.of(pool), refused, now())
        if said == pool.status:
            return None
        clock = asyncio.get_running_loop().time()
        due = self._told_at.get(name, clock - self._status_interval) + self._status_interval
        if clock < due:
            return due - clock
        self._told_at[name] = clock
        old, new = pool.status.condition(ConditionType.READY), said.condition(ConditionType.READY)
        try:
            self._cluster.pools.answered(await self._writes.write_pool(pool, said))
        except ApiRefused as error:
            if error.status not in CHANGED:
                raise
            return None  # gone, or another one: the watch tells
        if new is not None and (old is None or (old.status, old.reason) != (new.status, new.reason)):
            bad = new.status == "False" and new.reason not in WAITS
            await self._writes.announce(POOL_KIND, pool, Event(new.reason, new.message, warning=bad))
        return None


def _some_of(todo: Plan) -> tuple[Plan, bool]:
    """Give as much of a plan as is done at once, and whether that is all."""
    count = len(todo.creations) + len(todo.deletions) + len(todo.changes)
    if count <= _MOST_AT_ONCE:
        return todo, True
    deletions = todo.deletions[:_MOST_AT_ONCE]
    changes = todo.changes[: _MOST_AT_ONCE - len(deletions)]
    return Plan(todo.creations[: _MOST_AT_ONCE - len(deletions) - len(changes)], deletions, changes), False
