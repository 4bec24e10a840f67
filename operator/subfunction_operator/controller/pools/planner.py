"""Plans what a pool creates, deletes and changes on one node. Pure; `rollout.py` orders the plans of all nodes.

A slot is a place in a group: the sub-functions of one parent, or of one node, as the pool's `per` says. Missing
information deletes nothing: a node whose agent does not report, or a parent that it does not report, keeps what it has.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from subfunction.api.node import ParentStatus
from subfunction.api.pool import LONGEST_TROUBLE, Per, SubFunctionPool, Trouble
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import TemplateSpec
from subfunction_operator.controller.model.capacity import capability, fits
from subfunction_operator.controller.model.metadata import AppliedMetadata
from subfunction_operator.controller.model.names import subfunction_name
from subfunction_operator.controller.model.plans import Change, Creation, NodeContext, NodePlan
from subfunction_operator.controller.model.subfunction import CachedSubFunction

FIXED: Final = ("flavour", "resource_name", "vfio")
"""Fields of a template that an existing sub-function cannot change; the CRD refuses it."""

QUIET: Final = ("deletion_policy",)
"""Fields of a template that change nothing about the device."""

Taken = Callable[[str], bool]
"""Whether a SubFunction of a name exists, of this pool or not."""


@dataclasses.dataclass(slots=True)
class _Group:
    """The slots of one parent, or of one node."""

    label: str
    """The parent's handle; empty where the slots are the node's."""
    parents: list[ParentStatus]
    """The parents to choose from for each new slot; empty where none can be created."""
    wanted: int
    members: list[CachedSubFunction] = dataclasses.field(default_factory=list)
    known: bool = True
    """Whether the agent reports the parent."""


def plan_node(pool: SubFunctionPool, site: NodeContext, taken: Taken) -> NodePlan:
    """Plan one node of a pool; `taken` returns whether a name is in use."""
    if not site.selected:
        return _plan_unselected(site)
    marks = AppliedMetadata.of(pool)
    groups, surplus = _group(pool, site)
    deletions = [member for member in surplus if not member.deleting]
    creations: list[Creation] = []
    troubles: list[Trouble] = []
    unavailable = 0
    for group in groups:
        alive = [member for member in group.members if not member.deleting]
        # One that is being deleted keeps its slot, and its room, until it is gone.
        missing = group.wanted - len(group.members)
        too_many = sorted(alive, key=_deletion_order)[: max(0, len(alive) - group.wanted)]
        deletions += too_many
        made = _plan_creations(pool, site, group, missing, taken)
        creations += made
        if missing > len(made):
            troubles.append(_missing_trouble(site, group, missing - len(made), pool.spec.template.spec))
        gone = [member for member in group.members if member.deleting and not member.in_use]
        unready = [member for member in alive if not member.ready and not member.in_use]
        unavailable += len(made) + len(unready) + min(len(gone), max(0, group.wanted - len(alive)))
    staying = [member for group in groups for member in group.members if not member.deleting]
    if not troubles and (failed := [member for member in staying if member.failed]):
        troubles.append(_failed_trouble(site.node, failed, len(staying)))
    if not troubles and site.status is None and (pool.spec.node_selector or staying):
        words = (
            "its agent has not said what it can do; see"
            f" `kubectl get pods -A -o wide --field-selector spec.nodeName={site.node}`"
        )
        troubles.append(Trouble(node=site.node, reason=Reason.NO_AGENT, message=words))
    outdated = {
        change.member.name: change for member in staying if (change := _plan_change(pool, member, marks)) is not None
    }
    leaving = {member.name for member in deletions}
    return NodePlan(
        node=site.node,
        creations=tuple(creations),
        deletions=tuple(deletions),
        changes=tuple(change for _, change in sorted(outdated.items()) if change.member.name not in leaving),
        desired=sum(group.wanted for group in groups),
        groups=tuple(sum(not member.deleting for member in group.members) for group in groups),
        current=sum(not member.deleting for member in site.members),
        ready=sum(member.ready and not member.deleting for member in site.members),
        updated=len(staying) - len(outdated),
        in_use=sum(member.in_use for member in site.members),
        unavailable=unavailable,
        trouble=troubles[0] if troubles else None,
        down=site.down,
    )


def wanted_spec(pool: SubFunctionPool, slot: int) -> TemplateSpec:
    """Return the spec of a slot: the template, with a virtual function of its own where it names one."""
    spec = pool.spec.template.spec
    first = spec.vfio.virtual_function
    if first is None:
        return spec
    return msgspec.structs.replace(spec, vfio=msgspec.structs.replace(spec.vfio, virtual_function=first + slot))


def _plan_unselected(site: NodeContext) -> NodePlan:
    """Plan a node that the pool does not select: all its sub-functions there are deleted."""
    alive = tuple(member for member in site.members if not member.deleting)
    return NodePlan(
        node=site.node,
        selected=False,
        deletions=tuple(sorted(alive, key=_deletion_order)),
        current=len(alive),
        in_use=sum(member.in_use for member in site.members),
    )


def _group(pool: SubFunctionPool, site: NodeContext) -> tuple[list[_Group], list[CachedSubFunction]]:
    """Divide the pool's members of a node into groups, and those on parents that the pool does not ask for."""
    spec, room = pool.spec, site.capacity
    asked = [parent for parent in room.parents.values() if _is_asked(pool, parent)] if room else []
    demanded = [parent for parent in asked if _is_demanded(pool, parent)]
    surplus = [
        member
        for member in site.members
        if room is not None and member.parent in room.parents and room.parents[member.parent] not in asked
    ]
    kept = [member for member in site.members if member not in surplus]
    if spec.per is Per.NODE:
        group = _Group("", [parent for parent in demanded if _is_possible(pool, parent)], spec.replicas, kept)
        return ([group] if demanded or kept else []), surplus
    groups = {
        parent.device: _Group(parent.device, [parent] if _is_possible(pool, parent) else [], spec.replicas)
        for parent in asked
        if parent in demanded or any(member.parent == parent.device for member in kept)
    }
    for member in kept:
        device = member.parent or ""
        if device not in groups:
            groups[device] = _Group(device, [], 0, known=False)
        group = groups[device]
        group.members.append(member)
        if not group.known:
            group.wanted = min(spec.replicas, group.wanted + 1)
    return list(groups.values()), surplus


