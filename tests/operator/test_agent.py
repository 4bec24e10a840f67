"""The agent before an API server: what it writes, what it survives, what it concludes and what it does not."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from rig.cluster import Cluster, cluster, held, is_ready, says
from rig.world import Killed
from subfunction.api import FINALIZER, ConditionType, Phase, SubFunction
from subfunction.kernel.address import Handle
from subfunction.records import State
from subfunction.resources import Resources
from subfunction_operator.step import Activate, CreatePort, Effect, ProbeDriver, WriteObject
from subfunction_simulator.kernel import Kind, Operation, Parent, Topology
from subfunction_simulator.kubelet.pods import Container, Pod

PARENT = Handle.parse("pci/0000:03:00.0")
ONE_EACH = {("create", ""): 1, ("patch", ""): 1, ("patch", "status"): 1}


class Steps:
    """A seam that keeps the steps by uid and may be told to act at one of them."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Effect]] = []

    def about_to(self, uid: str, step: Effect) -> None:
        self.taken.append((uid, step))

    def done(self, uid: str, step: Effect) -> None:
        assert (uid, step) in self.taken

    @property
    def first(self) -> str:
        """Whose was the first step towards the kernel."""
        return next(uid for uid, effect in self.taken if not isinstance(effect, WriteObject))


def answers(asked: SubFunction) -> Callable[[SubFunction], bool]:
    """Give the condition that an object is ready as of one generation."""
    generation = asked.metadata.generation
    return lambda seen: seen.status.observed_generation == generation and is_ready(seen)


async def quiet(node: Cluster, seconds: float = 0.25) -> None:
    """Let pass what would be a write if there were one to come."""
    await asyncio.sleep(seconds)
    node.agent_lives()


