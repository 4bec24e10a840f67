"""The room that is left on a node's parents: the capacity that its agent reports, less what is assigned. Pure.

A SubFunction that names the node is counted, whether its agent knows of it yet or not, and so is every foreign
sub-function that the agent reports. One whose parent is neither named nor chosen yet is counted where its agent would
put it: on the fitting parent with the most room. One on a parent that the agent does not report, and one that fits no
parent, take no room. A parent whose capacity is unknown is never full: the kernel refuses what is too much.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable

from subfunction.api.node import FlavourCapability, NodeStatus, ParentStatus
from subfunction.api.subfunction import Flavour, ParentSpec, TemplateSpec
from subfunction_operator.controller.model.subfunction import CachedSubFunction


@dataclasses.dataclass(slots=True)
class _Use:
    """The use of one parent: counts, and the indexes and numbers that are taken."""

    sub_functions: int = 0
    functions: set[int] = dataclasses.field(default_factory=set)
    mediated: Counter[str] = dataclasses.field(default_factory=Counter)
    numbers: set[int] = dataclasses.field(default_factory=set)


class NodeCapacity:
    """One node's parents, and the use of each."""

    def __init__(self, status: NodeStatus, members: Iterable[CachedSubFunction]) -> None:
        self.parents = {parent.device: parent for parent in status.parents}
        self._use = {device: _Use() for device in self.parents}
        for parent in status.parents:
            ours = [foreign for foreign in parent.foreign_sub_functions if foreign.controller == 0]
            use = self._use[parent.device]
            use.sub_functions += len(ours) + parent.more_foreign_sub_functions
            use.numbers.update(foreign.number for foreign in ours if foreign.number is not None)
        undecided = []
        for member in members:
            if member.parent is not None:
                self.take(member.parent, member.spec, member.number)
            else:
                undecided.append(member)
        for member in sorted(undecided, key=lambda member: member.name):
            fitting = [parent for parent in self.can_make(member.spec.flavour) if fits(member.asks, parent)]
            if fitting:
                self.take(self.least_used(fitting, member.spec).device, member.spec, member.number)

    def can_make(self, flavour: Flavour) -> list[ParentStatus]:
        """List the parents that can make a flavour, whether or not they have room."""
        return [
            parent
            for parent in self.parents.values()
            if (can := capability(parent, flavour)) is not None and can.possible
        ]

    def take(self, device: str, spec: TemplateSpec, number: int | None = None) -> None:
        """Count one more on a parent; do nothing for a parent that the agent does not report."""
        use = self._use.get(device)
        if use is None:
            return
        if spec.flavour is not Flavour.VFIO:
            use.sub_functions += 1
            if number is not None:
                use.numbers.add(number)
        elif spec.vfio.virtual_function is not None:
            use.functions.add(spec.vfio.virtual_function)
        elif spec.vfio.mediated_device is not None:
            use.mediated[spec.vfio.mediated_device] += 1

    def has_number(self, device: str, number: int) -> bool:
        """Return whether a sub-function of that number exists or is assigned."""
        return number in self._use[device].numbers

    def has_function(self, device: str, index: int) -> bool:
        """Return whether the virtual function of that index exists, has an IOMMU group and is not assigned."""
        parent = self.parents[device]
        there = any(function.index == index and function.group is not None for function in parent.virtual_functions)
        return there and index not in self._use[device].functions

    def used_count(self, device: str, spec: TemplateSpec) -> int:
        """Count what a parent has of the same sort: sub-functions, virtual functions, mediated devices of a type."""
        use = self._use[device]
        if spec.flavour is not Flavour.VFIO:
            return use.sub_functions
        if spec.vfio.mediated_device is not None:
            return use.mediated[spec.vfio.mediated_device]
        return len(use.functions)

    def free(self, device: str, spec: TemplateSpec) -> int | None:
        """Return how many more of a sort fit on a parent; None where its driver reports no capacity."""
        parent, use = self.parents[device], self._use[device]
        if spec.flavour is not Flavour.VFIO:
            return None if parent.capacity is None else max(0, parent.capacity - use.sub_functions)
        if spec.vfio.mediated_device is None:
            listed = {function.index for function in parent.virtual_functions if function.group is not None}
            return len(listed - use.functions)
        capacity = next((each.capacity for each in parent.mediated_types if each.id == spec.vfio.mediated_device), 0)
        return None if capacity is None else max(0, capacity - use.mediated[spec.vfio.mediated_device])

    def least_used(self, among: Iterable[ParentStatus], spec: TemplateSpec) -> ParentStatus:
        """Return the parent with the most room; of several, the first by handle."""

        def last_choice(parent: ParentStatus) -> tuple[bool, bool, int, str]:
            free = self.free(parent.device, spec)
            # A parent of unknown capacity comes last, as it does with the agent, but before one that is full.
            load = self.used_count(parent.device, spec) if free is None else -free
            return free == 0, free is None, load, parent.device

        return min(among, key=last_choice)


def fits(wanted: ParentSpec, parent: ParentStatus) -> bool:
    """Return whether a parent is one that a spec asks for."""
    if wanted.device is not None:
        return wanted.device == parent.device
    if wanted.netdev is not None:
        return wanted.netdev in {parent.netdev, *parent.alternative_names}
    selector = wanted.selector
    return (
        selector is not None
        and selector.driver in {None, parent.driver}
        and selector.vendor in {None, parent.vendor}
        and selector.numa_node in {None, parent.numa_node}
    )


def capability(parent: ParentStatus, flavour: Flavour) -> FlavourCapability | None:
    """Return what the agent reports of a flavour on a parent; None if it reports nothing."""
    return next((each for each in parent.flavours if each.name is flavour), None)
