"""The controller: from what the cluster is to what is still to be written. Level-triggered.

Whatever happens ends as a key in the backlog, which one worker empties: each decision counts what the one before it
wrote. What is then done depends on nothing but what is known, and each write is one that two controllers may both make.
"""

import asyncio
import dataclasses
import logging
from typing import Final

from subfunction.api_pool import SubFunctionPool
from subfunction.errors import SubFunctionError
from subfunction.journal import concerning
from subfunction.metrics import ControllerMetrics
from subfunction_operator.backlog import Backlog
from subfunction_operator.controller.cluster import Cluster
from subfunction_operator.controller.clusternode import ClusterNode, Inventory
from subfunction_operator.controller.execution import Execution
from subfunction_operator.controller.gone import Gone
from subfunction_operator.controller.member import Member
from subfunction_operator.controller.placement import Policy
from subfunction_operator.controller.placing import Placing
from subfunction_operator.controller.poolplans import PoolPlans
from subfunction_operator.controller.poolwork import PoolWork
from subfunction_operator.controller.writes import Writes

_LOG = logging.getLogger("subfunction.controller")

_SOON: Final = 0.05
"""Seconds for which what is asked is gathered."""
_STIR: Final = 0.25
"""Seconds for which what happened by itself is gathered."""
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
        self._metrics = metrics
        metrics.backlog.source = self.backlog.lengths
        metrics.unplaced.source = lambda: {(): len(self.cluster.unplaced)}
        self._plans = PoolPlans(self.cluster)
        execution = Execution(self.cluster, writes, manners.workers)
        self._pools = PoolWork(self.cluster, self._plans, execution, writes, manners.status_interval)
        self._placing = Placing(self.cluster, execution, writes, manners.policy)
        self._gone = Gone(self.cluster, writes, manners.gone_grace)

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
                await self._placing.work()
                return None
            if key.startswith(_POOL):
                return await self._pools.work(key.removeprefix(_POOL))
            return await self._gone.work(key.removeprefix(_NODE))
        except SubFunctionError as error:
            _LOG.warning("%s: %s", key, error)
            self._metrics.failed(error.reason)
            return error.retry_after
        except Exception as fault:  # noqa: BLE001  # one pool's trouble must not be every other's
            _LOG.critical("%s: a fault of the controller", key, exc_info=fault)
            self._metrics.failed(SubFunctionError.reason)
            return 60.0


def _alike(old: ClusterNode, new: ClusterNode) -> bool:
    return (old.uid, old.labels, old.cordoned, old.ready) == (new.uid, new.labels, new.cordoned, new.ready)
