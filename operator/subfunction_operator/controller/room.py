"""What a node's parents can still take: what its agent says they can, less what is assigned. Pure.

Counted is every SubFunction that names the node, whether its agent knows of it yet or not, and what the agent found
that is nobody's. One that names its parent by a selector, and for which none was chosen yet, is counted where its agent
would put it: on the fitting parent with the most room.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable

from subfunction.api import Flavour, ParentSpec, TemplateSpec
from subfunction.api_node import NodeStatus, ParentStatus, Possibility
from subfunction_operator.controller.member import Member


@dataclasses.dataclass(slots=True)
class _Use:
    """What is taken of one parent."""

    sub_functions: int = 0
    functions: set[int] = dataclasses.field(default_factory=set)
    mediated: Counter[str] = dataclasses.field(default_factory=Counter)
    numbers: set[int] = dataclasses.field(default_factory=set)


class Room:
    """One node's parents, and what is taken of them."""

    def __init__(self, status: NodeStatus, members: Iterable[Member]) -> None:
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
            fitting = [parent for parent in self.able(member.spec.flavour) if fits(member.asks, parent)]
            if fitting:
                self.take(self.roomiest(fitting, member.spec).device, member.spec, member.number)

    def able(self, flavour: Flavour) -> list[ParentStatus]:
        """Give the parents that can make a flavour, room left aside."""
        return [parent for parent in self.parents.values() if (can := of(parent, flavour)) is not None and can.possible]

    def take(self, device: str, spec: TemplateSpec, number: int | None = None) -> None:
        """Count one more on a parent; one that the agent does not show has nothing to count."""
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
        """Whether a sub-function of that number is there, or assigned."""
        return number in self._use[device].numbers

    def has_function(self, device: str, index: int) -> bool:
        """Whether the virtual function of that index is there and nobody's."""
        parent = self.parents[device]
        there = any(function.index == index and function.group is not None for function in parent.virtual_functions)
        return there and index not in self._use[device].functions

    def taken(self, device: str, spec: TemplateSpec) -> int:
        """Count those of the same sort on a parent."""
        use = self._use[device]
        if spec.flavour is not Flavour.VFIO:
            return use.sub_functions
        if spec.vfio.mediated_device is not None:
            return use.mediated[spec.vfio.mediated_device]
        return len(use.functions)

    def free(self, device: str, spec: TemplateSpec) -> int | None:
        """Give how many more of a sort fit on a parent; None where its driver does not tell."""
        parent, use = self.parents[device], self._use[device]
        if spec.flavour is not Flavour.VFIO:
            return None if parent.capacity is None else max(0, parent.capacity - use.sub_functions)
        if spec.vfio.mediated_device is None:
            listed = {function.index for function in parent.virtual_functions if function.group is not None}
            return len(listed - use.functions)
        capacity = next((each.capacity for each in parent.mediated_types if each.id == spec.vfio.mediated_device), 0)
        return None if capacity is None else max(0, capacity - use.mediated[spec.vfio.mediated_device])

    def roomiest(self, among: Iterable[ParentStatus], spec: TemplateSpec) -> ParentStatus:
        """Give the one with the most room, the first by handle where several have it."""

        def last_choice(parent: ParentStatus) -> tuple[bool, bool, int, str]:
            free = self.free(parent.device, spec)
            # One that does not tell its room comes last, as it does with the agent, but before one that has none.
            load = self.taken(parent.device, spec) if free is None else -free
            return free == 0, free is None, load, parent.device

        return min(among, key=last_choice)


def fits(wanted: ParentSpec, parent: ParentStatus) -> bool:
    """Whether a parent is what a spec asks for."""
    if wanted.device is not None:
        return wanted.device == parent.device
    if wanted.netdev is not None:
        return wanted.netdev == parent.netdev
    selector = wanted.selector
    return (
        selector is not None
        and selector.driver in {None, parent.driver}
        and selector.vendor in {None, parent.vendor}
        and selector.numa_node in {None, parent.numa_node}
    )


def of(parent: ParentStatus, flavour: Flavour) -> Possibility | None:
    """Give what the agent says of a flavour on a parent."""
    return next((each for each in parent.flavours if each.name is flavour), None)
