"""Allocate against draining: the agent's own plan and steps, the plugin's own allocator, in any order of their steps.

The agent stops at each step of its executor and at each look at who holds what; there the other side goes on by as many
steps as chance gives. `make crash-matrix` has ten thousand of these; `make test` a few hundred.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from rig.world import World
from subfunction.errors import AllocationRefused
from subfunction.kubelet import checkpoint as account
from subfunction.kubelet.deviceplugin_pb2 import ContainerAllocateResponse
from subfunction.kubelet.podresources_pb2 import ListPodResourcesResponse
from subfunction.state.ledger import NEVER_SEEN_SECONDS, open_ledger
from subfunction.state.records import Record
from subfunction.state.resource_names import open_resource_names
from subfunction_deviceplugin.allocator import Allocator
from subfunction_deviceplugin.node_state import NodeStateReader
from subfunction_operator.agent.execute.executor import Executor
from subfunction_operator.agent.model.observation import Usage
from subfunction_operator.agent.model.steps import Effect, RemoveMediated
from subfunction_operator.agent.observe.observer import Observer
from subfunction_operator.agent.observe.usage import AllocationSnapshot, Kubelet, UsageReader
from subfunction_operator.agent.reconcile.reconciler import Reconciler
from subfunction_simulator.kernel import Parent, Topology
from subfunction_simulator.kernel.topology import MediatedType
from subfunction_simulator.kubelet.device_manager import checkpoint
from subfunction_simulator.kubelet.device_manager.devices import Allocation

RACES: Final = int(os.environ.get("SUBFUNCTION_RACES", "400"))
SHARDS: Final = 4
TYPE: Final = "mlx5_core-local"
UID: Final = "uid-blue"
NODE: Final = Topology(parents=(Parent(bdf="0000:03:00.0", netdev="enp3s0np0", mediated_types=(MediatedType(TYPE),)),))
_SETTLES: Final = 60


class Checkpoint(Kubelet):
    """A kubelet whose account is its file alone: who has a device stands there last, and goes first."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent, path.parent)
        self._path = path

    def snapshot(self, age: float = 0.0) -> AllocationSnapshot:  # noqa: ARG002  # always fresh
        return AllocationSnapshot(ListPodResourcesResponse(), account.read_checkpoint(self._path))


class Watched:
    """Lets the other side go on before each look at who holds a device."""

    def __init__(self, race: "Race", holders: UsageReader) -> None:
        self._race = race
        self._holders = holders

    def usage(self, record: Record | None, *, refresh: bool) -> Usage:
        self._race.others_go_on()
        found = self._holders.usage(record, refresh=refresh)
        self._race.others_go_on()
        return found


class Race:
    """One node, whose one device is wanted by two pods while a person deletes its object."""

    def __init__(self, root: Path) -> None:
        self.world = world = World(root, NODE)
        boot = (root / "boot_id").read_text().strip()
        self.file = root / "kubelet" / account.CHECKPOINT
        self.file.parent.mkdir()
        self.sources = NodeStateReader(
            world.records,
            open_ledger(root / "allocations"),
            open_resource_names(root / "state"),
            self.file,
            world.sysfs,
            boot,
        )
        self.now = 0.0
        self.allocator = Allocator(self.sources, clock=lambda: self.now)
        self.step: Effect | None = None
        holders = Watched(self, UsageReader(self.sources.ledger, Checkpoint(self.file)))
        observer = Observer(world.sysfs, world.records, world.papers, holders, boot)
        world.reconciler = Reconciler(observer, Executor(world.sysfs, world.records, world.papers, self), world.policy)
        self.chance = random.Random()
        self.others: list[Iterator[None]] = []
        self.memory: dict[str, tuple[str, str]] = {}
        self.running: set[str] = set()
        self.admitting = self.torn_down = self.answering = False
        self.handed_out = self.refused = 0

    # --- the agent's seam ---

    def before(self, uid: str, step: Effect) -> None:
        self.step = step
        self.others_go_on()
        if isinstance(step, RemoveMediated):
            assert not self.running, f"{uid} is torn down while {self.running} have it"
            self.torn_down = True

    def after(self, uid: str, step: Effect) -> None:
        assert uid == UID
        assert step is self.step
        self.others_go_on()

    def others_go_on(self) -> None:
        """Let pods, kubelet and plugin take a few steps, in any order."""
        while self.others and self.chance.random() < 0.6:
            other = self.chance.choice(self.others)
            if next(other, self) is self:
                self.others.remove(other)

    # --- the other side ---

    def pod(self, name: str, device: str, resource: str) -> Iterator[None]:
        """Admit a pod, run it, end it: the plugin's two halves, then what the kubelet notes, each on its own."""
        while self.admitting or self.memory:
            yield
        self.admitting = self.answering = True
        pending = self.allocator.reserve(resource, {device: UID})
        yield
        try:
            self.allocator.validate(pending)
        except AllocationRefused:
            self.allocator.rollback(pending)
            self.refused += 1
            self.admitting = self.answering = False
            return
        assert not self.torn_down, "a device that was torn down is handed out"
        self.handed_out += 1
        self.running.add(name)
        self.answering = False
        yield
        self.memory[name] = (device, resource)
        yield
        self.kubelet_writes()
        self.admitting = False
        yield
        self.running.remove(name)
        yield
        del self.memory[name]
        yield
        self.kubelet_writes()

    def settling(self) -> Iterator[None]:
        """End entries, never within an answer: both are of one thread."""
        while True:
            if not self.answering:
                self.allocator.expire(self.sources.holdings())
            yield

    def other_lists(self) -> Iterator[None]:
        """Messages of other plugins make the kubelet write its file at any moment."""
        while True:
            self.kubelet_writes()
            yield

    def kubelet_writes(self) -> None:
        answer = ContainerAllocateResponse(envs={account.UID_VARIABLE: UID})
        held = [
            Allocation(pod, "app", resource, {-1: frozenset({device})}, answer)
            for pod, (device, resource) in self.memory.items()
        ]
        checkpoint.write(self.file, held, {})

    def run(self, seed: int) -> None:
        """Make it, let them race, and see it gone."""
        self.chance, self.others, self.torn_down = random.Random(seed), [], False
        self.kubelet_writes()
        self.world.apply(flavour="vfio", vfio={"mediatedDevice": TYPE})
        assert self.world.settle().error is None
        record = self.world.record()
        pods = [self.pod(name, record.device_id, record.resource) for name in ("p1", "p2")]
        self.others = [*pods, self.settling(), self.other_lists()]
        self.world.delete()
        for _ in range(_SETTLES):
            if UID not in self.world.objects:
                break
            self.world.settle()
            self.others_go_on()
            if not set(pods) & set(self.others):
                # The kubelet may have noted a pod and its end between two looks of the plugin.
                self.now += NEVER_SEEN_SECONDS
        assert UID not in self.world.objects, f"seed {seed}: it is not gone"
        self.now += NEVER_SEEN_SECONDS
        for _ in range(_SETTLES):  # who came too late is refused
            for pod in pods:
                next(pod, None)
            assert not self.running, f"seed {seed}: a pod runs with what is gone"
        self.allocator.expire(self.sources.holdings())
        assert self.sources.ledger.read_all().items == {}


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_device_that_is_torn_down_is_never_handed_out_in_any_order_of_steps(root: Path, shard: int) -> None:
    race = Race(root)
    count = RACES // SHARDS
    for seed in range(shard * count, (shard + 1) * count):
        race.run(seed)
    # Both happened often, else the orders would prove nothing.
    assert min(race.handed_out, race.refused) > count // 4, (race.handed_out, race.refused)