async def test_creation_costs_a_finalizer_a_status_and_an_event_and_deletion_one_write(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    assert held(ready)
    assert ready.status.phase == Phase.READY
    assert (ready.status.parent, ready.status.number) == (str(PARENT), 1)
    assert ready.status.observed_generation == ready.metadata.generation
    await quiet(node)
    assert node.server.writes() == ONE_EACH
    assert node.server.writes("events") == {("create", ""): 1}
    await node.delete()
    await node.until_gone()
    await quiet(node)
    assert node.server.writes() == {**ONE_EACH, ("delete", ""): 1, ("patch", ""): 2}
    assert (node.numbers(), node.records.read_all().items) == ([], {})


async def test_nothing_is_written_when_nothing_changed(node: Cluster) -> None:
    node.start_agent(resync=0.05)
    for name in ("a", "b", "c"):
        await node.apply(name)
    for name in ("a", "b", "c"):
        await node.until_ready(name)
    before = node.server.writes()
    lists = len(node.server.asked("list"))
    await node.until(lambda: len(node.server.asked("list")) > lists + 3, "some resyncs")
    await node.stop_agent()
    node.start_agent(resync=0.05)
    lists = len(node.server.asked("list"))
    await node.until(lambda: len(node.server.asked("list")) > lists + 3, "some resyncs after a restart")
    assert node.server.writes() == before
    assert len(await node.events("a")) == 1


async def test_many_objects_at_once_cost_two_writes_each_and_each_has_its_own_number(node: Cluster) -> None:
    seam = Steps()
    node.start_agent(seam)
    names = [f"sf-{number}" for number in range(24)]
    await asyncio.gather(*(node.apply(name, resourceName=f"example.com/r{n % 5}") for n, name in enumerate(names)))
    for name in names:
        await node.until_ready(name)
    assert node.numbers() == list(range(1, 25))
    assert node.server.writes() == dict.fromkeys(ONE_EACH, 24)
    found = node.resources.read("resources")
    assert found is not None
    assert found.names == tuple(f"example.com/r{n}" for n in range(5))


async def test_a_conflict_on_the_finalizer_is_tried_again_with_the_newer_object(node: Cluster) -> None:
    node.server.call(lambda: node.server.api.traffic.answer_next(2, 409, verb="patch", resource="subfunctions"))
    node.start_agent()
    await node.apply()
    await node.until_ready()
    assert node.server.writes()["patch", ""] == 3


async def test_a_status_that_the_server_refuses_is_not_tried_again_at_once(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    await node.until_ready()
    before = node.server.writes()["patch", "status"]
    node.server.call(lambda: node.server.api.traffic.answer_next(1000, 422, verb="patch", resource="subfunctions"))
    node.hand_out(next(iter(node.records.read_all().items.values())))
    await node.until(lambda: node.server.writes()["patch", "status"] > before, "the refused status")
    await quiet(node, 0.6)
    assert node.server.writes()["patch", "status"] <= before + 2


async def test_a_status_is_never_that_of_an_older_spec(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    await node.until_ready()
    for number in range(1, 4):
        mac = f"02:00:5e:10:00:0{number}"
        changed = await node.change(macAddress=mac)
        found = await node.until_object(answers(changed))
        assert found.status.mac_address == mac


async def test_an_object_deleted_while_it_is_created_leaves_nothing(node: Cluster) -> None:
    node.kernel.hold(Kind.ATTACH)
    node.start_agent()
    await node.apply()
    await node.until(lambda: node.numbers() == [1], "the port")
    await node.delete()
    node.kernel.let_go(Kind.ATTACH)
    await node.until_gone()
    assert (node.numbers(), node.records.read_all().items) == ([], {})


async def test_an_object_deleted_before_anybody_saw_it_is_no_trouble(node: Cluster) -> None:
    await node.apply()
    await node.delete()
    node.start_agent()
    await node.apply("other")
    await node.until_ready("other")
    assert node.numbers() == [1]


async def test_a_finalizer_taken_off_by_force_lets_the_record_drain_after_a_404(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    node.hand_out(node.records.read_all().items[ready.uid])
    await node.force_gone()
    await node.until(lambda: getattr(node.records.read(ready.uid), "state", None) is State.DRAINING, "draining")
    assert node.numbers() == [1]
    assert [asked.name for asked in node.server.asked("get")].count("blue") > 0
    node.ledger.remove(ready.uid)
    await node.until(lambda: node.records.read_all().items == {}, "no record")
    assert node.numbers() == []


async def test_an_object_of_the_same_name_made_again_is_another_one(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    first = await node.until_ready()
    await node.force_gone()
    await node.apply()
    second = await node.until_ready()
    await node.until(lambda: list(node.records.read_all().items) == [second.uid], "the first one's record to go")
    assert first.uid != second.uid
    assert len(node.numbers()) == 1


async def test_a_list_that_fails_or_an_api_server_that_is_away_concludes_nothing(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    await node.stop_agent()
    kept, port = node.records.read(ready.uid), node.kernel.describe()
    node.server.stop()
    node.start_agent(resync=0.02)
    await quiet(node, 0.4)
    assert node.records.read(ready.uid) == kept
    assert node.kernel.describe() == port
    assert node.resources.read("resources") == Resources(names=("subfunction.dev/mlx5",))
    node.server.start()
    node.server.call(lambda: node.server.api.traffic.answer_next(5, 500, verb="list"))
    node.server.call(lambda: node.server.api.traffic.answer_next(5, 503, verb="get", resource="subfunctions"))
    await node.apply("other")
    await node.until_ready("other", within=15)
    assert node.records.read(ready.uid) == kept
    assert node.numbers() == [1, 2]


async def test_a_device_that_is_there_stays_while_the_api_server_is_away_and_what_changed_is_caught_up(
    node: Cluster,
) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    node.server.stop()
    await node.stop_agent()
    await quiet(node, 0.1)
    node.start_agent()
    await quiet(node, 0.2)
    assert node.numbers() == [1]
    node.server.start()
    await node.change(macAddress="02:00:5e:10:00:07")
    await node.until_object(lambda seen: is_ready(seen) and seen.status.mac_address == "02:00:5e:10:00:07", within=15)
    assert node.records.read(ready.uid) is not None


# --- records that are none ---


@pytest.mark.parametrize(
    "content",
    ["", '{"schema": 1, "uid"', '{"schema": 99}', "[]"],
    ids=["empty", "torn", "of another schema", "foreign"],
)
async def test_a_record_that_cannot_be_read_is_moved_aside_with_an_event_and_the_kernel_is_adopted_again(
    node: Cluster, content: str
) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    before = node.kernel.describe()
    # A thread that still works when its agent is cancelled would write the record anew, as no dead process does.
    await quiet(node, 0.5)
    await node.stop_agent()
    (node.records.path / f"{ready.uid}.json").write_text(content)
    node.start_agent()
    await node.until(lambda: getattr(node.records.read(ready.uid), "state", None) is State.READY, "another record")
    await quiet(node, 0.5)
    assert [path.name for path in (node.records.path / "aside").iterdir()] == [f"{ready.uid}.json"]
    assert ("Warning", "RecordUnreadable") in [(kind, reason) for kind, reason, _ in await node.events()]
    assert node.kernel.describe() == before


async def test_a_record_torn_while_the_agent_runs_is_noticed_at_once_and_the_device_stays(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    before = node.kernel.describe()
    await quiet(node, 0.5)
    (node.records.path / f"{ready.uid}.json").write_text("torn")
    (node.records.path / "0f0f0f0f-0000-4000-8000-00000000ffff.json").write_text("{}")
    await node.until(lambda: len(list(node.records.path.glob("aside/*"))) == 2, "both aside")
    await node.until(lambda: getattr(node.records.read(ready.uid), "state", None) is State.READY, "another record")
    assert node.kernel.describe() == before
    assert ("Warning", "RecordUnreadable") in [(kind, reason) for kind, reason, _ in await node.events()]


async def test_a_record_whose_claim_is_nonsense_does_not_end_the_agent(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    await quiet(node, 0.3)
    await node.stop_agent()
    path = node.records.path / f"{ready.uid}.json"
    for good, bad in (("pci/0000:03:00.0", "nonsense"), (ready.status.mac_address or "", "zz")):
        path.write_text(path.read_text().replace(good, bad))
        node.start_agent()
        # Until all is quiet: a thread of an agent that was stopped in the middle writes on, as no dead process does.
        await node.until(lambda: getattr(node.records.read(ready.uid), "state", None) is State.READY, "another record")
        await quiet(node, 0.3)
        await node.stop_agent()
    assert len(list(node.records.path.glob("aside/*"))) == 2
    assert node.numbers() == [1]


async def test_a_file_that_is_nobodys_record_is_moved_aside_and_no_work_stops(node: Cluster) -> None:
    node.records.path.mkdir()
    (node.records.path / "0f0f0f0f-0000-4000-8000-00000000ffff.json").write_text("torn")
    (node.records.path / "no uid at all.json").write_text("{}")
    node.start_agent()
    await node.apply()
    await node.until_ready()
    await node.until(lambda: len(list(node.records.path.glob("aside/*"))) == 2, "both aside")


async def test_nothing_is_moved_aside_before_the_objects_are_known(node: Cluster) -> None:
    node.records.path.mkdir()
    path = node.records.path / "0f0f0f0f-0000-4000-8000-00000000ffff.json"
    path.write_text("torn")
    node.server.stop()
    node.start_agent()
    await quiet(node, 0.3)
    assert path.exists()


# --- resource names ---


async def test_the_resource_names_stand_in_a_file_and_go_with_the_last_object(node: Cluster) -> None:
    def names() -> tuple[str, ...] | None:
        found = node.resources.read("resources")
        return found.names if found else None

    node.start_agent()
    await node.apply("a")
    await node.apply("b", resourceName="example.com/fast_rdma")
    await node.until(lambda: names() == ("example.com/fast_rdma", "subfunction.dev/mlx5"), "both names")
    await node.until_ready("b")
    await node.delete("b")
    await node.until(lambda: names() == ("subfunction.dev/mlx5",), "one name less")


async def test_names_from_before_stay_until_a_list_says_that_they_are_not_wanted(node: Cluster) -> None:
    node.resources.write("resources", Resources(names=("example.com/old", "subfunction.dev/mlx5")))
    written = node.resources.path / "resources.json"
    before = written.stat().st_mtime_ns
    node.server.call(lambda: node.server.api.traffic.answer_next(3, 500, verb="list"))
    node.start_agent()
    await quiet(node, 0.3)
    assert written.stat().st_mtime_ns == before
    await node.apply()
    await node.until_ready(within=15)
    await node.until(
        lambda: node.resources.read("resources") == Resources(names=("subfunction.dev/mlx5",)), "the old name to go"
    )


async def test_names_that_cannot_be_written_keep_no_device_from_being_made(node: Cluster) -> None:
    node.resources.path.write_text("a file where the folder should be")
    node.start_agent()
    await node.apply()
    await node.until_ready()


# --- in use ---


async def test_a_held_device_is_kept_says_who_holds_it_and_goes_by_itself_when_the_pod_ends(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    record = node.records.read_all().items[ready.uid]
    pod = Pod("pod-1", "default", "trainer", (Container("app", {record.resource: 1}),))
    node.give(pod, record)
    node.hand_out(record)
    found = await node.until_object(lambda seen: says(seen, ConditionType.IN_USE) == ("True", "InUse"))
    condition = found.status.condition(ConditionType.IN_USE)
    assert condition is not None
    assert "default/trainer" in condition.message
    assert found.status.allocated_to is not None
    assert found.status.allocated_to.name == "trainer"
    assert is_ready(found)

    before = node.kernel.describe()
    await node.delete()
    found = await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "Draining"))
    assert says(found, ConditionType.IN_USE) == ("True", "InUse")
    assert says(found, ConditionType.ALLOCATABLE) == ("False", "Draining")
    assert found.status.phase == Phase.DRAINING
    await quiet(node)
    assert node.kernel.describe() == before
    writes = node.server.writes()
    await quiet(node)
    assert node.server.writes() == writes

    node.take_back(pod)
    node.ledger.remove(record.uid)
    await node.until_gone()
    assert node.numbers() == []


async def test_force_names_the_pod_it_breaks_in_an_event_and_takes_the_device_at_once(node: Cluster) -> None:
    node.start_agent()
    await node.apply(deletionPolicy="Force")
    ready = await node.until_ready()
    record = node.records.read_all().items[ready.uid]
    pod = Pod("pod-1", "default", "trainer", (Container("app", {record.resource: 1}),))
    node.give(pod, record)
    node.hand_out(record)
    await node.until_object(lambda seen: says(seen, ConditionType.IN_USE) == ("True", "InUse"))
    await node.delete()
    await node.until_gone()
    assert node.numbers() == []
    [message] = [message for kind, reason, message in await node.events() if (kind, reason) == ("Warning", "Forced")]
    assert "pod default/trainer holds" in message


async def test_a_change_of_a_held_device_is_pending_and_done_when_the_pod_ends(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    record = node.records.read_all().items[ready.uid]
    node.hand_out(record)
    await node.until_object(lambda seen: says(seen, ConditionType.IN_USE) == ("True", "InUse"))
    await node.change(macAddress="02:00:5e:10:00:09")
    await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "ChangePending"))
    assert node.records.read(ready.uid) == record
    node.ledger.remove(record.uid)
    await node.until_object(lambda seen: is_ready(seen) and seen.status.mac_address == "02:00:5e:10:00:09")


async def test_an_in_use_that_ends_is_written_once(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    before = node.server.writes()["patch", "status"]
    node.hand_out(node.records.read_all().items[ready.uid])
    await node.until_object(lambda seen: says(seen, ConditionType.IN_USE) == ("True", "InUse"))
    node.ledger.remove(ready.uid)
    await node.until_object(lambda seen: says(seen, ConditionType.IN_USE) == ("False", "Free"))
    await quiet(node)
    assert node.server.writes()["patch", "status"] == before + 2


# --- bad input ---


async def test_a_parent_that_cannot_is_said_on_the_object_in_one_write_and_retried(root: Path) -> None:
    async with Cluster(root, Topology(parents=(Parent(bdf="0000:03:00.0", netdev="enp3s0np0", capacity=0),))) as node:
        node.start_agent()
        await node.apply()
        found = await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "Full"))
        assert found.status.phase == Phase.FAILED
        assert (found.status.number, found.status.parent) == (None, None)
        ready = found.status.condition(ConditionType.READY)
        assert ready is not None
        assert "No space left" in ready.message
        assert "PF_TOTAL_SF" in ready.message
        assert [(kind, reason) for kind, reason, _ in await node.until_events()] == [("Warning", "Full")]
        await node.change(representor={"adminState": "down"})
        await node.until_object(lambda seen: seen.status.observed_generation == 2)
        assert len(await node.events()) == 1
        await node.delete()
        await node.until_gone()


@pytest.mark.parametrize(
    "parent", [{"netdev": "nosuch0"}, {"selector": {"vendor": "8086"}}, {"device": "pci/0000:ff:00.0"}], ids=str
)
async def test_an_object_whose_parent_was_never_there_can_be_deleted(node: Cluster, parent: dict[str, object]) -> None:
    node.start_agent()
    await node.apply(parent=parent)
    found = await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "ParentNotFound"))
    assert found.status.number is None
    await node.delete()
    await node.until_gone()


async def test_an_object_on_a_kernel_without_devlink_can_be_deleted(root: Path) -> None:
    async with Cluster(root, Topology(devlink=False)) as node:
        node.start_agent()
        await node.apply()
        await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "KernelTooOld"))
        await node.delete()
        await node.until_gone()


# --- the kernel's news, and its silence ---


async def test_a_port_that_somebody_deleted_comes_back_without_anybody_asking(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    await node.until_ready()
    node.kernel.lose_port(PARENT, 1)
    await node.until(lambda: node.numbers() == [1], "the port again")
    await node.until_ready()


async def test_a_parent_that_hangs_is_said_to_be_busy_keeps_what_was_known_and_holds_up_nobody_else(
    node: Cluster,
) -> None:
    node.start_agent(kernel_deadline=1.0)
    await node.apply()
    ready = await node.until_ready()
    with node.kernel.faults.hang(PARENT):
        await node.change(macAddress="02:00:5e:10:00:01")
        busy = await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "KernelBusy"))
        assert busy.status.device == ready.status.device
        assert busy.status.number == ready.status.number
        assert says(busy, ConditionType.CREATED) == ("True", "Created")
        await node.apply("other", parent={"device": "pci/0000:82:00.0"})
        await node.until_ready("other")
    assert node.numbers() == [1]


