"""What the controller knows of the whole cluster, and what is found by what in it."""

from collections.abc import Callable
from typing import Final

from subfunction.api_pool import SubFunctionPool
from subfunction_operator.controller.clusternode import ClusterNode, Inventory
from subfunction_operator.controller.member import Member
from subfunction_operator.controller.placement import Candidate
from subfunction_operator.controller.room import Room
from subfunction_operator.controller.shelf import News, Shelf

_NOBODY: Final[dict[str, Member]] = {}


class Cluster:
    """The objects of four kinds; whoever made it hears of each change, once it is known here."""

    def __init__(
        self,
        *,
        members: News[Member],
        nodes: News[ClusterNode],
        inventories: News[Inventory],
        pools: News[SubFunctionPool],
        synced: Callable[[], None],
    ) -> None:
        self._on: dict[str, dict[str, Member]] = {}
        self._rooms: dict[str, Room | None] = {}
        self.unplaced: dict[str, Member] = {}
        """Those that name no node."""

        def member(old: Member | None, new: Member | None) -> None:
            self._indexed(old, new)
            members(old, new)

        def inventory(old: Inventory | None, new: Inventory | None) -> None:
            if (known := new or old) is not None:
                self._rooms.pop(known.name, None)
            inventories(old, new)

        def told() -> None:
            if self.synced:
                synced()

        self.members: Shelf[Member] = Shelf(member, told)
        self.nodes: Shelf[ClusterNode] = Shelf(nodes, told)
        self.inventories: Shelf[Inventory] = Shelf(inventory, told)
        self.pools: Shelf[SubFunctionPool] = Shelf(pools, told)

    def __str__(self) -> str:
        """Count what there is."""
        kinds = (("SubFunctions", self.members), ("Nodes", self.nodes), ("of them with an agent", self.inventories))
        counts = [f"{len(shelf.items)} {name}" for name, shelf in (*kinds, ("pools", self.pools))]
        return ", ".join(counts)

    @property
    def synced(self) -> bool:
        """Whether each kind was listed once: before, nothing may be concluded from what is not there."""
        return all(shelf.synced for shelf in (self.members, self.nodes, self.inventories, self.pools))

    def on(self, node: str) -> dict[str, Member]:
        """Give the SubFunctions of a node by name."""
        return self._on.get(node, _NOBODY)

    def nodes_named(self) -> list[str]:
        """Give the nodes that SubFunctions name, whether they exist or not."""
        return list(self._on)

    def room(self, node: str) -> Room | None:
        """Give the room of a node for one's own counting; None while its agent has said nothing."""
        found = self.inventories.get(node)
        return None if found is None else Room(found.status, self.on(node).values())

    def candidate(self, node: ClusterNode) -> Candidate:
        """Give a node as placement sees it."""
        if node.name not in self._rooms:
            self._rooms[node.name] = self.room(node.name)
        return Candidate(node.name, node.labels, node.cordoned, node.ready, self._rooms[node.name])

    def _indexed(self, old: Member | None, new: Member | None) -> None:
        for each in (old, new):
            if each is not None and each.node is not None:
                self._rooms.pop(each.node, None)
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
