"""The agent before an API server: what it writes, what it survives, what it concludes and what it does not."""

import asyncio
import math
import time
from collections.abc import Callable

import msgspec

from rig.cluster import Cluster, held, is_ready, quiet
from rig.steps import Steps
from subfunction.api.subfunction import FINALIZER, Phase, SubFunction
from subfunction.kernel.address import Handle
from subfunction.state.records import State
from subfunction.state.resource_names import ResourceNames
from subfunction_operator.agent.api.client import ObjectList
from subfunction_simulator.kernel import Kind

PARENT = Handle.parse("pci/0000:03:00.0")
ONE_EACH = {("create", ""): 1, ("patch", ""): 1, ("patch", "status"): 1}


def answers(asked: SubFunction) -> Callable[[SubFunction], bool]:
    """Give the condition that an object is ready as of one generation."""
    generation = asked.metadata.generation
    return lambda seen: seen.status.observed_generation == generation and is_ready(seen)


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
    node.start_agent(resync=0.02, relist=0.05)
    for name in ("a", "b", "c"):
        await node.apply(name)
    for name in ("a", "b", "c"):
        await node.until_ready(name)
    before = node.server.writes()
    lists = len(node.server.asked("list"))
    await node.until(lambda: len(node.server.asked("list")) > lists + 3, "some comparisons")
    await node.stop_agent()
    node.start_agent(resync=0.02, relist=0.05)
    lists = len(node.server.asked("list"))
    await node.until(lambda: len(node.server.asked("list")) > lists + 3, "some comparisons after a restart")
    assert node.server.writes() == before
    assert len(await node.events("a")) == 1


async def test_many_objects_at_once_cost_two_writes_each_and_each_has_its_own_number(node: Cluster) -> None:
    hooks = Steps()
    node.start_agent(hooks)
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


async def test_a_status_that_the_server_refuses_is_not_tried_again_by_each_event(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    await node.until_ready()
    before = node.server.writes()["patch", "status"]
    node.server.call(lambda: node.server.api.traffic.answer_next(1000, 422, verb="patch", resource="subfunctions"))
    record, begun = next(iter(node.records.read_all().items.values())), time.monotonic()
    for _ in range(40):
        node.hand_out(record)
        await asyncio.sleep(0.05)
    elapsed = time.monotonic() - begun
    # Each failure doubles what events wait, from 0.5 s. Of the rest one is the first, one comes of events that came
    # meanwhile, and one of the failure's own retry, whose time is random.
    most = 3 + math.log2(1 + elapsed / 0.5)
    assert 1 <= node.server.writes()["patch", "status"] - before <= most, f"in {elapsed:.1f} s"


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


async def test_a_file_that_somebody_took_away_comes_back_without_a_list(node: Cluster) -> None:
    node.start_agent(resync=0.1, device_nodes="cdi")
    await node.apply()
    ready = await node.until_ready()
    [file] = node.papers.cdi.iterdir()
    lists = len(node.server.asked("list"))
    file.unlink()
    await node.until(file.exists, "the CDI file")
    assert len(node.server.asked("list")) == lists
    assert node.records.read(ready.uid) is not None


async def test_a_list_that_fails_or_an_api_server_that_is_away_concludes_nothing(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    await node.stop_agent()
    kept, port = node.records.read(ready.uid), node.kernel.describe()
    node.server.stop()
    node.start_agent(relist=0.02)
    await quiet(node, 0.4)
    assert node.records.read(ready.uid) == kept
    assert node.kernel.describe() == port
    assert node.resources.read("resources") == ResourceNames(names=("subfunction.dev/mlx5",))
    node.server.start()
    node.server.call(lambda: node.server.api.traffic.answer_next(3, 500, verb="list"))
    node.server.call(lambda: node.server.api.traffic.answer_next(3, 503, verb="get", resource="subfunctions"))
    await node.apply("other")
    await node.until_ready("other", within=30)
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
        async def list(self) -> ObjectList:
            agent.on_event(late)
            return ObjectList((ready,), ready.version, frozenset())

    agent.client = Slow()  # type: ignore[assignment]  # only its list is asked here
    await agent.relist()
    assert {found.uid for found in agent.cache.list()} == {ready.uid, "late"}
    older = msgspec.structs.replace(
        late, metadata=msgspec.structs.replace(late.metadata, resource_version="3", generation=0)
    )
    agent.on_event(older)
    assert agent.cache.get("late") == late


async def test_deletions_in_a_gap_of_the_watch_are_noticed_by_a_list(node: Cluster) -> None:
    node.start_agent(relist=0.2)
    await node.apply()
    ready = await node.until_ready()
    node.server.call(node.server.api.traffic.stall_watches)
    await node.force_gone()
    await node.until(lambda: node.records.read(ready.uid) is None, "the orphan to go")
    assert node.numbers() == []