async def test_functions_that_never_attach_hold_up_no_other_and_say_so_once(node: Cluster) -> None:
    node.kernel.hold(Kind.ATTACH)
    node.start_agent(workers=2, attach_deadline=0.3)
    for number in range(4):
        await node.apply(f"stuck-{number}")
    await node.apply("bad", parent={"netdev": "nosuch0"})
    # Two workers, each held for thirty seconds a piece, would not come to this one.
    await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "ParentNotFound"), "bad")
    for number in range(4):
        await node.until_object(
            lambda seen: says(seen, ConditionType.READY) == ("False", "ProbeFailed"), f"stuck-{number}"
        )
    node.kernel.let_go(Kind.ATTACH)


async def test_killed_in_the_middle_another_agent_goes_on(node: Cluster) -> None:
    class Mortal(Steps):
        def done(self, uid: str, step: Effect) -> None:
            super().done(uid, step)
            if isinstance(step, CreatePort):
                raise Killed

    node.start_agent(Mortal())
    await node.apply()
    with pytest.raises(BaseExceptionGroup) as ended:
        await node.agent_ends()
    assert ended.group_contains(Killed)
    assert node.numbers() == [1]
    seam = Steps()
    node.start_agent(seam)
    found = await node.until_ready()
    assert found.status.number == 1
    assert node.numbers() == [1]
    assert not [step for _, step in seam.taken if isinstance(step, CreatePort)]


