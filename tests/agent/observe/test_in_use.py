"""A device in a pod's hands: kept, said, and gone or changed by itself when the pod ends."""

from rig.cluster import Cluster, is_ready, quiet, says
from subfunction.api.conditions import ConditionType
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Phase, SubFunction
from subfunction.state.records import Record
from subfunction_simulator.kernel import Operation
from subfunction_simulator.kubelet.pods import Container, Pod

EIO = 5


async def held_by_a_pod(node: Cluster) -> tuple[SubFunction, Record, Pod]:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    record = node.records.read_all().items[ready.uid]
    pod = Pod("pod-1", "default", "trainer", (Container("app", {record.resource: 1}),))
    node.give(pod, record)
    node.hand_out(record)
    return ready, record, pod


async def test_a_held_device_is_kept_says_who_holds_it_and_goes_by_itself_when_the_pod_ends(node: Cluster) -> None:
    _, record, pod = await held_by_a_pod(node)
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
    pending = await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "ChangePending"))
    assert pending.status.phase == Phase.PREPARING
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


async def test_a_driver_lost_under_a_pod_is_told_at_once_and_until_the_pod_has_ended(node: Cluster) -> None:
    ready, record, pod = await held_by_a_pod(node)
    await node.until_object(lambda seen: says(seen, ConditionType.IN_USE) == ("True", "InUse"))

    node.kernel.faults.fail_next(Operation.PROBE, EIO)
    node.kernel.unbind_function(record.device_id)
    # An agent that waits before it tells finds it mended, and never says this.
    lost = await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "Attaching"))
    assert says(lost, ConditionType.IN_USE) == ("True", "InUse")
    assert lost.status.allocated_to is not None
    in_use = lost.status.condition(ConditionType.IN_USE)
    assert in_use is not None
    assert in_use.message == f"pod default/trainer holds {record.device_id}; that device went away"

    # One that failed to probe is taken down and up, long before it counts as stuck, after 30 s.
    anew = await node.until_object(
        lambda seen: says(seen, ConditionType.READY) == ("False", "StaleAllocation"), within=20.0
    )
    assert says(anew, ConditionType.IN_USE) == ("True", "InUse")
    assert says(anew, ConditionType.ALLOCATABLE) == ("False", "StaleAllocation")
    sick = node.records.read_all().items[ready.uid].health
    assert (sick.healthy, sick.reason) == (False, Reason.STALE_ALLOCATION)

    node.take_back(pod)
    node.ledger.remove(record.uid)
    await node.until_ready()
    assert node.records.read_all().items[ready.uid].health.healthy
