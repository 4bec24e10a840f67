"""Killed at any step of any flavour's life and started again: the matrix of `make crash-matrix`, in one process.

The same stories and the same lines to compare the kernel with; here the end of the agent is an exception, and the
written object is a dictionary, so that it is quick enough for every day.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from matrix.flavour import NUMBER, Flavour, Operation
from matrix.flavours import FLAVOURS
from matrix.sight import paths, sight
from rig.world import Killed, World
from subfunction.state.claims import PortClaim
from subfunction.state.records import State, find_mismatch
from subfunction_operator.agent.model.decision import Settled
from subfunction_operator.agent.model.observation import NodePolicy

UID = "uid-blue"
DIRECT = NodePolicy()
CDI = NodePolicy(device_nodes="cdi", net_devices=tuple(f"subfunction.dev/{kind}" for kind in ("mlx5", "ice", "virtio")))


class Life:
    """One object of a flavour on a node of its own, on which somebody else has number 1."""

    def __init__(self, root: Path, flavour: Flavour, policy: NodePolicy) -> None:
        self.flavour = flavour
        self.world = World(root, flavour.topology, policy=policy)
        self.world.foreign(1)
        self.spec: dict[str, Any] = {}
        self.baseline = Counter(sight(self.world.kernel))
        self.clean = paths(root / "sys")
        self.identity: str | None = None

    def ask(self, operation: Operation) -> None:
        if operation.spec is None:
            self.world.delete()
        else:
            self.spec = merged(self.spec, operation.spec)
            self.world.apply(**self.spec)

    def killed(self, moment: int) -> bool:
        """Work until the moment comes; false where there are not so many."""
        self.world.restart(kill_at=moment)
        try:
            self.world.settle()
        except Killed:
            # Whatever was the last thing done: nobody is offered what container runtimes or Multus cannot find.
            assert self.world.wrong_papers() == [], f"killed at {moment} after {self.world.seam.steps}"
            return True
        return False

    def finished(self, operation: Operation, where: str) -> None:
        """Start another agent, and compare all there is with what must be."""
        world = self.world
        world.restart()
        if UID in world.objects or world.records.read(UID) is not None:
            result = world.settle()
            assert (result.error, result.decision) == (None, Settled()), where
        wanted = Counter(self.baseline)
        status = world.objects[UID].status if UID in world.objects else None
        words = {"mac": status and status.mac_address, "id": status and status.device and status.device.id}
        for line in operation.lines:
            wanted.subtract([line[1:]]) if line.startswith("-") else wanted.update([line.format(**words)])
        assert sorted((+wanted).elements()) == sight(world.kernel), where
        names = [path.name for path in world.records.path.glob("*")]
        if operation.spec is None:
            assert (names, world.objects, paths(world.root / "sys")) == ([], {}, self.clean), where
            artifacts = (world.papers.cdi, world.papers.device_info)
            assert [path for folder in artifacts for path in folder.glob("*")] == [], where
            return
        assert names == [f"{UID}.json"], where
        self.assert_offered(where)

    def assert_offered(self, where: str) -> None:
        """See that the record offers what the status shows, and what is there."""
        record, status = self.world.record(), self.world.objects[UID].status
        assert (record.state, record.health.healthy, find_mismatch(record.witness, self.world.sysfs)) == (
            State.READY,
            True,
            None,
        ), where
        assert self.world.wrong_papers() == [], where
        assert bool(record.cdi_name) is (self.world.policy is CDI and bool(record.all_nodes or record.link)), where
        assert (record.cdi_nodes if self.world.policy is DIRECT else record.nodes) == (), where
        assert status.device is not None, where
        assert record.device_id == status.device.id, where
        if isinstance(record.claim, PortClaim):
            assert (record.claim.number, status.number) == (NUMBER, NUMBER), where
        if self.flavour.topology.parents[0].driver == "mlx5_core" and ".sf." not in status.device.id:
            assert self.identity in {None, status.device.id}, where
            self.identity = status.device.id


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as `kubectl patch --type merge` does."""
    deep = {key: merged(old.get(key, {}), value) for key, value in new.items() if isinstance(value, dict)}
    return {**old, **new, **deep}


