"""Chooses the devices that GetPreferredAllocation returns, by where they are and when they were used last. Pure.

First as few NUMA nodes as possible, then the PCIe roots of the devices that the container has already, then the parents
by policy, then the device that was given back the longest ago: a netdev returns late from a pod that has ended, so the
one used last is the worst one to allocate next. The kubelet follows the choice where its Topology Manager allows it.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

Policy: TypeAlias = Literal["packed", "spread"]

Group: TypeAlias = int | str | None


@dataclasses.dataclass(frozen=True, slots=True)
class DeviceTopology:
    """Where a device is; all devices of unknown NUMA node count as being on one node."""

    numa_node: int | None = None
    pcie_root: str = ""
    parent: str = ""


_NOWHERE = DeviceTopology()


@dataclasses.dataclass(frozen=True, slots=True)
class Criteria:
    """What a choice goes by.

    `places` has all devices of the resource, also those that are not available: they show how much of a parent is in
    use. `last_used` grows with time; an id that is not in it was never used.
    """

    places: Mapping[str, DeviceTopology]
    last_used: Mapping[str, float]
    policy: Policy = "spread"


def choose_preferred(
    available: Iterable[str], required: Iterable[str], size: int, criteria: Criteria
) -> tuple[str, ...]:
    """Choose `size` ids, with all required ones among them; fewer only where there are no more."""
    chosen = sorted(set(required))
    free = sorted(set(available) - set(chosen), key=lambda each: (criteria.last_used.get(each, 0.0), each))
    choice = _Choice(criteria, frozenset(free))
    near = choice.on_fewest(lambda place: place.numa_node, free, chosen, size - len(chosen))
    roots = {choice.place(each).pcie_root for each in chosen} - {""}
    for tier in (
        [each for each in near if choice.place(each).pcie_root in roots],
        [each for each in near if choice.place(each).pcie_root not in roots],
    ):
        missing = size - len(chosen)
        if criteria.policy == "packed":
            chosen += choice.on_fewest(lambda place: place.parent, tier, chosen, missing)[: max(missing, 0)]
        else:
            chosen += choice.spread(tier, chosen, missing)
    return tuple(sorted(chosen))


class _Key(Protocol):
    def __call__(self, place: DeviceTopology, /) -> Group: ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Choice:
    criteria: Criteria
    free: frozenset[str]

    def place(self, device_id: str) -> DeviceTopology:
        return self.criteria.places.get(device_id, _NOWHERE)

    def on_fewest(self, key: _Key, devices: Sequence[str], chosen: Sequence[str], missing: int) -> list[str]:
        """Return the devices of as few groups as have `missing`; groups with a chosen device come first."""
        groups: defaultdict[Group, list[str]] = defaultdict(list)
        for each in devices:
            groups[key(self.place(each))].append(each)
        used = self._used(key)
        homes = {key(self.place(each)) for each in chosen}
        in_order = sorted(groups, key=lambda group: self._rank(group, groups[group], used[group]))
        taken = [group for group in in_order if group in homes]
        rest = [group for group in in_order if group not in homes]
        lacking = missing - sum(len(groups[group]) for group in taken)
        while lacking > 0 and rest:
            # Take the first by rank with which, beside the largest others, no further group is needed.
            sizes = sorted((len(groups[group]) for group in rest), reverse=True)
            count = next((n for n in range(1, len(sizes) + 1) if sum(sizes[:n]) >= lacking), len(sizes))
            enough = min(lacking, sum(sizes))
            group = next(each for each in rest if _with_largest(len(groups[each]), sizes, count) >= enough)
            rest.remove(group)
            taken.append(group)
            lacking -= len(groups[group])
        return [each for group in taken for each in groups[group]]

    def spread(self, devices: Sequence[str], chosen: Sequence[str], missing: int) -> list[str]:
        """Choose devices one by one, of the parent with the fewest in this container, then of the least used one."""
        used = self._used(lambda place: place.parent)
        here = Counter(self.place(each).parent for each in chosen)
        queues: defaultdict[str, list[str]] = defaultdict(list)
        for each in devices:
            queues[self.place(each).parent].append(each)
        given: list[str] = []
        while queues and len(given) < missing:
            parent = min(queues, key=lambda each: (here[each], *self._rank(each, queues[each], used[each])))
            given.append(queues[parent].pop(0))
            here[parent] += 1
            if not queues[parent]:
                del queues[parent]
        return given

    def _used(self, key: _Key) -> Counter[Group]:
        """Count the devices in use of each group: all that are known and not available."""
        return Counter(key(place) for each, place in self.criteria.places.items() if each not in self.free)

    def _rank(self, group: Group, free: Sequence[str], used: int) -> tuple[float, float, float, str]:
        """Return the sort key of a group: by policy, then by the last use of its next device; the lowest is first."""
        rested = self.criteria.last_used.get(free[0], 0.0)
        name = str(group)
        return (
            (len(free), -used, rested, name) if self.criteria.policy == "packed" else (used, -len(free), rested, name)
        )


def _with_largest(size: int, sizes: Sequence[int], count: int) -> int:
    """Return the sum of a group of `size` and the largest others, `count` in all; `sizes` are sorted, largest first."""
    others = list(sizes)
    others.remove(size)
    return size + sum(others[: count - 1])
