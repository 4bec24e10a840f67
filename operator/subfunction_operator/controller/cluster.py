"""The controller's cache of the whole cluster, with its indexes."""

from collections.abc import Callable
from typing import Final

from subfunction.api.pool import SubFunctionPool
from subfunction_operator.controller.model.capacity import NodeCapacity
from subfunction_operator.controller.model.node import ClusterNode, NodeInventory
from subfunction_operator.controller.model.plans import Candidate
from subfunction_operator.controller.model.subfunction import CachedSubFunction
from subfunction_operator.kube.store import OnChange, Store

_NONE: Final[dict[str, CachedSubFunction]] = {}


class Cluster:
    """Caches the objects of four kinds; a kind's callback is called for each change, once the cache has it."""

    def __init__(
        self,
        *,
        members: OnChange[CachedSubFunction],
        nodes: OnChange[ClusterNode],
        inventories: OnChange[NodeInventory],
        pools: OnChange[SubFunctionPool],
        synced: Callable[[], None],
    ) -> None:
        self._on: dict[str, dict[str, CachedSubFunction]] = {}
        self._capacities: dict[str, NodeCapacity | None] = {}
        self.unplaced: dict[str, CachedSubFunction] = {}
        """SubFunctions without `spec.nodeName`, by name."""

        def member(old: CachedSubFunction | None, new: CachedSubFunction | None) -> None:
            self._index(old, new)
            members(old, new)

        def inventory(old: NodeInventory | None, new: NodeInventory | None) -> None:
            if (known := new or old) is not None:
                self._capacities.pop(known.name, None)
            inventories(old, new)

        def on_synced() -> None:
            if self.synced:
                synced()

        self.members: Store[CachedSubFunction] = Store(member, on_synced)
        self.nodes: Store[ClusterNode] = Store(nodes, on_synced)
        self.inventories: Store[NodeInventory] = Store(inventory, on_synced)
        self.pools: Store[SubFunctionPool] = Store(pools, on_synced)

    def __str__(self) -> str:
        """Return the number of objects of each kind, for the log."""
        kinds = (("SubFunctions", self.members), ("Nodes", self.nodes), ("of them with an agent", self.inventories))
        counts = [f"{len(store.items)} {name}" for name, store in (*kinds, ("pools", self.pools))]
        return ", ".join(counts)

    @property
    def synced(self) -> bool:
        """Return whether each kind was listed once; before, nothing may be concluded from a missing object."""
        return all(store.synced for store in (self.members, self.nodes, self.inventories, self.pools))

    def on_node(self, node: str) -> dict[str, CachedSubFunction]:
        """Return the SubFunctions of a node by name."""
        return self._on.get(node, _NONE)

    def nodes_named(self) -> list[str]:
        """Return the nodes that SubFunctions name, whether they exist or not."""
        return list(self._on)

    def capacity(self, node: str) -> NodeCapacity | None:
        """Return the capacity of a node as a new value, which the caller may count in; None until its agent reports."""
        found = self.inventories.get(node)
        return None if found is None else NodeCapacity(found.status, self.on_node(node).values())

    def candidate(self, node: ClusterNode) -> Candidate:
        """Return a node as placement sees it, with a shared capacity that must not be counted in."""
        if node.name not in self._capacities:
            self._capacities[node.name] = self.capacity(node.name)
        return Candidate(node.name, node.labels, node.cordoned, node.ready, self._capacities[node.name])

    def _index(self, old: CachedSubFunction | None, new: CachedSubFunction | None) -> None:
        for each in (old, new):
            if each is not None and each.node is not None:
                self._capacities.pop(each.node, None)
        if old is not None:
            self.unplaced.pop(old.name, None)
            if old.node is not None:
                there = self._on[old.node]
                del there[old.name]
                if not there:
                    del self._on[old.node]
        if new is not None and new.node is not None:
            self._on.setdefault(new.node, {})[new.name] = new
        elif new is not None:
            self.unplaced[new.name] = new
