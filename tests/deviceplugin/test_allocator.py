"""The ledger's promises: made, refused, ended. Their race with the agent is in tests/agent/reconcile/test_race.py."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from subfunction.api.reasons import Reason
from subfunction.errors import AllocationRefused, CheckpointUnreadable, FolderError
from subfunction.kubelet.deviceplugin_pb2 import ContainerAllocateResponse
from subfunction.state.claims import PortClaim
from subfunction.state.ledger import NEVER_SEEN_SECONDS, LedgerEntry, open_ledger
from subfunction.state.records import Health, Record, State, Witness, open_records
from subfunction.state.resource_names import open_resource_names
from subfunction_deviceplugin.allocator import RETRY_SECONDS, Allocator, LedgerAction, next_action
from subfunction_deviceplugin.node_state import NodeStateReader
from subfunction_simulator.kubelet.device_manager import checkpoint
from subfunction_simulator.kubelet.device_manager.devices import Allocation

RESOURCE = "subfunction.dev/mlx5"
ID = "mlx5_core.sf.4"
UID = "uid-a"
BOOT = "boot"
RECORD = Record(
    uid=UID,
    name="a",
    boot_id=BOOT,
    state=State.READY,
    claim=PortClaim(flavour="mlx5", parent="pci/0000:05:00.0", pf=0, number=4, mac_address="02:00:00:00:00:01"),
    resource=RESOURCE,
    device_id=ID,
    health=Health(healthy=True),
    witness=Witness(inodes={"devices/a": 1}),
)


class Sysfs:
    """A sysfs in which each path has an inode, as long as it is there."""

    def __init__(self) -> None:
        self.inodes = {"devices/a": 1, "devices/b": 2}
        self.texts: dict[str, str] = {}

    def names(self, path: str) -> tuple[str, ...]:
        return tuple(sorted(each.removeprefix(f"{path}/") for each in self.inodes if each.startswith(f"{path}/")))

    def inode(self, path: str) -> int | None:
        return self.inodes.get(path)

    def target(self, path: str) -> str | None:
        return self.texts.get(path)

    def read(self, path: str) -> str | None:
        return self.texts.get(path)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """An allocator over real folders, a kubelet's checkpoint, and clocks that stand still."""

    def __init__(self, root: Path) -> None:
        self.sysfs = Sysfs()
        self.clock = Clock()
        self.wall = Clock()
        self.sources = NodeStateReader(
            records=open_records(root / "devices"),
            ledger=open_ledger(root / "allocations"),
            resources=open_resource_names(root / "state"),
            checkpoint=root / "kubelet_internal_checkpoint",
            sysfs=self.sysfs,
            boot=BOOT,
        )
        self.allocator = Allocator(self.sources, clock=self.clock, wall=self.wall)

    def kubelet_writes(self, **holders: str) -> None:
        """Write a checkpoint in which each pod holds the id, promised as the uid given."""
        allocations = [
            Allocation(
                pod,
                "app",
                RESOURCE,
                {-1: frozenset({ID})},
                ContainerAllocateResponse(envs={"SUBFUNCTION_UID": uid}),
            )
            for pod, uid in holders.items()
        ]
        checkpoint.write(self.sources.checkpoint, allocations, {})

    def allocate(self, uids: Mapping[str, str] | None = None) -> dict[str, Record]:
        return self.allocator.allocate(RESOURCE, uids or {ID: UID}, dict)

    def entries(self) -> dict[str, LedgerEntry]:
        return self.sources.ledger.read_all().items

    def settle(self) -> float | None:
        return self.allocator.expire(self.sources.holdings())[1]


@pytest.fixture
def desk(root: Path) -> Desk:
    desk = Desk(root)
    desk.sources.records.write(UID, RECORD)
    return desk


def test_what_is_ready_is_handed_out_and_stands_in_the_ledger(desk: Desk) -> None:
    assert desk.allocate() == {ID: RECORD}
    [entry] = desk.entries().values()
    assert (entry.uid, entry.resource, entry.device_id, entry.at) == (UID, RESOURCE, ID, desk.wall.now)


def unplug(desk: Desk) -> None:
    del desk.sysfs.inodes["devices/a"]


