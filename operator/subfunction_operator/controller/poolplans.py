"""Each pool's plan of each node, made anew where something changed: a cluster's worth is not planned for one news."""

import asyncio
from collections.abc import Collection
from typing import Final

from subfunction.api_pool import SubFunctionPool
from subfunction_operator.controller.cluster import Cluster
from subfunction_operator.controller.pools import plan_node
from subfunction_operator.controller.rollout import NodePlan, Plan, Site, plan

_A_TURN: Final = 50
"""Nodes that are planned without a turn for others: the Lease is to be renewed meanwhile."""


class PoolPlans:
    """The plans of all pools, by the pool's uid and the node's name."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._plans: dict[str, dict[str, NodePlan | None]] = {}

    def changed_on(self, node: str) -> None:
        """Hear that something of a node is different."""
        for plans in self._plans.values():
            plans.pop(node, None)

    def forget(self, uid: str | None = None) -> None:
        """Forget the plans of a pool, or all."""
        if uid is None:
            self._plans.clear()
        else:
            self._plans.pop(uid, None)

    async def refresh(self, pool: SubFunctionPool) -> None:
        """Plan anew what changed; None stands for a node that the pool has nothing to do with."""
        plans = self._plans.setdefault(pool.uid, {})
        for gone in plans.keys() - self._cluster.nodes.items.keys():
            del plans[gone]
        stale = [name for name in self._cluster.nodes.items if name not in plans]
        for count, name in enumerate(stale):
            if count % _A_TURN == _A_TURN - 1:
                await asyncio.sleep(0)
            plans[name] = self._planned(pool, name)
        # What changed during a turn for others is planned once more.
        if any(name not in plans for name in self._cluster.nodes.items):
            await self.refresh(pool)

    def of(self, pool: SubFunctionPool) -> Collection[NodePlan]:
        """Give the plans of the nodes that a pool has to do with."""
        return [found for found in self._plans.get(pool.uid, {}).values() if found is not None]

    def plan(self, pool: SubFunctionPool) -> Plan:
        """Give what is to be done for a pool now."""
        return plan(pool, self.of(pool))

    def _planned(self, pool: SubFunctionPool, name: str) -> NodePlan | None:
        node = self._cluster.nodes.get(name)
        if node is None:
            return None
        mine = tuple(member for member in self._cluster.on(name).values() if member.pool == pool.uid)
        selected = node.selected(pool.spec.node_selector)
        if not selected and not mine:
            return None
        inventory = self._cluster.inventories.get(name)
        room = self._cluster.room(name) if selected else None
        site = Site(name, selected, inventory.status if inventory else None, room, mine, down=not node.ready)
        return plan_node(pool, site, self._cluster.members.items.__contains__)
