"""The device manager remembers what plugins listed, and which container holds what. No I/O.

Sets throughout, as in the kubelet: ids have no order, and the choice among them is random.
"""

import dataclasses
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from subfunction.kubelet.deviceplugin_pb2 import ContainerAllocateResponse, Device

GRACE_SECONDS = 300.0
"""How long a resource without its plugin stays in the node's capacity."""


@dataclasses.dataclass(frozen=True, slots=True)
class Allocation:
    """An allocation says what one container holds of one resource; `nodes` has the ids by NUMA node, -1 for none."""

    pod_uid: str
    container: str
    resource: str
    nodes: Mapping[int, frozenset[str]]
    answer: ContainerAllocateResponse

    @property
    def ids(self) -> frozenset[str]:
        """Give all ids, whatever their NUMA node."""
        return frozenset[str]().union(*self.nodes.values())


@dataclasses.dataclass(slots=True)
class Resource:
    """A resource has devices by id, and the time since when its plugin is gone (None while it serves).

    `listed`: it counts from its first list on, not from its registration; then also after its plugin has gone.
    """

    listed: bool = False
    devices: dict[str, Device] = dataclasses.field(default_factory=dict)
    unhealthy: set[str] = dataclasses.field(default_factory=set)
    stopped_at: float | None = None

    @property
    def healthy(self) -> set[str]:
        """Give the ids that may be allocated."""
        return self.devices.keys() - self.unhealthy


class Unavailable(Exception):
    """There are too few devices; the text is the kubelet's own."""