def rewrite(**changes: object) -> Callable[[Desk], None]:
    return lambda desk: desk.sources.records.write(UID, msgspec.structs.replace(RECORD, **changes))


def tear(desk: Desk) -> None:
    (desk.sources.records.path / f"{UID}.json").write_text("{")


def obstruct(desk: Desk, uid: str) -> Path:
    """Make a file of the ledger one that can be neither written nor removed: a folder stands there."""
    path = desk.sources.ledger.path / f"{uid}.json"
    path.unlink()
    path.mkdir()
    return path


MEANWHILE: dict[str, tuple[Callable[[Desk], None], Reason]] = {
    "drained": (rewrite(state=State.DRAINING), Reason.DRAINING),
    "coming back": (rewrite(state=State.RETURNING), Reason.RETURNING),
    "being prepared": (rewrite(state=State.PREPARING), Reason.PENDING),
    "unhealthy": (rewrite(health=Health(healthy=False)), Reason.NOT_READY),
    "of another boot": (rewrite(boot_id="another"), Reason.NOT_READY),
    "without a witness": (rewrite(witness=Witness()), Reason.NOT_READY),
    "under another id": (rewrite(device_id="mlx5_core.sf.9"), Reason.UNKNOWN_DEVICE),
    "of another resource": (rewrite(resource="subfunction.dev/other"), Reason.UNKNOWN_DEVICE),
    "deleted": (lambda desk: desk.sources.records.remove(UID), Reason.UNKNOWN_DEVICE),
    "torn": (tear, Reason.UNKNOWN_DEVICE),
    "unplugged": (unplug, Reason.NOT_READY),
    "made anew": (lambda desk: desk.sysfs.inodes.update({"devices/a": 99}), Reason.NOT_READY),
    "a pod's, as another": (lambda desk: desk.kubelet_writes(p1="uid-z"), Reason.ID_TAKEN),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_a_device_that_is_no_longer_as_listed_is_refused_and_leaves_no_entry(desk: Desk, what: str) -> None:
    meanwhile, reason = MEANWHILE[what]
    meanwhile(desk)
    with pytest.raises(AllocationRefused) as refusal:
        desk.allocate()
    assert refusal.value.reason is reason
    assert desk.entries() == {}


MOVABLE = Witness(inodes={"devices/a": 1}, movable={"devices/a/infiniband": 7}, numbers={"devices/a/uverbs2/dev": "2"})
"""Of a device whose RDMA device may be in a pod's network namespace."""


def test_a_device_whose_rdma_device_was_moved_is_given_and_its_container_starts(desk: Desk) -> None:
    rewrite(witness=MOVABLE)(desk)
    desk.sysfs.inodes["devices/a/infiniband/mlx5_2"] = 7
    desk.sysfs.texts["devices/a/uverbs2/dev"] = "2"
    assert list(desk.allocate()) == [ID]
    desk.kubelet_writes(p1=UID)
    del desk.sysfs.inodes["devices/a/infiniband/mlx5_2"]
    desk.allocator.validate_start(RESOURCE, {ID: UID})


@pytest.mark.parametrize(
    "change",
    [
        lambda sysfs: sysfs.inodes.update({"devices/a/infiniband/mlx5_2": 8}),
        lambda sysfs: sysfs.texts.update({"devices/a/uverbs2/dev": "3"}),
        lambda sysfs: sysfs.texts.clear(),
    ],
    ids=["made anew", "of another number", "without a verbs device"],
)
def test_a_device_whose_rdma_device_was_made_anew_or_renumbered_is_refused(
    desk: Desk, change: Callable[[Sysfs], None]
) -> None:
    rewrite(witness=MOVABLE)(desk)
    desk.sysfs.texts["devices/a/uverbs2/dev"] = "2"
    desk.allocate()
    desk.kubelet_writes(p1=UID)
    change(desk.sysfs)
    with pytest.raises(AllocationRefused) as refusal:
        desk.allocator.validate_start(RESOURCE, {ID: UID})
    assert refusal.value.reason is Reason.STALE_ALLOCATION


def test_one_device_that_cannot_be_given_leaves_no_entry_of_the_others(desk: Desk) -> None:
    other = msgspec.structs.replace(
        RECORD, uid="uid-b", device_id="mlx5_core.sf.5", state=State.DRAINING, witness=Witness(inodes={"devices/b": 2})
    )
    desk.sources.records.write("uid-b", other)
    with pytest.raises(AllocationRefused):
        desk.allocate({ID: UID, "mlx5_core.sf.5": "uid-b"})
    assert desk.entries() == {}


def test_a_refusal_leaves_an_older_promise_of_the_device_as_it_was(desk: Desk) -> None:
    desk.allocate()
    before = desk.entries()
    rewrite(state=State.DRAINING)(desk)
    desk.wall.now += 60
    with pytest.raises(AllocationRefused):
        desk.allocate()
    assert desk.entries() == before


def test_an_answer_that_cannot_be_made_or_comes_too_late_leaves_no_entry(desk: Desk) -> None:
    def unable(_: Mapping[str, Record]) -> None:
        raise AllocationRefused(Reason.UNSUPPORTED, "two paths")

    with pytest.raises(AllocationRefused, match="two paths"):
        desk.allocator.allocate(RESOURCE, {ID: UID}, unable)
    with pytest.raises(AllocationRefused, match="too late"):
        desk.allocator.allocate(RESOURCE, {ID: UID}, dict, until=desk.clock.now - 1)
    assert desk.entries() == {}


@pytest.mark.parametrize("error", [KeyError("records"), KeyboardInterrupt()])
def test_whatever_ends_an_answer_leaves_no_entry(desk: Desk, error: BaseException) -> None:
    def broken(_: Mapping[str, Record]) -> None:
        raise error

    with pytest.raises(type(error)):
        desk.allocator.allocate(RESOURCE, {ID: UID}, broken)
    assert desk.entries() == {}


def test_an_entry_that_cannot_be_taken_back_does_not_keep_the_others_nor_hide_the_refusal(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    other = msgspec.structs.replace(RECORD, uid="uid-b", device_id="mlx5_core.sf.5")
    desk.sources.records.write("uid-b", other)

    def unable(_: Mapping[str, Record]) -> None:
        obstruct(desk, UID)
        raise AllocationRefused(Reason.UNSUPPORTED, "two paths")

    with pytest.raises(AllocationRefused, match="two paths"):
        desk.allocator.allocate(RESOURCE, {ID: UID, "mlx5_core.sf.5": "uid-b"}, unable)
    assert [path.stem for path in desk.sources.ledger.path.glob("*.json")] == [UID]
    assert "cannot remove" in caplog.text


def test_nothing_is_handed_out_while_the_kubelets_checkpoint_cannot_be_read(desk: Desk) -> None:
    """The device is held as sf.9, which only the torn file tells."""
    desk.sources.checkpoint.write_text("{")
    with pytest.raises(CheckpointUnreadable) as refusal:
        desk.allocate()
    assert refusal.value.hint
    assert desk.entries() == {}


def test_nothing_is_handed_out_when_the_ledger_cannot_be_written(desk: Desk) -> None:
    desk.sources.ledger.path.write_text("a file where the folder should be")
    with pytest.raises(FolderError):
        desk.allocate()


def test_an_id_promised_as_another_sub_function_is_refused(desk: Desk) -> None:
    desk.sources.ledger.write("uid-z", LedgerEntry(uid="uid-z", resource=RESOURCE, device_id=ID, at=0.0))
    desk.allocator.load()
    with pytest.raises(AllocationRefused) as refusal:
        desk.allocate()
    assert refusal.value.reason is Reason.ID_TAKEN
    assert desk.entries().keys() == {"uid-z"}


HELD = {"pod-1/app"}


@pytest.mark.parametrize(
    ("seen", "before", "holders", "age", "expected"),
    [
        (False, (), None, 10_000.0, LedgerAction.KEEP),
        (True, (), None, 10_000.0, LedgerAction.KEEP),
        (False, (), HELD, 0.0, LedgerAction.MARK_SEEN),
        (True, (), HELD, 10_000.0, LedgerAction.KEEP),
        (True, (), set(), 0.0, LedgerAction.END),
        (False, (), set(), NEVER_SEEN_SECONDS - 1, LedgerAction.KEEP),
        (False, (), set(), NEVER_SEEN_SECONDS, LedgerAction.END),
        (False, ("pod-1/app",), HELD, 10_000.0, LedgerAction.KEEP),
        (False, ("pod-1/init",), HELD | {"pod-1/init"}, 0.0, LedgerAction.MARK_SEEN),
    ],
)
def test_an_entry_ends_when_it_was_seen_and_left_or_never_came(
    seen: bool,  # noqa: FBT001 - a column of the table
    before: tuple[str, ...],
    holders: set[str] | None,
    age: float,
    expected: LedgerAction,
) -> None:
    entry = LedgerEntry(uid=UID, resource=RESOURCE, device_id=ID, at=0.0, seen_in_checkpoint=seen, before=before)
    assert next_action(entry, holders, age) is expected


def test_an_entry_is_ended_by_the_kubelets_checkpoint(desk: Desk) -> None:
    desk.allocate()
    desk.kubelet_writes()
    assert desk.settle() == NEVER_SEEN_SECONDS
    desk.kubelet_writes(p1=UID)
    assert desk.settle() is None
    assert desk.entries()[UID].seen_in_checkpoint
    desk.sources.checkpoint.write_text("{")
    desk.settle()
    assert UID in desk.entries()
    desk.kubelet_writes()
    desk.settle()
    assert desk.entries() == {}


def test_an_entry_that_cannot_be_written_keeps_no_other_waiting_and_is_tried_again(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.allocate()
    desk.sources.records.write("uid-b", msgspec.structs.replace(RECORD, uid="uid-b", device_id="mlx5_core.sf.5"))
    desk.allocate({"mlx5_core.sf.5": "uid-b"})
    path = obstruct(desk, UID)
    desk.kubelet_writes(p1=UID)
    for _ in range(2):
        entries, due = desk.allocator.expire(desk.sources.holdings())
        assert entries.keys() == {UID, "uid-b"}
        assert not entries[UID].seen_in_checkpoint
        assert due == RETRY_SECONDS
    [complaint] = caplog.messages
    assert f"cannot write {path}" in complaint
    path.rmdir()
    assert desk.settle() == NEVER_SEEN_SECONDS
    assert desk.entries()[UID].seen_in_checkpoint
    # And one that cannot be removed.
    path = obstruct(desk, UID)
    desk.kubelet_writes()
    assert desk.settle() == RETRY_SECONDS
    path.rmdir()
    desk.settle()
    assert desk.entries().keys() == {"uid-b"}


def test_an_entry_that_the_kubelet_never_took_up_ends_after_five_minutes(desk: Desk) -> None:
    desk.allocate()
    desk.kubelet_writes()
    desk.clock.now += NEVER_SEEN_SECONDS - 1
    assert desk.settle() == 1.0
    desk.clock.now += 1
    desk.settle()
    assert desk.entries() == {}


def test_a_jump_of_the_clock_on_the_wall_ends_no_entry(desk: Desk) -> None:
    desk.allocate()
    desk.kubelet_writes()
    desk.wall.now += 1e9
    desk.settle()
    assert UID in desk.entries()


def test_a_plugin_that_was_restarted_gives_an_entry_its_five_minutes_anew(desk: Desk) -> None:
    desk.allocate()
    desk.kubelet_writes()
    desk.clock.now += NEVER_SEEN_SECONDS
    successor = Allocator(desk.sources, clock=desk.clock, wall=desk.wall)
    successor.load()
    assert successor.expire(desk.sources.holdings())[1] == NEVER_SEEN_SECONDS


def test_a_checkpoint_between_two_holders_does_not_end_the_new_ones_entry(desk: Desk) -> None:
    desk.kubelet_writes(p1=UID)
    desk.allocate()  # the kubelet has let go of p1 in memory, and its file does not say so yet
    desk.settle()
    desk.kubelet_writes()  # written for another reason, before p2 is noted
    desk.settle()
    assert UID in desk.entries()
    desk.kubelet_writes(p2=UID)
    desk.settle()
    assert desk.entries()[UID].seen_in_checkpoint


def test_draining_first_refuses_and_promising_first_stops_the_teardown(desk: Desk) -> None:
    rewrite(state=State.DRAINING)(desk)
    with pytest.raises(AllocationRefused):
        desk.allocate()
    assert desk.entries() == {}

    rewrite()(desk)
    desk.allocate()
    rewrite(state=State.DRAINING)(desk)
    assert desk.entries().keys() == {UID}