async def test_what_one_object_breaks_in_the_agent_is_said_there_and_the_others_go_on(node: Cluster) -> None:
    class Broken(Steps):
        def about_to(self, uid: str, step: Effect) -> None:
            super().about_to(uid, step)
            if isinstance(step, Activate) and self.first == uid:
                raise ZeroDivisionError

    node.start_agent(Broken())
    await node.apply()
    found = await node.until_object(lambda seen: (says(seen, ConditionType.READY) or ("",))[0] == "False")
    ready = found.status.condition(ConditionType.READY)
    assert ready is not None
    assert "fault of the agent" in ready.message
    await node.apply("other")
    await node.until_ready("other")


async def test_objects_of_other_nodes_are_none_of_its_business(node: Cluster) -> None:
    await node.apply("theirs", nodeName="worker-2")
    node.start_agent()
    await node.apply()
    await node.until_ready()
    theirs = await node.get("theirs")
    assert theirs is not None
    assert theirs.metadata.finalizers == ()
    assert node.numbers() == [1]


async def test_other_peoples_finalizers_are_left_alone(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    await node.until_ready()
    await node.patch("blue", {"metadata": {"finalizers": [FINALIZER, "example.com/audit"]}})
    await node.delete()
    left = await node.until_object(lambda seen: seen.metadata.finalizers == ("example.com/audit",))
    assert left.deleting
    await node.until(lambda: node.numbers() == [], "the function to go")
    await node.patch("blue", {"metadata": {"finalizers": None}})
    await node.until_gone()


async def test_an_object_created_while_a_list_is_under_way_is_not_forgotten(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    await node.stop_agent()
    agent = node.bare_agent()
    late = msgspec.structs.replace(
        ready, metadata=msgspec.structs.replace(ready.metadata, name="late", uid="late", resource_version="9999")
    )

    class Slow:
        async def list(self) -> tuple[list[SubFunction], frozenset[str]]:
            agent.seen(late)
            return [ready], frozenset()

    agent.server = Slow()  # type: ignore[assignment]  # only its list is asked here
    await agent.resync()
    assert {found.uid for found in agent._objects.values()} == {ready.uid, "late"}
    older = msgspec.structs.replace(
        late, metadata=msgspec.structs.replace(late.metadata, resource_version="3", generation=0)
    )
    agent.seen(older)
    assert agent._objects["late"] == late


async def test_deletions_in_a_gap_of_the_watch_are_noticed_by_a_list(node: Cluster) -> None:
    node.start_agent(resync=0.2)
    await node.apply()
    ready = await node.until_ready()
    node.server.call(node.server.api.traffic.stall_watches)
    await node.force_gone()
    await node.until(lambda: node.records.read(ready.uid) is None, "the orphan to go")
    assert node.numbers() == []


async def test_what_the_kernel_refuses_is_not_tried_again_at_once(node: Cluster) -> None:
    steps = Steps()
    node.kernel.faults.fail_next(Operation.PORT_NEW, 28, times=1000)
    node.start_agent(steps)
    await node.apply()
    await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "Full"))
    await asyncio.sleep(1.5)
    assert len([step for _, step in steps.taken if isinstance(step, CreatePort)]) <= 3


async def test_a_driver_that_refuses_is_not_asked_by_its_own_echo(root: Path) -> None:
    steps = Steps()
    async with cluster(root) as node:
        node.kernel.faults.fail_next(Operation.VDPA_PROBE, 22, times=1000)
        node.start_agent(steps, attach_deadline=0.2)
        await node.apply(flavour="virtio")
        await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "ProbeFailed"))
        await asyncio.sleep(1.5)
        assert len([step for _, step in steps.taken if isinstance(step, ProbeDriver)]) <= 4
