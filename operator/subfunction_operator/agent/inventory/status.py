"""Builds the status of a SubFunctionNode from what was discovered. Pure; the time is an argument.

The status contains no time and no counter but the `lastTransitionTime` of a condition, which changes only with that
condition's status. So a discovery without news results in a status equal to the one before, which is not written. Items
beyond the schema's limits are left out and counted.
"""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from subfunction.api.conditions import Condition, ConditionType, date_condition
from subfunction.api.node import (
    LONGEST_CONDITION,
    LONGEST_KERNEL,
    LONGEST_NAME,
    LONGEST_TYPE,
    LONGEST_WORD,
    MOST_FOREIGN,
    MOST_NAMES,
    MOST_PARENTS,
    MOST_TYPES,
    MOST_VIRTUAL_FUNCTIONS,
    FlavourCapability,
    NodeStatus,
    ParentStatus,
)
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Flavour
from subfunction.errors import SubFunctionError
from subfunction_operator.agent.flavours.drivers import DRIVERS
from subfunction_operator.agent.inventory.capabilities import Blocker, capabilities, first_blocker
from subfunction_operator.agent.inventory.discovery import DiscoveredNode, DiscoveredParent

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class NodeFacts:
    """The facts that do not change while the agent runs: its own version, and the kernel's (`uname -r`)."""

    version: str
    kernel: str


def build_node_status(discovered: DiscoveredNode, about: NodeFacts, old: NodeStatus, now: str) -> NodeStatus:
    """Return the status of a node that was discovered; `now` is RFC 3339 in UTC."""
    judged = [(parent, capabilities(parent, discovered)) for parent in discovered.parents]
    before = {parent.device: parent for parent in old.parents}
    parents = [_parent_status(parent, flavours, before.get(str(parent.function.handle))) for parent, flavours in judged]
    capacities = [parent.capacity for parent in parents if parent.capacity is not None]
    possible = {each.name for _, flavours in judged for each in flavours if each.possible}
    return NodeStatus(
        conditions=_condition(old, _find_blocker(discovered, judged), now),
        agent_version=_truncate(about.version, LONGEST_WORD),
        kernel=_truncate(about.kernel, LONGEST_KERNEL),
        rdma_namespaces=discovered.rdma,
        drivers=tuple(sorted(discovered.drivers)),
        flavours=tuple(flavour for flavour in Flavour if flavour in possible),
        parent_count=len(discovered.parents),
        capacity=sum(capacities) if capacities else None,
        parents=tuple(parents[:MOST_PARENTS]),
    )


def build_unseen_status(error: SubFunctionError, about: NodeFacts, old: NodeStatus, now: str) -> NodeStatus:
    """Return a status that says why the discovery failed; all else stays as it was last discovered."""
    return msgspec.structs.replace(
        old,
        conditions=_condition(old, Blocker(error.reason, str(error)), now),
        agent_version=_truncate(about.version, LONGEST_WORD),
        kernel=_truncate(about.kernel, LONGEST_KERNEL),
    )


def _find_blocker(
    discovered: DiscoveredNode, judged: Sequence[tuple[DiscoveredParent, tuple[FlavourCapability, ...]]]
) -> Blocker | None:
    """Return why this node can make no sub-function of any flavour; None where it can make one."""
    if discovered.missing is not None:
        return Blocker(discovered.missing.reason, str(discovered.missing))
    if not judged:
        load = ", ".join(f"`modprobe {name}`" for name in DRIVERS)
        why = (
            f"no PCI function of this node has a devlink instance. Load its driver ({load}); "
            "`devlink dev show` lists them, to a pod with `hostNetwork: true` alone."
        )
        return Blocker(Reason.PARENT_NOT_FOUND, why)
    each = [(str(parent.function.handle), flavour) for parent, flavours in judged for flavour in flavours]
    return None if any(flavour.possible for _, flavour in each) else first_blocker(each)


def _condition(old: NodeStatus, obstacle: Blocker | None, now: str) -> tuple[Condition]:
    undated = Condition(
        type=ConditionType.READY,
        status=str(obstacle is None),
        reason=obstacle.reason if obstacle else Reason.READY,
        message=_truncate(obstacle.message, LONGEST_CONDITION) if obstacle else "",
        observed_generation=1,  # a SubFunctionNode has no spec that could change
    )
    return (date_condition(undated, old.condition(ConditionType.READY), now),)


def _parent_status(
    parent: DiscoveredParent, flavours: tuple[FlavourCapability, ...], before: ParentStatus | None
) -> ParentStatus:
    """Return the status of a parent; of one whose card is sick, what was known `before` and was not read now stays."""
    function, uplink = parent.function, parent.uplink
    # A type whose name is too long is counted with those left out: a name cut short would name another type or none.
    types = tuple(each for each in parent.types if len(each.id) <= LONGEST_TYPE)[:MOST_TYPES]
    functions, more_functions = _take_first(parent.virtual_functions, MOST_VIRTUAL_FUNCTIONS)
    foreign, more_foreign = _take_first(parent.foreign, MOST_FOREIGN)
    built = ParentStatus(
        device=str(function.handle),
        netdev=uplink.netdev if uplink else None,
        alternative_names=tuple(each for each in parent.alternative_names if len(each) <= LONGEST_NAME)[:MOST_NAMES],
        driver=_truncate(function.driver, LONGEST_WORD) if function.driver else None,
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
    if parent.error is None or before is None:
        return built
    return msgspec.structs.replace(
        built,
        netdev=before.netdev,
        alternative_names=before.alternative_names,
        eswitch_mode=built.eswitch_mode or before.eswitch_mode,
        pf=before.pf,
        capacity=before.capacity,
        foreign_sub_functions=before.foreign_sub_functions,
        more_foreign_sub_functions=before.more_foreign_sub_functions,
    )


def _take_first(found: tuple[T, ...], most: int) -> tuple[tuple[T, ...], int]:
    return found[:most], max(0, len(found) - most)


def _truncate(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
