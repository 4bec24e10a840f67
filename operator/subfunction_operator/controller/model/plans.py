"""The values between planners and writers: what pools and placement decide from, and what they decide. Pure."""

import dataclasses
from collections.abc import Mapping

from subfunction.api.node import NodeStatus
from subfunction.api.pool import Trouble
from subfunction.api.subfunction import TemplateSpec
from subfunction_operator.controller.model.capacity import NodeCapacity
from subfunction_operator.controller.model.metadata import AppliedMetadata
from subfunction_operator.controller.model.subfunction import CachedSubFunction


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A node that placement may choose; `capacity` is None until its agent reports."""

    name: str
    labels: Mapping[str, str]
    cordoned: bool
    ready: bool
    capacity: NodeCapacity | None


@dataclasses.dataclass(frozen=True, slots=True)
class Creation:
    """A sub-function to create."""

    name: str
    node: str
    parent: str
    """The devlink handle of the parent to create it on."""
    spec: TemplateSpec


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A sub-function that differs from the template; `replace` where it cannot be changed in place."""

    member: CachedSubFunction
    spec: TemplateSpec
    marks: AppliedMetadata
    replace: bool
    quiet: bool
    """Whether the change leaves its device alone."""


@dataclasses.dataclass(frozen=True, slots=True)
class NodeContext:
    """One node as a pool's planner sees it; `status` is None until its agent reports."""

    node: str
    selected: bool
    """Whether the pool's nodeSelector selects it."""
    status: NodeStatus | None
    capacity: NodeCapacity | None
    members: tuple[CachedSubFunction, ...]
    """The pool's own sub-functions there."""
    down: bool = False
    """Whether the Node is not Ready: a change there may take long."""


@dataclasses.dataclass(frozen=True, slots=True)
class NodePlan:
    """What a pool has to change on one node, and the counts of what it has there."""

    node: str
    selected: bool = True
    creations: tuple[Creation, ...] = ()
    deletions: tuple[CachedSubFunction, ...] = ()
    """The surplus ones."""
    changes: tuple[Change, ...] = ()
    desired: int = 0
    groups: tuple[int, ...] = ()
    """The number of sub-functions of each group."""
    current: int = 0
    ready: int = 0
    updated: int = 0
    in_use: int = 0
    unavailable: int = 0
    """The number that should exist and that no pod uses: missing, being deleted, or not ready."""
    trouble: Trouble | None = None
    down: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What to do for a pool now."""

    creations: tuple[Creation, ...] = ()
    deletions: tuple[CachedSubFunction, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def empty(self) -> bool:
        """Return whether nothing is to be done."""
        return not (self.creations or self.deletions or self.changes)