def lives(root: Path, flavour: Flavour, policy: NodePolicy) -> Iterator[tuple[Life, int]]:
    """Give a new life for each moment of its longest operation: before the first step, and after each."""
    undisturbed = Life(root / "undisturbed", flavour, policy)
    most = 0
    for operation in flavour.operations:
        undisturbed.ask(operation)
        undisturbed.world.restart()
        undisturbed.world.settle()
        most = max(most, undisturbed.world.seam.moments)
        undisturbed.finished(operation, f"{operation.name}, undisturbed")
    assert most > 0
    for moment in (0, *range(1, most, 2)):
        yield Life(root / str(moment), flavour, policy), moment


@pytest.mark.parametrize("policy", [DIRECT, CDI], ids=["direct", "cdi"])
@pytest.mark.parametrize("name", FLAVOURS)
def test_killed_at_any_step_of_its_life_it_is_what_is_asked_for_after_the_next_start(
    root: Path, name: str, policy: NodePolicy
) -> None:
    for life, moment in lives(root, FLAVOURS[name], policy):
        for operation in life.flavour.operations:
            life.ask(operation)
            life.killed(moment)
            life.finished(operation, f"{operation.name}, killed at moment {moment}")


@pytest.mark.parametrize("records_survive", [False, True], ids=["run is empty", "records survive"])
@pytest.mark.parametrize("name", FLAVOURS)
def test_killed_at_any_step_of_its_creation_and_the_node_boots(root: Path, name: str, *, records_survive: bool) -> None:
    created = FLAVOURS[name].operations[0]
    for life, moment in lives(root, FLAVOURS[name], CDI):
        life.ask(created)
        if not life.killed(moment):
            break
        life.world.reboot(records_survive=records_survive)
        life.world.foreign(1)
        life.finished(created, f"killed at moment {moment}, then booted")


@pytest.mark.parametrize("records_survive", [False, True], ids=["run is empty", "records survive"])
@pytest.mark.parametrize("name", FLAVOURS)
def test_killed_at_any_step_of_its_deletion_and_the_node_boots_nothing_is_left(
    root: Path, name: str, *, records_survive: bool
) -> None:
    created, deleted = FLAVOURS[name].operations[0], FLAVOURS[name].operations[-1]
    for life, moment in lives(root, FLAVOURS[name], CDI):
        life.ask(created)
        life.world.settle()
        life.ask(deleted)
        if not life.killed(moment):
            break
        life.world.reboot(records_survive=records_survive)
        life.world.foreign(1)
        life.world.settle()
        assert (life.world.objects, life.world.records.read_all().items) == ({}, {}), moment
        assert life.world.wrong_papers() == [], moment
        assert Counter(sight(life.world.kernel)) == life.baseline, moment


@pytest.mark.parametrize(
    ("name", "node"), [("virtio-vhost", "vhost-vdpa-0"), ("vfio-vf", "vfio/"), ("vfio-mdev", "vfio/")], ids=str
)
def test_killed_while_the_kernel_waits_for_a_holder_the_next_one_waits_too_and_then_all_goes(
    root: Path, name: str, node: str
) -> None:
    life = Life(root, FLAVOURS[name], DIRECT)
    life.spec = {"deletionPolicy": "Force"}
    life.ask(life.flavour.operations[0])
    life.world.settle()
    opened = next(
        each
        for each in life.world.record().nodes
        if each.host_path.startswith(f"/dev/{node}") and (not each.host_path.endswith("/vfio"))
    )
    with life.world.kernel.hold_open(opened.host_path.removeprefix("/dev/")):
        life.ask(life.flavour.operations[-1])
        for _ in range(2):
            life.world.restart()
            result = life.world.settle()
            assert result.error is not None or result.decision != Settled()
            assert life.world.records.read(UID) is not None
    life.world.restart()
    life.world.settle()
    assert (life.world.objects, life.world.records.read_all().items) == ({}, {})
    left = [line for line in sight(life.world.kernel) if line not in life.baseline]
    assert left == [line for line in left if " vf 0: " in line]