class DeviceTable:
    """The table keeps all resources and allocations. `clock` counts the grace of resources after their plugin's end."""

    def __init__(self, clock: Callable[[], float], chance: random.Random) -> None:
        self.resources: dict[str, Resource] = {}
        self.allocations: list[Allocation] = []
        self._allocated: defaultdict[str, set[str]] = defaultdict(set)
        self._clock = clock
        self._chance = chance

    def connect(self, resource: str) -> None:
        """Note that a plugin registered: its devices, if any were known, stay as they are until it lists them."""
        self.resources.setdefault(resource, Resource()).stopped_at = None

    def replace(self, resource: str, devices: Iterable[Device]) -> None:
        """Note that a message came: it replaces the whole table of the resource."""
        entry = self.resources.setdefault(resource, Resource())
        entry.listed = True
        entry.devices = {device.ID: device for device in devices}
        entry.unhealthy = {device_id for device_id, device in entry.devices.items() if device.health != "Healthy"}

    def disconnect(self, resource: str) -> None:
        """Note that the plugin is gone: nothing of it can be allocated, and its capacity stays for the grace."""
        if entry := self.resources.get(resource):
            entry.listed = True
            entry.unhealthy = set(entry.devices)
            entry.stopped_at = self._clock()

    def expire(self) -> bool:
        """Forget resources when their grace is over; say whether there were any."""
        now = self._clock()
        over = [
            name
            for name, entry in self.resources.items()
            if entry.stopped_at is not None and now - entry.stopped_at > GRACE_SECONDS
        ]
        for name in over:
            del self.resources[name]
        return bool(over)

    def restore(self, allocations: Iterable[Allocation], registered: Iterable[str]) -> None:
        """Begin as a restarted kubelet does: allocations as in the checkpoint, resources known by name alone."""
        self.allocations = list(allocations)
        self._recount()
        for resource in registered:
            self.resources[resource] = Resource(listed=True, stopped_at=self._clock())

    def forget_pods_but(self, active: Iterable[str]) -> None:
        """Free what ended pods held; the kubelet does so as it admits a pod or is asked for PodResources, no sooner."""
        alive = frozenset(active)
        self.allocations = [each for each in self.allocations if each.pod_uid in alive]
        self._recount()

    def of_container(self, pod_uid: str, container: str) -> Iterator[Allocation]:
        """Give what a container holds."""
        return (each for each in self.allocations if (each.pod_uid, each.container) == (pod_uid, container))

    def knows(self, resource: str) -> bool:
        """Say whether a limit is this manager's business: a resource that was registered or is allocated."""
        return self._find_listed(resource) is not None or resource in self._allocated

    def list_allocated(self, resource: str) -> frozenset[str]:
        """Give the ids of a resource that containers hold."""
        return frozenset(self._allocated.get(resource, ()))

    def check(self, resource: str, held: frozenset[str]) -> None:
        """Look whether a container may be admitted with what it holds of a resource already, if anything.

        Raises:
            Unavailable: there is no healthy device, or one that it holds is not healthy.
        """
        entry = self._find_listed(resource)
        if entry is None:
            raise Unavailable(f"cannot allocate unregistered device {resource}")
        if not entry.healthy:
            raise Unavailable(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
        if held - entry.healthy:
            raise Unavailable(
                f"previously allocated devices are no longer healthy; cannot allocate unhealthy devices {resource}"
            )

    def candidates(self, resource: str, needed: int, reusable: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Give what must be taken (devices of the pod's own init containers) and what may be chosen from.

        Raises:
            Unavailable: there are too few.
        """
        taken = frozenset(self._chance.sample(sorted(reusable), min(needed, len(reusable))))
        free = frozenset(self.resources[resource].healthy - self._allocated[resource] - taken)
        if len(free) < needed - len(taken):
            raise Unavailable(
                f"requested number of devices unavailable for {resource}. "
                f"Requested: {needed - len(taken)}, Available: {len(free)}"
            )
        return taken, free

    def choose(self, free: frozenset[str], preferred: Iterable[str], needed: int) -> list[str]:
        """Take the preferred ones that are free, fill up at random, and give them in random order."""
        hinted = sorted(free & set(preferred))[:needed]
        rest = self._chance.sample(sorted(free - set(hinted)), needed - len(hinted))
        return self._chance.sample(hinted + rest, needed)

    def shuffle(self, ids: Iterable[str]) -> list[str]:
        """Give ids in the random order in which they go over the wire."""
        unordered = sorted(ids)
        self._chance.shuffle(unordered)
        return unordered

    def record(
        self, pod_uid: str, container: str, resource: str, ids: Iterable[str], answer: ContainerAllocateResponse
    ) -> None:
        """Note that a container holds devices."""
        nodes: defaultdict[int, set[str]] = defaultdict(set)
        for device_id in ids:
            if (device := self.resources[resource].devices.get(device_id)) is None:
                raise RuntimeError(f"{device_id} left the list during its own Allocate: a real kubelet panics here")
            for node in [each.ID for each in device.topology.nodes] or [-1]:
                nodes[node].add(device_id)
        by_node = {node: frozenset(of_node) for node, of_node in nodes.items()}
        self.allocations.append(Allocation(pod_uid, container, resource, by_node, answer))
        self._recount()

    def capacity(self) -> dict[str, int]:
        """Count the devices of each resource, healthy or not."""
        return {name: len(entry.devices) for name, entry in self.resources.items() if entry.listed}

    def allocatable(self) -> dict[str, int]:
        """Count the healthy devices of each resource, those in use among them."""
        return {name: len(entry.healthy) for name, entry in self.resources.items() if entry.listed}

    def health(self, pod_uid: str, container: str) -> dict[str, dict[str, str]]:
        """Give the health of what a container holds, by resource and id; what is not listed counts as healthy."""
        told: dict[str, dict[str, str]] = {}
        for held in self.of_container(pod_uid, container):
            entry = self.resources.get(held.resource, Resource())
            sick = {each for each, device in entry.devices.items() if device.health != "Healthy"}
            told[held.resource] = {each: "Unhealthy" if each in sick else "Healthy" for each in sorted(held.ids)}
        return told

    def _find_listed(self, resource: str) -> Resource | None:
        entry = self.resources.get(resource)
        return entry if entry is not None and entry.listed else None

    def _recount(self) -> None:
        self._allocated.clear()
        for each in self.allocations:
            self._allocated[each.resource] |= each.ids
