"""Turns changes of the cluster into keys of the work queue, and reconciles each key. Level-triggered.

One worker empties the queue, so each decision counts what the one before it wrote. A decision depends on the cache
(that a Node is gone also on the server's answer), and each write is one that two controllers may both make.
"""

import asyncio
import dataclasses
import logging
from typing import Final

from subfunction.api.pool import SubFunctionPool
from subfunction.errors import SubFunctionError
from subfunction.process.log import log_context
from subfunction.process.metrics import ControllerMetrics
from subfunction_operator.controller.api.executor import PlanExecutor
from subfunction_operator.controller.api.writer import ApiWriter
from subfunction_operator.controller.cluster import Cluster
from subfunction_operator.controller.model.node import ClusterNode, NodeInventory
from subfunction_operator.controller.model.subfunction import CachedSubFunction
from subfunction_operator.controller.node_gc import OrphanedNodeReconciler
from subfunction_operator.controller.placement.reconciler import PlacementReconciler
from subfunction_operator.controller.placement.scheduler import PlacementPolicy
from subfunction_operator.controller.pools.plan_cache import PlanCache
from subfunction_operator.controller.pools.reconciler import PoolReconciler
from subfunction_operator.kube.backoff import RateLimiter
from subfunction_operator.kube.workqueue import WorkQueue

_LOG = logging.getLogger(__name__)

_DEBOUNCE_USER: Final = 0.05
"""Seconds for which requests of users are gathered: changed pools, and SubFunctions without a node."""
_DEBOUNCE_OTHER: Final = 0.25
"""Seconds for which all other changes are gathered."""
_PLACEMENT: Final = "placement"
_POOL, _NODE = "pool/", "node/"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ControllerOptions:
    """The controller's options; times are in seconds."""

    policy: PlacementPolicy = "spread"
    gone_grace: float = 60.0
    workers: int = 16
    status_interval: float = 1.0


class Controller:
    """Holds the cache and the work queue, and reconciles the keys of the queue."""

    def __init__(self, writer: ApiWriter, options: ControllerOptions, metrics: ControllerMetrics) -> None:
        self.queue = WorkQueue()
        self.synced = asyncio.Event()
        """Set once all kinds were listed; before, nothing is reconciled."""
        self.cluster = Cluster(
            members=self._on_member,
            nodes=self._on_node,
            inventories=self._on_inventory,
            pools=self._on_pool,
            synced=self.synced.set,
        )
        self._metrics = metrics
        self._limiter = RateLimiter()
        metrics.backlog.source = self.queue.lengths
        metrics.unplaced.source = lambda: {(): len(self.cluster.unplaced)}
        self._plans = PlanCache(self.cluster)
        executor = PlanExecutor(self.cluster, writer, options.workers)
        self._pools = PoolReconciler(self.cluster, self._plans, executor, writer, options.status_interval)
        self._placing = PlacementReconciler(self.cluster, executor, writer, options.policy)
        self._gone = OrphanedNodeReconciler(self.cluster, writer, options.gone_grace)

    # --- changes become keys ---

    def enqueue_all(self) -> None:
        """Forget all plans, and enqueue every pool, every missing node and the placement."""
        self._plans.invalidate()
        for pool in self.cluster.pools:
            self.queue.add(_POOL + pool.name)
        for node in self.cluster.nodes_named():
            self._enqueue_node(node)
        self.queue.add(_PLACEMENT)

    def _on_member(self, old: CachedSubFunction | None, new: CachedSubFunction | None) -> None:
        nodes = {each.node for each in (old, new) if each is not None and each.node is not None}
        for node in nodes:
            self._plans.invalidate_node(node)
            self._enqueue_node(node)
        came_or_went = old is None or new is None or (old.node, old.parent) != (new.node, new.parent)
        pools = {each.pool for each in (old, new) if each is not None}
        for pool in self.cluster.pools:
            if came_or_went or pool.uid in pools:
                self.queue.add(_POOL + pool.name, _DEBOUNCE_OTHER)
        if new is not None and new.node is None:
            self.queue.add(_PLACEMENT, _DEBOUNCE_USER)
        elif came_or_went:
            self._enqueue_placement()

    def _on_node(self, old: ClusterNode | None, new: ClusterNode | None) -> None:
        known = new or old
        if known is None or (old is not None and new is not None and _are_alike(old, new)):
            return
        self._plans.invalidate_node(known.name)
        self._enqueue_node(known.name)
        self._enqueue_pools()
        self._enqueue_placement()

    def _on_inventory(self, old: NodeInventory | None, new: NodeInventory | None) -> None:
        known = new or old
        if known is None or (old is not None and new is not None and old.status.parents == new.status.parents):
            return
        self._plans.invalidate_node(known.name)
        self._enqueue_pools()
        self._enqueue_placement()

    def _on_pool(self, old: SubFunctionPool | None, new: SubFunctionPool | None) -> None:
        known = new or old
        if known is None:
            return
        asks = old is None or new is None or (old.metadata.generation, old.uid) != (new.metadata.generation, new.uid)
        if asks or (old is not None and new is not None and old.deleting != new.deleting):
            self._plans.invalidate(known.uid)
        self.queue.add(_POOL + known.name, _DEBOUNCE_USER)

    def _enqueue_pools(self) -> None:
        for pool in self.cluster.pools:
            self.queue.add(_POOL + pool.name, _DEBOUNCE_OTHER)

    def _enqueue_placement(self) -> None:
        if self.cluster.unplaced:
            self.queue.add(_PLACEMENT, _DEBOUNCE_OTHER)

    def _enqueue_node(self, node: str) -> None:
        if self.cluster.synced and self.cluster.nodes.get(node) is None:
            self.queue.add(_NODE + node, _DEBOUNCE_OTHER)

    # --- keys are reconciled ---

    async def reconcile(self, key: str) -> None:
        """Reconcile one key; requeue it where its reconciler asks for that, or after an error that a retry may cure."""
        with log_context(key):
            delay = await self._reconcile_safely(key)
        if delay is not None:
            self.queue.add(key, delay)

    async def _reconcile_safely(self, key: str) -> float | None:
        try:
            delay = await self._reconcile(key)
        except SubFunctionError as error:
            _LOG.warning("%s: %s", key, error)
            self._metrics.record_error(error.reason)
            return self._limiter.when(key, error)
        except Exception as fault:  # noqa: BLE001  # a bug that one key meets must not stop the others
            _LOG.critical("%s: a fault of the controller", key, exc_info=fault)
            self._metrics.record_error(SubFunctionError.reason)
            return self._limiter.when(key, SubFunctionError(repr(fault), retry_after=60.0))
        self._limiter.forget(key)
        return delay

    async def _reconcile(self, key: str) -> float | None:
        if key == _PLACEMENT:
            await self._placing.reconcile()
            return None
        if key.startswith(_POOL):
            return await self._pools.reconcile(key.removeprefix(_POOL))
        return await self._gone.reconcile(key.removeprefix(_NODE))


def _are_alike(old: ClusterNode, new: ClusterNode) -> bool:
    return (old.uid, old.labels, old.cordoned, old.ready) == (new.uid, new.labels, new.cordoned, new.ready)
