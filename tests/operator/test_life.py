"""One sub-function's life on a simulated kernel: made, changed, held, lost, deleted, and what stands in its way."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rig.claims import port_claim
from rig.world import OTHER_PARENT, PARENT, WithoutRdma, World, derived
from subfunction.api import ConditionType
from subfunction.errors import (
    Foreign,
    Full,
    KernelError,
    NotSwitchdev,
    NumberOwned,
    NumbersExhausted,
    NumberTaken,
    ParentNotFound,
    SubFunctionError,
    SubFunctionsUnsupported,
    UnsupportedField,
)
from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import EswitchMode
from subfunction.reasons import Reason
from subfunction.records import State
from subfunction_operator.observation import Policy
from subfunction_operator.outcome import Outcome
from subfunction_operator.step import (
    CreatePort,
    Deactivate,
    DeletePort,
    ProbeDriver,
    Reload,
    Rest,
    SetFunction,
    StoreRecord,
    Wait,
)
from subfunction_simulator.kernel import Kind, Operation, Parent, Topology

MAC = "02:00:5e:10:00:01"
ENOSPC, EBUSY, EEXIST, EINVAL, EOPNOTSUPP = 28, 16, 17, 22, 95


def assert_ready(world: World, outcome: Outcome, number: int, mac: str, name: str = "blue") -> None:
    assert outcome.error is None
    assert outcome.decision == Rest()
    function = world.kernel.sub_function(PARENT, number)
    assert (function.active, function.attached, str(function.mac)) == (True, True, mac)
    record = world.record(name)
    assert (record.state, record.health.healthy) == (State.READY, True)
    assert (port_claim(record).number, port_claim(record).mac_address) == (number, mac)
    assert function.port is not None
    assert port_claim(record).port_index == function.port.index
    assert function.device is not None
    assert record.device_id == function.device.name


def assert_ready_and_named(world: World) -> str:
    assert_ready(world, world.settle(), 1, derived())
    return world.record().device_id


def assert_clean(world: World, name: str = "blue") -> None:
    assert world.port_numbers() == []
    assert world.records.read_all().items == {}
    assert f"uid-{name}" not in world.objects


@pytest.mark.mlx5("RDMA")
def test_an_object_becomes_a_function_with_its_mac_and_a_record_that_offers_it(world: World) -> None:
    world.apply(macAddress=MAC)
    outcome = world.settle()
    assert_ready(world, outcome, 1, MAC)
    kept = world.record()
    assert kept.env["SUBFUNCTION_MAC"] == MAC
    assert {node.container_path for node in kept.nodes} >= {"/dev/infiniband/uverbs2"}
    assert kept.numa_node == 0


def test_the_record_is_stored_before_the_port_is_made(world: World) -> None:
    world.apply()
    world.settle()
    made = next(step for step in world.seam.steps if isinstance(step, CreatePort))
    before = world.seam.steps[: world.seam.steps.index(made)]
    stored = [step.record for step in before if isinstance(step, StoreRecord)]
    assert (stored[-1].claim.parent, port_claim(stored[-1]).number) == (str(made.parent), made.number)


def test_a_second_look_at_what_is_ready_takes_no_step(world: World) -> None:
    world.apply()
    world.settle()
    world.restart()
    assert world.settle().decision == Rest()
    assert world.seam.steps == []


def test_deleting_leaves_a_clean_kernel(world: World) -> None:
    world.apply()
    world.settle()
    world.delete()
    world.settle()
    assert_clean(world)


def test_the_lowest_free_number_is_taken_and_each_object_has_its_own(world: World) -> None:
    world.foreign(1)
    for name in ("a", "b", "c"):
        world.apply(name)
        world.settle(name)
    assert world.port_numbers() == [1, 2, 3, 4]
    assert [port_claim(world.record(name)).number for name in ("a", "b", "c")] == [2, 3, 4]


def test_a_number_that_another_object_asks_for_is_not_chosen(world: World) -> None:
    world.apply("asks", number=1)
    world.apply("any")
    world.settle("any")
    world.settle("asks")
    assert (port_claim(world.record("any")).number, port_claim(world.record("asks")).number) == (2, 1)


def test_a_number_that_another_record_announces_is_not_chosen(world: World) -> None:
    world.apply("a")
    world.settle("a")
    # As a crash leaves it between the record and the port.
    world.kernel.lose_port(PARENT, 1)
    announced = msgspec.structs.replace(world.record("a").claim, port_index=None)
    world.records.write("uid-a", msgspec.structs.replace(world.record("a"), claim=announced))
    world.apply("b")
    world.settle("b")
    assert port_claim(world.record("b")).number == 2
    assert_ready(world, world.settle("a"), 1, derived("a"), "a")


def test_a_number_that_the_kernel_refused_is_given_back_and_nobody_elses_port_is_claimed_for_it(world: World) -> None:
    world.apply()
    world.kernel.faults.fail_next(Operation.PORT_NEW, EEXIST, "mlx5_core: SF already exist. Choose different sfnum")
    assert world.settle().error is not None
    assert world.records.read("uid-blue") is None
    world.foreign(1)
    before = world.as_text(1)
    assert_ready(world, world.settle(), 2, derived())
    assert world.as_text(1) == before


def test_a_number_that_another_object_has_is_refused_also_while_its_port_is_lost(world: World) -> None:
    world.apply("a")
    world.settle("a")
    world.apply("b", number=1)
    world.kernel.lose_port(PARENT, 1)
    error = world.settle("b").error
    assert isinstance(error, NumberOwned)
    assert "the SubFunction a" in str(error)
    assert_ready(world, world.settle("a"), 1, derived("a"), "a")
    assert isinstance(world.settle("b").error, NumberOwned)


def test_after_a_reboot_nobody_takes_a_number_that_another_object_shows(world: World) -> None:
    world.apply("a")
    world.settle("a")
    world.apply("b", number=1)
    world.settle("b")
    world.reboot()
    assert isinstance(world.settle("b").error, NumberOwned)
    assert_ready(world, world.settle("a"), 1, derived("a"), "a")


@pytest.mark.parametrize("deleting", [False, True], ids=["kept", "deleted"])
def test_a_strangers_port_under_our_number_and_our_old_index_is_left_alone(world: World, *, deleting: bool) -> None:
    world.apply()
    world.settle()
    index = port_claim(world.record()).port_index
    world.kernel.lose_port(PARENT, 1)
    world.kernel.settle()
    assert world.foreign(1) == index
    before = world.as_text(1)
    world.restart()
    if deleting:
        world.delete()
    outcome = world.settle()
    assert world.as_text(1) == before
    assert deleting or isinstance(outcome.error, Foreign)
    assert not deleting or world.objects == {}


@pytest.mark.mlx5("rates")
def test_a_port_that_cannot_be_made_again_yet_costs_nothing_of_what_is_known(world: World) -> None:
    world.apply(rate={"maxBitsPerSecond": 1_000_000_000})
    world.settle()
    before = port_claim(world.record())
    world.kernel.lose_port(PARENT, 1)
    world.kernel.faults.fail_next(Operation.PORT_NEW, EEXIST)
    assert isinstance(world.settle().error, NumberTaken)
    assert port_claim(world.record()).rated is before.rated is True
    assert_ready(world, world.settle(), 1, derived())


def test_the_number_asked_for_is_refused_if_somebody_else_has_it_and_theirs_is_left_alone(world: World) -> None:
    world.foreign(7)
    before = world.as_text(7)
    world.apply(number=7)
    outcome = world.settle()
    assert isinstance(outcome.error, Foreign)
    assert "devlink port del" in outcome.error.hint
    world.delete()
    world.settle()
    assert world.as_text(7) == before
    assert world.records.read_all().items == {}


def test_a_foreign_port_in_the_place_of_ours_is_left_alone(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.lose_port(PARENT, 1)
    world.kernel.settle()
    world.foreign(9)  # takes the index of ours, so that the next one has another
    world.foreign(1)
    before = world.as_text(1)
    assert isinstance(world.settle().error, Foreign)
    world.delete()
    world.settle()
    assert world.as_text(1) == before
    assert world.objects == {}


def test_a_number_taken_before_our_port_was_made_is_given_up(world: World) -> None:
    world.apply()
    world.kernel.faults.fail_next(Operation.PORT_NEW, EBUSY, "mlx5_core: busy")
    world.settle()
    assert world.objects["uid-blue"].status.number is None
    world.foreign(1)
    before = world.as_text(1)
    assert_ready(world, world.settle(), 2, derived())
    assert world.as_text(1) == before


def test_a_published_number_stays_through_a_reboot_and_the_loss_of_all_records(world: World) -> None:
    for name in ("a", "b"):
        world.apply(name)
        world.settle(name)
    world.reboot()
    assert_ready(world, world.settle("b"), 2, derived("b"), "b")
    assert_ready(world, world.settle("a"), 1, derived("a"), "a")


def test_a_port_that_somebody_deleted_is_made_again_with_its_number_and_the_record_names_the_new_one(
    world: World,
) -> None:
    world.apply()
    world.settle()
    world.kernel.lose_port(PARENT, 1)
    world.kernel.settle()
    world.foreign(50)  # takes the old index
    assert_ready(world, world.settle(), 1, derived())


def test_a_parent_whose_driver_started_anew_gets_its_functions_back(world: World) -> None:
    for name in ("a", "b"):
        world.apply(name)
        world.settle(name)
    world.kernel.crash_driver(PARENT)
    for number, name in enumerate(("a", "b"), 1):
        assert_ready(world, world.settle(name), number, derived(name), name)


def test_records_lost_while_the_kernel_lives_are_found_again_by_status_and_mac(world: World) -> None:
    world.apply()
    world.settle()
    before = world.as_text(1)
    world.lose_records()
    world.restart()
    assert_ready(world, world.settle(), 1, derived())
    assert world.as_text(1) == before
    assert not [step for step in world.seam.steps if not isinstance(step, StoreRecord)]


@pytest.mark.mlx5("an address that was never set")
def test_without_a_record_an_untouched_port_of_our_number_may_be_anybodys_and_is_left_alone(world: World) -> None:
    world.apply()
    world.kernel.faults.fail_next(Operation.SET_MAC, EINVAL, "mlx5_core: no")
    assert world.settle().error is not None
    assert world.objects["uid-blue"].status.number == 1
    before = world.as_text(1)
    world.lose_records()
    world.restart()
    assert isinstance(world.settle().error, Foreign)
    assert world.as_text(1) == before


def test_a_record_lost_while_the_mac_changes_does_not_lose_the_port(world: World) -> None:
    world.apply()
    world.settle()
    world.lose_records()
    world.apply(macAddress=MAC)
    assert_ready(world, world.settle(), 1, MAC)


def test_a_record_lost_before_the_deletion_leaves_nothing_behind(world: World) -> None:
    world.apply()
    world.settle()
    world.lose_records()
    world.delete()
    world.settle()
    assert_clean(world)


# --- change ---


def test_another_mac_is_set_through_inactive_and_the_offer_is_left_first(world: World) -> None:
    world.apply()
    world.settle()
    world.restart()
    world.apply(macAddress=MAC)
    assert_ready(world, world.settle(), 1, MAC)
    steps = world.seam.steps
    left = next(n for n, step in enumerate(steps) if isinstance(step, StoreRecord) and step.record.state != State.READY)
    down = next(n for n, step in enumerate(steps) if isinstance(step, Deactivate))
    assert left < down


@pytest.mark.mlx5("capabilities")
@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ({"capabilities": {"roce": False}, "mlx5": {"rdma": False}}, (False, 8)),
        ({"capabilities": {"maxIOEventQueues": 4}}, (True, 4)),
    ],
    ids=["roce", "queues"],
)
def test_capabilities_are_changed(world: World, spec: dict[str, Any], shown: tuple[bool, int]) -> None:
    world.apply()
    world.settle()
    world.apply(**spec)
    assert_ready(world, world.settle(), 1, derived())
    function = world.kernel.sub_function(PARENT, 1)
    assert (function.roce, function.max_io_eqs) == shown


@pytest.mark.mlx5("class devices")
@pytest.mark.parametrize("answers", [True, False], ids=["a pod has it", "the kubelet does not answer"])
@pytest.mark.parametrize("in_ledger", [True, False], ids=["in the ledger", "not in the ledger"])
@pytest.mark.parametrize("spec", [{"macAddress": MAC}, {"mlx5": {"rdma": False}}], ids=["mac", "rdma"])
def test_a_device_that_may_be_held_is_not_changed_and_says_that_the_change_waits(
    world: World, spec: dict[str, Any], *, in_ledger: bool, answers: bool
) -> None:
    world.apply()
    world.settle()
    before, offered = world.as_text(1), world.record()
    world.pods.holding.add("uid-blue")
    world.pods.kubelet_answers = answers
    if in_ledger:
        world.pods.in_ledger.add("uid-blue")
    world.apply(**spec)
    world.restart()
    outcome = world.settle()
    assert isinstance(outcome.decision, Rest)
    assert outcome.decision.pending
    assert world.as_text(1) == before
    assert world.record() == offered
    assert world.settle() == outcome  # and says the same each time
    assert world.record() == offered

    world.pods.give_back("uid-blue")
    world.pods.kubelet_answers = True
    assert_ready(world, world.settle(), 1, spec.get("macAddress", derived()))


def test_a_device_whose_record_was_lost_is_not_taken_from_its_pod_by_a_change(world: World) -> None:
    world.apply()
    world.settle()
    before = world.as_text(1)
    world.lose_records()
    world.pods.holding.add("uid-blue")
    world.restart()
    world.apply(macAddress=MAC)
    world.settle()
    assert world.as_text(1) == before


def test_a_device_whose_record_was_lost_is_not_taken_from_its_pod_by_a_deletion(world: World) -> None:
    world.apply()
    world.settle()
    before = world.as_text(1)
    world.lose_records()
    world.pods.holding.add("uid-blue")
    world.restart()
    world.delete()
    assert isinstance(world.settle().decision, Wait)
    assert world.as_text(1) == before
    world.pods.give_back("uid-blue")
    world.settle()
    assert_clean(world)


def test_a_setting_that_the_driver_does_not_offer_is_refused_before_a_running_function_is_touched(root: Path) -> None:
    world = World(root, Topology(parents=(Parent(bdf="0000:03:00.0", netdev="enp3s0np0", vhca_management=False),)))
    world.apply()
    world.settle()
    before = world.as_text(1)
    for capabilities in ({"roce": False}, {"maxIOEventQueues": 4}):
        world.apply(capabilities=capabilities)
        assert isinstance(world.settle().error, UnsupportedField)
        assert world.as_text(1) == before
    world.apply()
    assert_ready(world, world.settle(), 1, derived())


# --- deletion ---


def test_a_deletion_waits_for_the_pod_and_goes_on_by_itself(world: World) -> None:
    world.apply()
    world.settle()
    world.pods.take("uid-blue")
    before = world.as_text(1)
    world.delete()
    outcome = world.settle()
    assert isinstance(outcome.decision, Wait)
    assert outcome.decision.reason is Reason.IN_USE
    assert not world.offered()
    assert world.as_text(1) == before
    world.pods.give_back("uid-blue")
    world.settle()
    assert_clean(world)


def test_a_deletion_waits_while_nobody_can_tell_whether_a_pod_has_it(world: World) -> None:
    world.apply()
    world.settle()
    world.pods.kubelet_answers = False
    world.delete()
    assert isinstance(world.settle().decision, Wait)
    assert world.port_numbers() == [1]


def test_a_deletion_waits_for_a_netdev_that_is_in_a_pods_namespace(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.move_netdev(world.record().env["SUBFUNCTION_NETDEV"])
    world.delete()
    assert isinstance(world.settle().decision, Wait)
    assert world.port_numbers() == [1]
    world.kernel.namespace_ends()
    world.settle()
    assert_clean(world)


def test_force_takes_it_from_the_pod_once_the_object_has_said_so(world: World) -> None:
    world.apply(deletionPolicy="Force")
    world.settle()
    world.pods.take("uid-blue")
    world.delete()
    assert isinstance(world.settle().decision, Wait)
    assert world.port_numbers() == [1]
    told = world.objects["uid-blue"].status.condition(ConditionType.READY)
    assert told is not None
    assert (told.status, told.reason) == ("False", Reason.FORCED)
    assert "pod default/p holds it" in told.message
    world.restart()
    world.settle()
    assert_clean(world)


def test_retain_leaves_the_function_as_it_is_and_lets_the_object_go(world: World) -> None:
    world.apply(deletionPolicy="Retain")
    world.settle()
    before = world.as_text(1)
    world.delete()
    outcome = world.settle()
    assert outcome.gone
    assert world.as_text(1) == before
    assert (world.objects, world.records.read_all().items) == ({}, {})


def test_an_object_that_went_without_a_word_leaves_a_record_that_drains(world: World) -> None:
    world.apply()
    world.settle()
    del world.objects["uid-blue"]
    world.restart()
    world.settle()
    assert_clean(world)


@pytest.mark.mlx5("attaching takes its time")
def test_a_deletion_while_the_function_attaches_leaves_nothing(world: World) -> None:
    world.kernel.hold(Kind.ATTACH)
    world.apply()
    assert world.settle().attaching
    world.delete()
    world.kernel.let_go(Kind.ATTACH)
    world.settle()
    assert_clean(world)


@pytest.mark.mlx5("detaching takes its time")
def test_a_deletion_waits_for_the_driver_to_let_go_before_the_port_is_deleted(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.hold(Kind.DETACH)
    world.delete()
    outcome = world.settle()
    assert isinstance(outcome.decision, Wait)
    assert (outcome.decision.reason, outcome.decision.kernel) == (Reason.STILL_ATTACHED, True)
    assert not [step for step in world.seam.steps if isinstance(step, DeletePort)]
    world.kernel.let_go(Kind.DETACH)
    world.settle()
    assert_clean(world)


def test_a_deletion_goes_through_when_the_parent_is_gone(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.remove_parent(PARENT)
    world.delete()
    assert world.settle().gone
    assert world.records.read_all().items == {}


# --- the device ---


def test_a_parent_whose_driver_was_unbound_is_said_to_be_absent_and_gets_its_functions_back(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.unbind_pci(PARENT.device)
    error = world.settle().error
    assert isinstance(error, ParentNotFound)
    assert "no driver" in str(error)
    world.kernel.probe_pci(PARENT.device)
    assert_ready(world, world.settle(), 1, derived())


def test_a_driver_that_was_unbound_is_bound_again_at_the_first_look(world: World) -> None:
    world.apply()
    device = assert_ready_and_named(world)
    world.kernel.unbind_function(device)
    world.restart()
    assert_ready(world, world.settle(), 1, derived())
    first, *_ = world.seam.steps
    assert isinstance(first, StoreRecord)
    assert first.record.state is State.PREPARING
    assert [step for step in world.seam.steps if isinstance(step, Deactivate)] == []


@pytest.mark.mlx5("attaching takes its time")
def test_a_function_that_no_driver_takes_is_offered_once_more_and_then_taken_down_and_up(world: World) -> None:
    world.kernel.faults.fail_next(Operation.PROBE, EINVAL, times=2)
    world.apply()
    outcome = world.settle()
    assert isinstance(outcome.decision, Wait)
    assert len([step for step in world.seam.steps if isinstance(step, ProbeDriver)]) == 1
    assert_ready(world, world.settle(memory=dataclasses.replace(outcome.memory, overdue=True)), 1, derived())
    assert len([step for step in world.seam.steps if isinstance(step, Deactivate)]) == 1


@pytest.mark.mlx5("class devices")
def test_class_devices_are_loaded_by_one_reload(world: World) -> None:
    world.apply()
    world.settle()
    assert sum(isinstance(step, Reload) for step in world.seam.steps) == 1


def test_a_function_that_comes_up_whole_is_not_reloaded(root: Path) -> None:
    world = World(root, Topology(light_probe=False))
    world.apply()
    assert_ready(world, world.settle(), 1, derived())
    assert not [step for step in world.seam.steps if isinstance(step, Reload)]


def test_a_function_without_nested_handle_or_event_queues_is_made_on_an_older_kernel(root: Path) -> None:
    world = World(root, Topology(nested_handles=False, max_io_eqs=False))
    world.apply()
    assert_ready(world, world.settle(), 1, derived())


@pytest.mark.mlx5("class devices")
def test_a_class_device_that_does_not_come_is_reloaded_once_and_not_at_each_look(world: World) -> None:
    world.sysfs = WithoutRdma(world.sysfs)
    world.restart()
    world.apply()
    outcome = world.settle()
    assert outcome.attaching
    assert "RDMA device" in getattr(outcome.decision, "message", "")
    assert sum(isinstance(step, Reload) for step in world.seam.steps) <= 2


@pytest.mark.mlx5("class devices")
def test_a_reload_that_failed_half_way_is_done_again(world: World) -> None:
    world.apply()
    world.kernel.faults.fail_next(Operation.RELOAD, 5, "mlx5_core: firmware")
    assert isinstance(world.settle().error, KernelError)
    assert not world.offered()
    assert_ready(world, world.settle(), 1, derived())


def test_a_representor_is_set_up_or_down_as_asked(world: World) -> None:
    for state in ("up", "down", "up"):
        world.apply(representor={"adminState": state})
        seen = world.settle().seen
        assert seen is not None
        assert seen.representor is not None
        assert world.kernel.machine.netdevs.find(seen.representor.name).up is (state == "up")


# --- bad parents ---


def topology(**parent: Any) -> Topology:
    return Topology(parents=(Parent(bdf="0000:03:00.0", netdev="enp3s0np0", **parent),))


@pytest.mark.parametrize(
    ("node", "kind", "text", "hint"),
    [
        (topology(mode=EswitchMode.LEGACY), NotSwitchdev, "eswitch switchdev mode", "mode switchdev"),
        (topology(capacity=0), Full, "No space left", "PF_TOTAL_SF"),
        (topology(sub_functions=False), SubFunctionsUnsupported, "SF ports are not supported", "CONFIG_MLX5_SF"),
        (Topology(parents=()), ParentNotFound, "", "devlink dev show"),
        (Topology(devlink=False), SubFunctionError, "devlink", "driver"),
    ],
    ids=["legacy", "full", "unsupported", "absent", "without devlink"],
)
def test_a_parent_that_cannot_says_so_with_a_hint_and_leaves_nothing_half_made(
    root: Path, node: Topology, kind: type[SubFunctionError], text: str, hint: str
) -> None:
    world = World(root, node)
    world.apply()
    outcome = world.settle()
    assert isinstance(outcome.error, kind)
    assert text in str(outcome.error)
    assert hint in outcome.error.hint
    assert outcome.error.retry_after is not None
    shown = world.objects["uid-blue"].status
    assert shown.number is None
    ready = shown.condition(ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", kind.reason if kind is not SubFunctionError else "KernelTooOld")
    assert world.kernel.describe() == World(root / "fresh", node).kernel.describe()


def test_a_parent_that_was_full_is_used_as_soon_as_there_is_room(root: Path) -> None:
    world = World(root, topology(capacity=1))
    world.apply("a")
    world.settle("a")
    world.apply("b")
    for _ in range(3):
        assert isinstance(world.settle("b").error, Full)
    world.delete("a")
    world.settle("a")
    world.settle("b")
    assert world.port_numbers() == [port_claim(world.record("b")).number]


def test_a_parent_put_into_switchdev_mode_is_used(root: Path) -> None:
    world = World(root, topology(mode=EswitchMode.LEGACY))
    world.apply()
    world.settle()
    world.kernel.nic(PARENT).set_eswitch_mode(EswitchMode.SWITCHDEV)
    assert_ready(world, world.settle(), 1, derived())


def test_the_end_of_the_numbers_is_said(root: Path) -> None:
    world = World(root, policy=Policy(range(1, 3)))
    for name in ("a", "b"):
        world.apply(name)
        world.settle(name)
    world.apply("c")
    assert isinstance(world.settle("c").error, NumbersExhausted)
    assert world.port_numbers() == [1, 2]


@pytest.mark.mlx5("RDMA")
@pytest.mark.parametrize(
    "spec",
    [
        {"capabilities": {"migratable": True}},
        {"capabilities": {"ipsecCrypto": False}},
        {"capabilities": {"roce": False}},
    ],
    ids=["migratable", "ipsec", "RDMA without RoCE"],
)
def test_what_a_sub_function_cannot_have_is_refused_by_its_name_before_anything_is_made(
    world: World, spec: dict[str, Any]
) -> None:
    world.apply(**spec)
    outcome = world.settle()
    assert isinstance(outcome.error, UnsupportedField)
    assert world.port_numbers() == []
    world.delete()
    world.settle()
    assert world.objects == {}


def test_a_mac_that_the_kernel_refuses_is_said_in_its_words(world: World) -> None:
    world.apply(macAddress="03:00:00:00:00:01")
    outcome = world.settle()
    assert outcome.error is not None
    assert "Non-unicast" in str(outcome.error)
    world.apply()
    assert_ready(world, world.settle(), 1, derived())


def test_each_parent_has_its_own_numbers(world: World) -> None:
    world.apply("a")
    world.apply("b", parent={"device": str(OTHER_PARENT)})
    world.settle("a")
    world.settle("b")
    assert (world.port_numbers(), world.port_numbers(OTHER_PARENT)) == ([1], [1])


def test_a_record_of_another_boot_on_a_disk_that_outlives_it_is_taken_up_with_its_number(world: World) -> None:
    world.apply()
    world.settle()
    world.apply("b")
    world.settle("b")
    world.reboot(records_survive=True)
    assert_ready(world, world.settle("b"), 2, derived("b"), "b")
    assert_ready(world, world.settle(), 1, derived())


def test_a_record_of_another_boot_whose_object_is_gone_touches_nothing_of_this_one(world: World) -> None:
    world.apply()
    world.settle()
    world.reboot(records_survive=True)
    world.foreign(1)
    before = world.as_text(1)
    del world.objects["uid-blue"]
    world.settle()
    assert world.as_text(1) == before
    assert world.records.read_all().items == {}


@pytest.mark.mlx5("capabilities")
def test_settings_are_never_sent_to_an_active_function(world: World) -> None:
    world.apply()
    world.settle()
    for spec in ({"macAddress": MAC}, {"capabilities": {"maxIOEventQueues": 2}}):
        world.restart()
        world.apply(**spec)
        world.settle()
        steps = [step for step in world.seam.steps if isinstance(step, Deactivate | SetFunction)]
        assert [type(step) for step in steps] == [Deactivate, SetFunction]


def test_a_broken_device_leaves_the_offer_and_comes_back_when_it_is_whole(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.remove_parent(PARENT)
    outcome = world.settle()
    assert isinstance(outcome.error, ParentNotFound)
    assert not world.offered()
    assert world.record().health.reason == Reason.PARENT_NOT_FOUND
    world.kernel.rescan()
    assert_ready(world, world.settle(), 1, derived())


def test_one_look_that_fails_takes_nothing_out_of_the_offer(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.faults.fail_next(Operation.PORT_GET, 5, "mlx5_core: firmware")
    assert isinstance(world.settle().error, KernelError)
    assert world.offered()
    assert_ready(world, world.settle(), 1, derived())


def test_retain_keeps_the_record_until_the_pod_has_ended(world: World) -> None:
    world.apply(deletionPolicy="Retain")
    world.settle()
    world.pods.take("uid-blue")
    world.delete()
    assert isinstance(world.settle().decision, Wait)
    assert world.record().state is State.DRAINING
    world.pods.give_back("uid-blue")
    assert world.settle().gone
    assert world.port_numbers() == [1]


@pytest.mark.mlx5("RDMA")
def test_a_device_made_anew_under_a_pod_is_not_offered_as_the_one_it_was(world: World) -> None:
    world.apply()
    world.settle()
    promised = world.record()
    world.pods.take("uid-blue")
    # As `modprobe -r mlx5_ib; modprobe mlx5_ib`: the same function, another verbs device.
    world.devlink.reload(Handle("auxiliary", promised.device_id))
    outcome = world.settle()
    assert isinstance(outcome.decision, Rest)
    assert "made anew" in outcome.decision.pending
    assert world.record().witness == promised.witness
    assert world.record().health.reason == Reason.STALE_ALLOCATION
    world.pods.give_back("uid-blue")
    world.settle()
    assert world.record().witness != promised.witness
    assert world.offered()


@pytest.mark.parametrize("held", [True, False], ids=["a pod has it", "nobody has it"])
def test_made_anew_after_a_reset_it_is_ready_once_no_pod_has_the_one_before(world: World, *, held: bool) -> None:
    world.apply()
    world.settle()
    if held:
        world.pods.take("uid-blue")
    world.kernel.crash_driver(PARENT)
    world.settle()
    ready = world.objects["uid-blue"].status.condition(ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == (("False", Reason.STALE_ALLOCATION) if held else ("True", Reason.READY))
    assert world.offered()  # to the next pod: the kubelet gives it to nobody before
    world.restart()
    world.settle()
    assert ready == world.objects["uid-blue"].status.condition(ConditionType.READY)
    world.pods.give_back("uid-blue")
    assert_ready(world, world.settle(), 1, derived())


@pytest.mark.mlx5("RDMA")
def test_where_rdma_devices_are_in_one_namespace_each_the_object_says_what_a_pod_needs(world: World) -> None:
    world.kernel.tree.directory("module/ib_core/parameters", {"netns_mode": "N"})
    world.apply()
    assert_ready(world, world.settle(), 1, derived())
    told = world.objects["uid-blue"].status.condition(ConditionType.ALLOCATABLE)
    assert told is not None
    assert (told.status, told.reason) == ("True", Reason.RDMA_EXCLUSIVE)
    assert "rdma system set netns shared" in told.message


def test_a_record_lost_while_a_pod_has_the_netdev_gets_its_witness_again(world: World) -> None:
    world.apply()
    world.settle()
    promised = world.record()
    world.pods.take("uid-blue")
    world.kernel.move_netdev(promised.env["SUBFUNCTION_NETDEV"])
    world.lose_records()
    world.restart()
    world.settle()
    assert world.record().state is State.READY
    assert world.record().witness == promised.witness


@pytest.mark.mlx5("class devices")
def test_what_was_set_and_never_reloaded_is_applied(world: World) -> None:
    world.apply()
    world.settle()
    # As a crash leaves it between the parameter and the reload: the kernel shows the value that was set.
    world.devlink.set_parameter(Handle("auxiliary", world.record().device_id), "enable_rdma", value=False)
    world.apply(mlx5={"ethernet": True, "rdma": False})
    assert world.settle().error is None
    assert world.record().nodes == ()
    assert "SUBFUNCTION_RDMA" not in world.record().env
    assert not list(world.root.glob(f"sys/bus/auxiliary/devices/{world.record().device_id}/infiniband/*"))


def test_a_resource_name_of_a_domain_that_is_not_offered_is_refused(world: World) -> None:
    world.apply(resourceName="nvidia.com/gpu")
    outcome = world.settle()
    assert isinstance(outcome.error, UnsupportedField)
    assert "nvidia.com" in str(outcome.error)
    assert "resource-domains" in outcome.error.hint
    assert world.port_numbers() == []


def test_what_a_pod_was_handed_stands_when_more_could_be_handed_out_later(world: World) -> None:
    world.apply()
    world.settle()
    whole = world.record()
    # As if rdma_cm had been loaded after the pod came: its node is not among those handed out.
    without = [node for node in whole.nodes if not node.host_path.endswith("rdma_cm")]
    kept = {path: inode for path, inode in whole.witness.inodes.items() if "rdma_cm" not in path}
    numbers = {path: number for path, number in whole.witness.numbers.items() if "rdma_cm" not in path}
    witness = msgspec.structs.replace(whole.witness, inodes=kept, numbers=numbers)
    promised = msgspec.structs.replace(whole, nodes=tuple(without), witness=witness)
    world.records.write("uid-blue", promised)
    world.pods.take("uid-blue")
    world.settle()
    assert world.record() == promised
    world.pods.give_back("uid-blue")
    world.settle()
    assert world.record().nodes == whole.nodes
