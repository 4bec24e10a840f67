"""survey -> the status of a SubFunctionNode. Pure; the time is given.

No clock and no counter stands in it but the time of a condition, which moves with its status alone: a look that finds
nothing new gives a status that is equal to the one before, and that is not written. What the schema has no room for is
left out and counted.
"""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from subfunction.api import Condition, ConditionType, Flavour
from subfunction.api_node import (
    LONGEST_CONDITION,
    LONGEST_KERNEL,
    LONGEST_TYPE,
    LONGEST_WORD,
    MOST_FOREIGN,
    MOST_PARENTS,
    MOST_TYPES,
    MOST_VIRTUAL_FUNCTIONS,
    NodeStatus,
    ParentStatus,
    Possibility,
)
from subfunction.errors import SubFunctionError
from subfunction.reasons import Reason
from subfunction_operator.potential import Obstacle, most_telling, potential
from subfunction_operator.survey import Survey, SurveyedParent

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """What does not change while the agent runs: its own version, and its kernel's (`uname -r`)."""

    version: str
    kernel: str


def node_status(survey: Survey, about: About, old: NodeStatus, now: str) -> NodeStatus:
    """Say what the node can do; `now` is RFC 3339 in UTC."""
    judged = [(parent, potential(parent, survey)) for parent in survey.parents]
    capacities = [parent.capacity for parent in survey.parents if parent.capacity is not None]
    possible = {each.name for _, flavours in judged for each in flavours if each.possible}
    return NodeStatus(
        conditions=_condition(old, _ready(survey, judged), now),
        agent_version=_cut(about.version, LONGEST_WORD),
        kernel=_cut(about.kernel, LONGEST_KERNEL),
        rdma_namespaces=survey.rdma,
        drivers=tuple(sorted(survey.drivers)),
        flavours=tuple(flavour for flavour in Flavour if flavour in possible),
        parent_count=len(survey.parents),
        capacity=sum(capacities) if capacities else None,
        parents=tuple(_parent(parent, flavours) for parent, flavours in judged[:MOST_PARENTS]),
    )


def unseen_status(error: SubFunctionError, about: About, old: NodeStatus, now: str) -> NodeStatus:
    """Say why nothing could be seen; all else stays as it was last seen."""
    return msgspec.structs.replace(
        old,
        conditions=_condition(old, Obstacle(error.reason, str(error)), now),
        agent_version=_cut(about.version, LONGEST_WORD),
        kernel=_cut(about.kernel, LONGEST_KERNEL),
    )


def _ready(survey: Survey, judged: Sequence[tuple[SurveyedParent, tuple[Possibility, ...]]]) -> Obstacle | None:
    """Say what stands between this node and any sub-function; None where it can make one."""
    if survey.missing is not None:
        return Obstacle(survey.missing.reason, str(survey.missing))
    if not judged:
        why = (
            "no PCI function of this node has a devlink instance. Load its driver (`modprobe mlx5_core`, "
            "`modprobe ice`); `devlink dev show` lists them, to a pod with `hostNetwork: true` alone."
        )
        return Obstacle(Reason.PARENT_NOT_FOUND, why)
    each = [(str(parent.function.handle), flavour) for parent, flavours in judged for flavour in flavours]
    return None if any(flavour.possible for _, flavour in each) else most_telling(each)


def _condition(old: NodeStatus, obstacle: Obstacle | None, now: str) -> tuple[Condition]:
    said = str(obstacle is None)
    before = old.condition(ConditionType.READY)
    return (
        Condition(
            type=ConditionType.READY,
            status=said,
            reason=obstacle.reason if obstacle else Reason.READY,
            message=_cut(obstacle.message, LONGEST_CONDITION) if obstacle else "",
            last_transition_time=before.last_transition_time if before and before.status == said else now,
            observed_generation=1,  # it has no spec that could change
        ),
    )


def _parent(parent: SurveyedParent, flavours: tuple[Possibility, ...]) -> ParentStatus:
    function, uplink = parent.function, parent.uplink
    # A name that was cut names nothing: such a type is counted with those that have no room.
    types = tuple(each for each in parent.types if len(each.id) <= LONGEST_TYPE)[:MOST_TYPES]
    functions, more_functions = _bounded(parent.virtual_functions, MOST_VIRTUAL_FUNCTIONS)
    foreign, more_foreign = _bounded(parent.foreign, MOST_FOREIGN)
    return ParentStatus(
        device=str(function.handle),
        netdev=uplink.netdev if uplink else None,
        driver=_cut(function.driver, LONGEST_WORD) if function.driver else None,
        vendor=function.vendor.removeprefix("0x")[:16] if function.vendor else None,
        numa_node=function.numa_node,
        eswitch_mode=parent.mode.name.lower() if parent.mode is not None else None,
        pf=uplink.port_number if uplink else None,
        capacity=parent.capacity,
        flavours=flavours,
        mediated_types=types,
        more_mediated_types=len(parent.types) - len(types),
        virtual_functions=functions,
        more_virtual_functions=more_functions,
        foreign_sub_functions=foreign,
        more_foreign_sub_functions=more_foreign,
    )


def _bounded(found: tuple[T, ...], most: int) -> tuple[tuple[T, ...], int]:
    return found[:most], max(0, len(found) - most)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
