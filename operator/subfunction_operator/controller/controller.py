"""The controller: from what the cluster is to what is still to be written. Level-triggered.

Whatever happens ends as a key in the backlog, which one worker empties: each decision counts what the one before it
wrote. What is then done depends on nothing but what is known, and each write is one that two controllers may both make.
"""

import asyncio
import dataclasses
import datetime as dt
import logging
from collections.abc import Iterable
from typing import Final

from subfunction.api import KIND, Condition, ConditionType
from subfunction.api_pool import POOL_KIND, SubFunctionPool, Trouble
from subfunction.errors import ApiRefused, SubFunctionError
from subfunction.journal import concerning
from subfunction.metrics import ControllerMetrics
from subfunction.reasons import Reason
from subfunction_operator.backlog import Backlog
from subfunction_operator.controller.cluster import Cluster
from subfunction_operator.controller.clusternode import ClusterNode, Inventory
from subfunction_operator.controller.execution import CHANGED, Execution
from subfunction_operator.controller.gone import Gone
from subfunction_operator.controller.member import Member
from subfunction_operator.controller.placement import Candidate, Nowhere, Policy, place
from subfunction_operator.controller.poolplans import PoolPlans
from subfunction_operator.controller.poolstatus import WAITS, pool_status
from subfunction_operator.controller.rollout import Plan
from subfunction_operator.controller.unplaced import Signature, signature, unplaced_conditions
from subfunction_operator.controller.writes import Writes
from subfunction_operator.event import Event

_LOG = logging.getLogger("subfunction.controller")

