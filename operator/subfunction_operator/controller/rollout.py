"""What a pool wants of each node -> what to do now, so that no more are missed than may be, in use last. Pure."""

import dataclasses
from collections.abc import Iterable

from subfunction.api import TemplateSpec
from subfunction.api_node import NodeStatus
from subfunction.api_pool import SubFunctionPool, Trouble, UpdateType
from subfunction_operator.controller.marks import Marks
from subfunction_operator.controller.member import Member
from subfunction_operator.controller.room import Room


@dataclasses.dataclass(frozen=True, slots=True)
class Creation:
    """A sub-function to be made."""

    name: str
    node: str
    parent: str
    """The handle of the parent to cut it from."""
    spec: TemplateSpec


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A sub-function that is not as the template says; `replace` where it cannot change into that."""

    member: Member
    spec: TemplateSpec
    marks: Marks
    replace: bool
    quiet: bool
    """Whether its device does not notice."""


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """One node as a pool meets it: `status` is None while its agent has said nothing."""

    node: str
    selected: bool
    """Whether the pool's nodeSelector selects it."""
    status: NodeStatus | None
    room: Room | None
    members: tuple[Member, ...]
    """The pool's own there."""
    down: bool = False
    """Whether the Node is not Ready: what is asked of it now may wait for long."""


@dataclasses.dataclass(frozen=True, slots=True)
class NodePlan:
    """What a pool wants of one node, and how it stands there."""

    node: str
    selected: bool = True
    creations: tuple[Creation, ...] = ()
    deletions: tuple[Member, ...] = ()
    """Those that are too many."""
    changes: tuple[Change, ...] = ()
    desired: int = 0
    groups: tuple[int, ...] = ()
    """How many each group has."""
    current: int = 0
    ready: int = 0
    updated: int = 0
    in_use: int = 0
    unavailable: int = 0
    """Those that should be there and that no pod holds: missing, on their way out, or not ready."""
    trouble: Trouble | None = None
    down: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What to do for a pool now."""

    creations: tuple[Creation, ...] = ()
    deletions: tuple[Member, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.creations or self.deletions or self.changes)


def plan(pool: SubFunctionPool, nodes: Iterable[NodePlan]) -> Plan:
    """Put the nodes' plans together: what is too many goes and what is missing comes at once, changes by turns.

    Those that are not ready are changed at once, since nobody misses them; those that are ready within maxUnavailable;
    those in use last of all, once nothing else is to be changed and nothing came out badly, and all at once: what a pod
    holds is available to nobody else, and waits for that pod. Nodes that are down come after all others: what is asked
    there is long unavailable, and holds up the rest.
    """
    seen = sorted(nodes, key=lambda node: (node.down, node.node))
    creations = tuple(each for node in seen for each in node.creations)
    deletions = tuple(each for node in seen for each in node.deletions)
    changes = [change for node in seen for change in node.changes]
    now = [change for change in changes if change.quiet]
    if pool.spec.update_strategy.type is UpdateType.ROLLING_UPDATE:
        loud = [change for change in changes if not change.quiet]
        idle = [change for change in loud if not change.member.in_use]
        now += [change for change in idle if not change.member.ready]
        waiting = [change for change in idle if change.member.ready]
        most = pool.spec.update_strategy.most_unavailable(sum(node.desired for node in seen))
        budget = max(0, most - sum(node.unavailable for node in seen))
        now += waiting[:budget]
        if len(waiting) < budget:
            now += [change for change in loud if change.member.in_use]
    else:
        now = []
    return Plan(creations, deletions, tuple(now))
