"""A cluster on paper: nodes that can make sub-functions, and what becomes of them once somebody asked for them."""

import dataclasses
import itertools
from typing import Any

import msgspec

from subfunction.api.node import FlavourCapability, NodeStatus, OfferedFunction, ParentStatus
from subfunction.api.pool import SubFunctionPool
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import FINALIZER, Flavour, ParentSpec
from subfunction_operator.controller.model.capacity import NodeCapacity
from subfunction_operator.controller.model.metadata import AppliedMetadata
from subfunction_operator.controller.model.plans import NodeContext, NodePlan, Plan
from subfunction_operator.controller.model.subfunction import CachedSubFunction, Unplaced
from subfunction_operator.controller.pools.planner import plan_node
from subfunction_operator.controller.pools.rollout import plan_rollout

PARENT, OTHER = "pci/0000:03:00.0", "pci/0000:82:00.0"


def pool(name: str = "fast", *, generation: int = 1, **spec: Any) -> SubFunctionPool:
    template = {"spec": {"flavour": "mlx5"}}
    body = {
        "metadata": {"name": name, "uid": f"uid-{name}", "generation": generation},
        "spec": {"template": template, **spec},
    }
    return SubFunctionPool.of(body)


def parent(device: str = PARENT, **changes: Any) -> ParentStatus:
    """Give a parent as an agent tells of it: an mlx5 one with room for four."""
    able = changes.pop("able", (Flavour.MLX5, Flavour.VIRTIO))
    why = changes.pop("why", Reason.UNSUPPORTED)
    functions = changes.pop("functions", 0)
    flavours = tuple(
        FlavourCapability(name=flavour, possible=True)
        if flavour in able
        else FlavourCapability(name=flavour, possible=False, reason=why, message=f"{flavour} cannot be made")
        for flavour in Flavour
    )
    whole: dict[str, Any] = {
        "netdev": "ens1f0np0" if device == PARENT else "ens2f0np0",
        "driver": "mlx5_core",
        "vendor": "15b3",
        "numa_node": 0 if device == PARENT else 1,
        "capacity": 4,
        "flavours": flavours,
        "virtual_functions": tuple(
            OfferedFunction(index=index, address=f"0000:03:01.{index}", group=index) for index in range(functions)
        ),
        **changes,
    }
    return ParentStatus(device=device, **whole)


def status(*parents: ParentStatus) -> NodeStatus:
    return NodeStatus(parents=parents)


def member(name: str, **changes: Any) -> CachedSubFunction:
    """Give a SubFunction as the controller keeps it: ready, on a node, of no pool."""
    template = pool().spec.template.spec
    device = changes.pop("parent", PARENT)
    whole: dict[str, Any] = {
        "uid": f"uid-{name}",
        "version": "1",
        "generation": 1,
        "spec": template,
        "node": "n1",
        "parent": device,
        "asks": ParentSpec(device=device),
        "finalizers": (FINALIZER,),
        "ready": True,
        **changes,
    }
    return CachedSubFunction(name=name, **whole)


def unplaced(
    name: str, asks: ParentSpec | None = None, selector: dict[str, str] | None = None, **changes: Any
) -> CachedSubFunction:
    asks = asks or ParentSpec(device=PARENT)
    waiting = Unplaced(node_selector=selector or {}, conditions=())
    return member(name, node=None, parent=asks.device, asks=asks, unplaced=waiting, ready=False, **changes)


@dataclasses.dataclass
class Paper:
    """Nodes and SubFunctions, on which plans are carried out."""

    statuses: dict[str, NodeStatus | None]
    selected: set[str]
    members: dict[str, CachedSubFunction] = dataclasses.field(default_factory=dict)
    down: set[str] = dataclasses.field(default_factory=set)
    _uids: "itertools.count[int]" = dataclasses.field(default_factory=itertools.count)

    def of(self, wanted: SubFunctionPool) -> list[CachedSubFunction]:
        return [each for each in self.members.values() if each.pool == wanted.uid]

    def plans(self, wanted: SubFunctionPool) -> list[NodePlan]:
        return [plan_node(wanted, self.site(wanted, node), self.members.__contains__) for node in sorted(self.statuses)]

    def plan(self, wanted: SubFunctionPool) -> Plan:
        return plan_rollout(wanted, self.plans(wanted))

    def site(self, wanted: SubFunctionPool, node: str) -> NodeContext:
        there = [each for each in self.members.values() if each.node == node]
        known = self.statuses[node]
        room = None if known is None else NodeCapacity(known, there)
        mine = tuple(each for each in there if each.pool == wanted.uid)
        return NodeContext(node, node in self.selected, known, room, mine, down=node in self.down)

    def execute(self, wanted: SubFunctionPool, todo: Plan) -> None:
        marks = AppliedMetadata.of(wanted)
        for made in todo.creations:
            assert made.name not in self.members, made
            self.members[made.name] = member(
                made.name,
                uid=f"uid-{next(self._uids)}",
                node=made.node,
                parent=made.parent,
                spec=made.spec,
                pool=wanted.uid,
                labels=marks.labels,
                annotations=marks.annotations,
                ready=False,
            )
        for gone in todo.deletions:
            self.change(gone.name, deleting=True)
        for change in todo.changes:
            if change.replace:
                self.change(change.member.name, deleting=True)
            else:
                carried = {"labels": change.marks.labels, "annotations": change.marks.annotations}
                self.change(change.member.name, spec=change.spec, ready=change.quiet, **carried)

    def settle(self) -> None:
        """Let the agents do their work."""
        for found in list(self.members.values()):
            if found.deleting and not found.in_use:
                del self.members[found.name]
            elif not found.deleting:
                self.change(found.name, ready=True)

    def change(self, name: str, **changes: Any) -> None:
        self.members[name] = msgspec.structs.replace(self.members[name], **changes)