_SOON: Final = 0.05
"""Seconds for which what is asked is gathered."""
_STIR: Final = 0.25
"""Seconds for which what happened by itself is gathered."""
_MOST_AT_ONCE: Final = 512
"""How many writes are made for one pool before others have their turn."""
_REFUSED_AGAIN: Final = 10.0
"""Seconds until that is tried again which the server would not have."""
_PLACEMENT: Final = "placement"
_POOL, _NODE = "pool/", "node/"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How the controller goes about it; times are in seconds."""

    policy: Policy = "spread"
    gone_grace: float = 60.0
    workers: int = 16
    status_interval: float = 1.0


class Controller:
    """What one controller knows, and the backlog of what to look at."""

    def __init__(self, writes: Writes, manners: Manners, metrics: ControllerMetrics) -> None:
        self.backlog = Backlog()
        self.synced = asyncio.Event()
        """Set once all was listed: before, nothing is decided."""
        self.cluster = Cluster(
            members=self._member_news,
            nodes=self._node_news,
            inventories=self._inventory_news,
            pools=self._pool_news,
            synced=self.synced.set,
        )
        self._writes = writes
        self._manners = manners
        self._metrics = metrics
        metrics.backlog.source = self.backlog.lengths
        metrics.unplaced.source = lambda: {(): len(self.cluster.unplaced)}
        self._plans = PoolPlans(self.cluster)
        self._gone = Gone(self.cluster, writes, manners.gone_grace)
        self._execution = Execution(self.cluster, writes, manners.workers)
        self._told_at: dict[str, float] = {}

    # --- what wakes it ---

    def look_at_all(self) -> None:
        """Hear that anything may be different from what is remembered."""
        self._plans.forget()
        for pool in self.cluster.pools:
            self.backlog.add(_POOL + pool.name)
        for node in self.cluster.nodes_named():
            self._look_at_node(node)
        self.backlog.add(_PLACEMENT)

    def _member_news(self, old: Member | None, new: Member | None) -> None:
        nodes = {each.node for each in (old, new) if each is not None and each.node is not None}
        for node in nodes:
            self._plans.changed_on(node)
            self._look_at_node(node)
        came_or_went = old is None or new is None or (old.node, old.parent) != (new.node, new.parent)
        pools = {each.pool for each in (old, new) if each is not None}
        for pool in self.cluster.pools:
            if came_or_went or pool.uid in pools:
                self.backlog.add(_POOL + pool.name, _STIR)
        if new is not None and new.node is None:
            self.backlog.add(_PLACEMENT, _SOON)
        elif came_or_went:
            self._stir_unplaced()

    def _node_news(self, old: ClusterNode | None, new: ClusterNode | None) -> None:
        told = new or old
        if told is None or (old is not None and new is not None and _alike(old, new)):
            return
        self._plans.changed_on(told.name)
        self._look_at_node(told.name)
        self._stir_pools()
        self._stir_unplaced()

    def _inventory_news(self, old: Inventory | None, new: Inventory | None) -> None:
        told = new or old
        if told is None or (old is not None and new is not None and old.status.parents == new.status.parents):
            return
        self._plans.changed_on(told.name)
        self._stir_pools()
        self._stir_unplaced()

    def _pool_news(self, old: SubFunctionPool | None, new: SubFunctionPool | None) -> None:
        told = new or old
        if told is None:
            return
        asks = old is None or new is None or (old.metadata.generation, old.uid) != (new.metadata.generation, new.uid)
        if asks or (old is not None and new is not None and old.deleting != new.deleting):
            self._plans.forget(told.uid)
        self.backlog.add(_POOL + told.name, _SOON)

    def _stir_pools(self) -> None:
        for pool in self.cluster.pools:
            self.backlog.add(_POOL + pool.name, _STIR)

    def _stir_unplaced(self) -> None:
        if self.cluster.unplaced:
            self.backlog.add(_PLACEMENT, _STIR)

    def _look_at_node(self, node: str) -> None:
        if self.cluster.synced and self.cluster.nodes.get(node) is None:
            self.backlog.add(_NODE + node, _STIR)

    # --- what it does ---

    async def work(self, key: str) -> None:
        """Bring one thing nearer to what is asked; whatever fails is tried again."""
        with concerning(key):
            delay = await self._worked(key)
        if delay is not None:
            self.backlog.add(key, delay)

    async def _worked(self, key: str) -> float | None:
        try:
            if key == _PLACEMENT:
                return await self._place_all()
            if key.startswith(_POOL):
                return await self._work_on_pool(key.removeprefix(_POOL))
            return await self._gone.work(key.removeprefix(_NODE))
        except SubFunctionError as error:
            _LOG.warning("%s: %s", key, error)
            self._metrics.failed(error.reason)
            return error.retry_after
        except Exception as fault:  # noqa: BLE001  # one pool's trouble must not be every other's
            _LOG.critical("%s: a fault of the controller", key, exc_info=fault)
            self._metrics.failed(SubFunctionError.reason)
            return 60.0

    # --- pools ---

    async def _work_on_pool(self, name: str) -> float | None:
        pool = self.cluster.pools.get(name)
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
        pool = self.cluster.pools.get(name)
        if pool is None:
            return None
        said = pool_status(pool, self._plans.of(pool), refused, _now())
        if said == pool.status:
            return None
        clock = asyncio.get_running_loop().time()
        due = self._told_at.get(name, clock - self._manners.status_interval) + self._manners.status_interval
        if clock < due:
            return due - clock
        self._told_at[name] = clock
        old, new = pool.status.condition(ConditionType.READY), said.condition(ConditionType.READY)
        try:
            self.cluster.pools.answered(await self._writes.write_pool(pool, said))
        except ApiRefused as error:
            if error.status not in CHANGED:
                raise
            return None  # gone, or another one: the watch tells
        if new is not None and (old is None or (old.status, old.reason) != (new.status, new.reason)):
            bad = new.status == "False" and new.reason not in WAITS
            await self._announce(POOL_KIND, pool, Event(new.reason, new.message, warning=bad))
        return None

    # --- placement ---

    async def _place_all(self) -> float | None:
        """Find a node for each that has none, by name; those that are alike and fit nowhere are asked about once."""
        candidates: dict[str, Candidate] = {}
        nowhere: dict[Signature, Nowhere] = {}
        changed = {node.name for node in self.cluster.nodes}
        for name in sorted(self.cluster.unplaced):
            wanted = self.cluster.unplaced.get(name)
            if wanted is None or wanted.deleting:
                continue
            for node in changed:
                if (known := self.cluster.nodes.get(node)) is not None:
                    candidates[node] = self.cluster.candidate(known)
            changed = set()
            kind = signature(wanted)
            where = nowhere.get(kind) or place(wanted, candidates.values(), self._manners.policy)
            if isinstance(where, Nowhere):
                nowhere[kind] = where
                await self._tell_unplaced(wanted, where)
            elif await self._execution.written(wanted, self._writes.place(wanted, where)):
                _LOG.info("placed %s on %s", name, where)
                changed = {where}
                await self._announce(KIND, wanted, Event(Reason.PLACED, f"on node {where}"))
            await asyncio.sleep(0)
        return None

    async def _tell_unplaced(self, wanted: Member, why: Nowhere) -> None:
        conditions = unplaced_conditions(wanted, why, _now())
        if conditions is None:
            return
        if not await self._execution.written(wanted, self._writes.tell_unplaced(wanted, conditions)):
            return
        before = _condition(wanted.unplaced.conditions if wanted.unplaced else (), ConditionType.PLACED)
        if before is None or before.status != "False":
            await self._announce(KIND, wanted, Event(Reason.NO_NODE_FITS, why.message, warning=True))

    async def _announce(self, kind: str, of: Member | SubFunctionPool, event: Event) -> None:
        try:
            await self._writes.announce(kind, of, event, _now())
        except SubFunctionError as error:
            # The condition has said it already; an Event is the second place.
            _LOG.warning("%s: %s: %s (no Event: %s)", of.name, event.reason, event.message, error)


def _some_of(todo: Plan) -> tuple[Plan, bool]:
    """Give as much of a plan as is done at once, and whether that is all."""
    count = len(todo.creations) + len(todo.deletions) + len(todo.changes)
    if count <= _MOST_AT_ONCE:
        return todo, True
    deletions = todo.deletions[:_MOST_AT_ONCE]
    changes = todo.changes[: _MOST_AT_ONCE - len(deletions)]
    return Plan(todo.creations[: _MOST_AT_ONCE - len(deletions) - len(changes)], deletions, changes), False


def _alike(old: ClusterNode, new: ClusterNode) -> bool:
    return (old.uid, old.labels, old.cordoned, old.ready) == (new.uid, new.labels, new.cordoned, new.ready)


def _condition(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    return next((condition for condition in conditions if condition.type == kind), None)


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
