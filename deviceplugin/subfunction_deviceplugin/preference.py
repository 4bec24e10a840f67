"""Which devices GetPreferredAllocation advises to take: a pure function of where they are and when they were used.

First as few NUMA nodes as can be, then the PCIe roots of what the container has already, then the parents by policy,
then the device that was given back the longest ago: a netdev returns late from a pod that has ended, so the one used
last is the worst one to hand out next. The kubelet takes the advice where its Topology Manager allows it.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

Policy: TypeAlias = Literal["packed", "spread"]

Group: TypeAlias = int | str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a device is; two of which neither tells its NUMA node count as being on one."""

    numa_node: int | None = None
    pcie_root: str = ""
    parent: str = ""


_NOWHERE = Place()


def preferred(  # noqa: PLR0913  # the kubelet's question, and what is known of the node
    available: Iterable[str],
    required: Iterable[str],
    size: int,
    *,
    places: Mapping[str, Place],
    last_used: Mapping[str, float],
    policy: Policy = "spread",
) -> tuple[str, ...]:
    """Choose `size` ids, all that are required among them; fewer only where there are no more.

    `places` are those of all devices of the resource, also of those that are not available: they tell how much a parent
    is in use. `last_used` grows with time; an id that is not in it was never used.
    """
    chosen = sorted(set(required))
    free = sorted(set(available) - set(chosen), key=lambda each: (last_used.get(each, 0.0), each))
    choice = _Choice(places, last_used, policy, frozenset(free))
    near = choice.on_fewest(lambda place: place.numa_node, free, chosen, size - len(chosen))
    roots = {choice.place(each).pcie_root for each in chosen} - {""}
    for tier in (
        [each for each in near if choice.place(each).pcie_root in roots],
        [each for each in near if choice.place(each).pcie_root not in roots],
    ):
        missing = size - len(chosen)
        if policy == "packed":
            chosen += choice.on_fewest(lambda place: place.parent, tier, chosen, missing)[: max(missing, 0)]
        else:
            chosen += choice.spread(tier, chosen, missing)
    return tuple(sorted(chosen))


class _Key(Protocol):
    def __call__(self, place: Place, /) -> Group: ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Choice:
    places: Mapping[str, Place]
    last_used: Mapping[str, float]
    policy: Policy
    free: frozenset[str]

    def place(self, device_id: str) -> Place:
        return self.places.get(device_id, _NOWHERE)

    def on_fewest(self, key: _Key, devices: Sequence[str], chosen: Sequence[str], missing: int) -> list[str]:
        """Give the devices of as few groups as have `missing`, those groups first in which something is chosen."""
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
            # The first by rank with which the largest others still need no group more.
            sizes = sorted((len(groups[group]) for group in rest), reverse=True)
            count = next((n for n in range(1, len(sizes) + 1) if sum(sizes[:n]) >= lacking), len(sizes))
            enough = min(lacking, sum(sizes))
            group = next(each for each in rest if _with_largest(len(groups[each]), sizes, count) >= enough)
            rest.remove(group)
            taken.append(group)
            lacking -= len(groups[group])
        return [each for group in taken for each in groups[group]]

    def spread(self, devices: Sequence[str], chosen: Sequence[str], missing: int) -> list[str]:
        """Give one device after the other, of the parent that this container has fewest of, and then of the idlest."""
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
        """Count what is in use of each group: all that is known and not available."""
        return Counter(key(place) for each, place in self.places.items() if each not in self.free)

    def _rank(self, group: Group, free: Sequence[str], used: int) -> tuple[float, float, float, str]:
        """Rank a group by the policy, then by how long its next device has rested; the lowest is the first."""
        rested = self.last_used.get(free[0], 0.0)
        name = str(group)
        return (len(free), -used, rested, name) if self.policy == "packed" else (used, -len(free), rested, name)


def _with_largest(size: int, sizes: Sequence[int], count: int) -> int:
    """Add up a group of `size` and the largest others, `count` groups in all; `sizes` are sorted, the largest first."""
    others = list(sizes)
    others.remove(size)
    return size + sum(others[: count - 1])