def _is_asked(pool: SubFunctionPool, parent: ParentStatus) -> bool:
    # A parent whose netdev is missing for the moment may still be the one that was asked for.
    return not pool.spec.parents or any(
        fits(wanted, parent) or (wanted.netdev is not None and parent.netdev is None) for wanted in pool.spec.parents
    )


def _is_demanded(pool: SubFunctionPool, parent: ParentStatus) -> bool:
    """Return whether the pool should have sub-functions on a parent, even if it cannot at present."""
    can = capability(parent, pool.spec.template.spec.flavour)
    if can is None or can.possible:
        return can is not None
    by_name = any(fits(wanted, parent) and wanted.selector is None for wanted in pool.spec.parents)
    return by_name or (bool(pool.spec.parents) and can.reason is not Reason.UNSUPPORTED)


def _is_possible(pool: SubFunctionPool, parent: ParentStatus) -> bool:
    can = capability(parent, pool.spec.template.spec.flavour)
    fitting = not pool.spec.parents or any(fits(wanted, parent) for wanted in pool.spec.parents)
    return fitting and can is not None and can.possible


def _deletion_order(member: CachedSubFunction) -> tuple[bool, int, str]:
    return member.in_use, -(member.slot or 0), member.name


def _plan_creations(
    pool: SubFunctionPool, site: NodeContext, group: _Group, missing: int, taken: Taken
) -> list[Creation]:
    made: list[Creation] = []
    slot, room = 0, site.capacity
    while room is not None and group.parents and len(made) < missing:
        spec = wanted_spec(pool, slot)
        parent = room.least_used(group.parents, spec)
        if room.free(parent.device, spec) == 0:
            break
        index = spec.vfio.virtual_function
        if index is not None and index > max((each.index for each in parent.virtual_functions), default=-1):
            break
        name = subfunction_name(pool.name, site.node, group.label or None, slot)
        slot += 1
        if taken(name) or (index is not None and not room.has_function(parent.device, index)):
            continue
        room.take(parent.device, spec)
        made.append(Creation(name, site.node, parent.device, spec))
    return made


def _plan_change(pool: SubFunctionPool, member: CachedSubFunction, marks: AppliedMetadata) -> Change | None:
    """Return the change that brings a member to the template; None if it needs none."""
    spec, wanted = member.spec, wanted_spec(pool, member.slot or 0)
    marked = marks.on(member)
    if marked == AppliedMetadata(member.labels, member.annotations) and spec == wanted:
        return None
    differing = {name for name in wanted.__struct_fields__ if getattr(spec, name) != getattr(wanted, name)}
    return Change(member, wanted, marked, replace=bool(differing & set(FIXED)), quiet=not differing - set(QUIET))


def _missing_trouble(site: NodeContext, group: _Group, missing: int, spec: TemplateSpec) -> Trouble:
    label = group.label
    where = label or "its parents"
    room = site.capacity
    if group.parents and room is not None:
        noun = "virtual functions" if spec.vfio.virtual_function is not None else "sub-functions"
        why = f"{missing} of {group.wanted} do not fit on {where}: no room for more {noun};"
        why += f" `kubectl describe sfnode {site.node}` shows what each parent can have"
        return Trouble(node=site.node, reason=Reason.FULL, message=why)
    parents = [room.parents[label]] if room and label in room.parents else list(room.parents.values()) if room else []
    can = next((can for parent in parents if (can := capability(parent, spec.flavour)) and not can.possible), None)
    reason = can.reason if can is not None and can.reason is not None else Reason.PARENT_NOT_FOUND
    detail = f": {can.message}" if can is not None and can.message else ""
    words = f"{missing} of {group.wanted} cannot be made on {where}{detail}"
    return Trouble(node=site.node, reason=reason, message=words[:LONGEST_TROUBLE])


def _failed_trouble(node: str, failed: Sequence[CachedSubFunction], of_all: int) -> Trouble:
    first = failed[0]
    words = f"{len(failed)} of {of_all} have failed; see `kubectl describe sf {first.name}`"
    return Trouble(node=node, reason=first.failed, message=words[:LONGEST_TROUBLE])
