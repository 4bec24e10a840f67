"""Caches each pool's plan for each node, so that a change on one node does not plan the whole cluster anew."""

import asyncio
from collections.abc import Collection
from typing import Final

from subfunction.api.pool import SubFunctionPool
from subfunction_operator.controller.cluster import Cluster
from subfunction_operator.controller.model.plans import NodeContext, NodePlan, Plan
from subfunction_operator.controller.pools.planner import plan_node
from subfunction_operator.controller.pools.rollout import plan_rollout

_A_TURN: Final = 50
"""Nodes that are planned before other tasks have a turn: the Lease must be renewed meanwhile."""


class PlanCache:
    """The plans of all pools, by the pool's uid and the node's name."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._plans: dict[str, dict[str, NodePlan | None]] = {}

    def invalidate_node(self, node: str) -> None:
        """Forget the plans of a node, on which something changed."""
        for plans in self._plans.values():
            plans.pop(node, None)

    def invalidate(self, uid: str | None = None) -> None:
        """Forget the plans of a pool, or all."""
        if uid is None:
            self._plans.clear()
        else:
            self._plans.pop(uid, None)

    async def refresh(self, pool: SubFunctionPool) -> None:
        """Plan each node without a valid plan; None is stored for a node that does not concern the pool."""
        plans = self._plans.setdefault(pool.uid, {})
        for gone in plans.keys() - self._cluster.nodes.items.keys():
            del plans[gone]
        stale = [name for name in self._cluster.nodes.items if name not in plans]
        for count, name in enumerate(stale):
            if count % _A_TURN == _A_TURN - 1:
                await asyncio.sleep(0)
            plans[name] = self._plan_node(pool, name)
        # A node that changed while other tasks had their turn is planned once more.
        if any(name not in plans for name in self._cluster.nodes.items):
            await self.refresh(pool)

    def of(self, pool: SubFunctionPool) -> Collection[NodePlan]:
        """Return the plans of the nodes that concern a pool."""
        return [found for found in self._plans.get(pool.uid, {}).values() if found is not None]

    def plan(self, pool: SubFunctionPool) -> Plan:
        """Return what is to be done for a pool now."""
        return plan_rollout(pool, self.of(pool))

    def _plan_node(self, pool: SubFunctionPool, name: str) -> NodePlan | None:
        node = self._cluster.nodes.get(name)
        if node is None:
            return None
        mine = tuple(member for member in self._cluster.on_node(name).values() if member.pool == pool.uid)
        selected = node.matches(pool.spec.node_selector)
        if not selected and not mine:
            return None
        inventory = self._cluster.inventories.get(name)
        room = self._cluster.capacity(name) if selected else None
        site = NodeContext(name, selected, inventory.status if inventory else None, room, mine, down=not node.ready)
        return plan_node(pool, site, self._cluster.members.items.__contains__)
