"""What an object says of itself: the same for the same, dated by what changed, published once it is true."""

import msgspec
import pytest

from rig.world import NOW, PARENT, World, derived
from subfunction.api.conditions import ConditionType
from subfunction.api.subfunction import Phase, Status, SubFunction
from subfunction.errors import KernelBusy
from subfunction_operator.agent.api.status import build_status, event_for
from subfunction_operator.agent.model.decision import ReconcileResult
from subfunction_simulator.kernel import Kind, Operation

pytestmark = pytest.mark.mlx5("a status is of no driver")

LATER = "2026-01-01T01:00:00Z"


def told(found: SubFunction, said: Status) -> SubFunction:
    return msgspec.structs.replace(found, status=said)


def test_the_same_outcome_says_the_same_at_any_time(world: World) -> None:
    world.apply()
    result = world.settle()
    blue = world.objects["uid-blue"]
    assert build_status(blue, result, LATER) == blue.status
    assert event_for(blue, build_status(blue, result, LATER)) is None


@pytest.mark.parametrize("trouble", ["full", "held", "attaching", "busy"])
def test_trouble_that_goes_on_says_the_same_each_time(world: World, trouble: str) -> None:
    world.apply()
    if trouble == "full":
        world.kernel.faults.fail_next(Operation.PORT_NEW, 28, times=9)
    elif trouble == "attaching":
        world.kernel.hold(Kind.ATTACH)
    world.settle()
    if trouble == "held":
        world.pods.take("uid-blue")
        world.delete()
        world.settle()
    elif trouble == "busy":
        blue = world.objects["uid-blue"]
        world.objects[blue.uid] = told(
            blue, build_status(blue, ReconcileResult(None, error=KernelBusy("it hangs")), NOW)
        )
    before = world.objects["uid-blue"].status
    for _ in range(3):
        if trouble == "busy":
            again = build_status(world.objects["uid-blue"], ReconcileResult(None, error=KernelBusy("it hangs")), LATER)
        else:
            world.settle()
            again = world.objects["uid-blue"].status
        assert again == before


def test_a_transition_is_dated_by_the_change_of_status_alone(world: World) -> None:
    world.apply()
    world.kernel.hold(Kind.ATTACH)
    world.settle()
    blue = world.objects["uid-blue"]
    world.kernel.let_go(Kind.ATTACH)
    later = build_status(blue, world.settle(), LATER)
    dates = {condition.type: condition.last_transition_time for condition in later.conditions}
    assert {kind for kind, date in dates.items() if date == NOW} == {
        ConditionType.PLACED,
        ConditionType.CREATED,
        ConditionType.CONNECTED,
        ConditionType.IN_USE,
    }
    assert {kind for kind, date in dates.items() if date == LATER} == {
        ConditionType.ACTIVE,
        ConditionType.BOUND,
        ConditionType.ALLOCATABLE,
        ConditionType.READY,
    }


def test_another_reason_for_the_same_status_keeps_the_date(world: World) -> None:
    world.apply()
    world.kernel.faults.fail_next(Operation.PORT_NEW, 28)
    world.settle()
    blue = world.objects["uid-blue"]
    again = build_status(blue, ReconcileResult(None, error=KernelBusy("it hangs")), LATER)
    ready = again.condition(ConditionType.READY)
    assert ready is not None
    assert (ready.reason, ready.last_transition_time) == ("KernelBusy", NOW)


def test_number_and_parent_are_told_only_once_the_port_is_made(world: World) -> None:
    world.apply()
    world.kernel.faults.fail_next(Operation.PORT_NEW, 16, "mlx5_core: busy")
    world.settle()
    before = world.objects["uid-blue"].status
    assert (before.number, before.parent, before.port) == (None, None, None)
    world.settle()
    after = world.objects["uid-blue"].status
    assert (after.number, after.parent) == (1, str(PARENT))


def test_number_and_parent_stay_while_the_port_or_the_parent_is_gone(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.remove_parent(PARENT)
    world.settle()
    gone = world.objects["uid-blue"].status
    assert (gone.number, gone.parent, gone.phase) == (1, str(PARENT), Phase.FAILED)
    assert (gone.port, gone.device, gone.mac_address) == (None, None, None)


def test_a_foreign_port_is_never_shown_as_ours(world: World) -> None:
    world.foreign(7)
    world.apply(number=7)
    world.settle()
    shown = world.objects["uid-blue"].status
    assert (shown.number, shown.port, shown.mac_address, shown.representor) == (None, None, None, None)
    created = shown.condition(ConditionType.CREATED)
    assert created is not None
    assert (created.status, created.reason) == ("False", "Foreign")


def test_a_mac_that_is_not_set_yet_is_not_shown(world: World) -> None:
    world.apply()
    world.kernel.faults.fail_next(Operation.SET_MAC, 5, "mlx5_core: firmware")
    world.settle()
    assert world.objects["uid-blue"].status.mac_address is None
    world.settle()
    assert world.objects["uid-blue"].status.mac_address == derived()


def test_what_cannot_be_seen_stays_as_it_was_last_seen(world: World) -> None:
    world.apply()
    world.settle()
    world.pods.take("uid-blue")
    world.settle()
    blue = world.objects["uid-blue"]
    busy = build_status(blue, ReconcileResult(None, error=KernelBusy("it hangs", hint="Wait.")), LATER)
    ready = busy.condition(ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason, ready.message) == ("False", "KernelBusy", "it hangs. Wait.")
    assert busy.phase == Phase.FAILED
    for kind in ConditionType:
        if kind is not ConditionType.READY:
            assert busy.condition(kind) == blue.status.condition(kind)
    assert (busy.device, busy.port, busy.allocated_to) == (
        blue.status.device,
        blue.status.port,
        blue.status.allocated_to,
    )


def test_an_event_comes_with_each_change_of_ready_and_with_nothing_else(world: World) -> None:
    world.apply()
    world.kernel.faults.fail_next(Operation.PORT_NEW, 28, times=2)
    heard = []
    for _ in range(4):
        before = world.objects["uid-blue"]
        world.settle()
        event = event_for(before, world.objects["uid-blue"].status)
        heard.append((event.reason, event.warning) if event else None)
    assert heard == [("Full", True), None, ("Ready", False), None]


def test_the_event_of_readiness_names_number_parent_and_device(world: World) -> None:
    before = world.apply()
    world.settle()
    event = event_for(before, world.objects["uid-blue"].status)
    assert event is not None
    assert event.message == "sub-function 1 of pci/0000:03:00.0 is ready as mlx5_core.sf.2"


def test_every_condition_of_the_api_is_there_and_in_the_order_of_life(world: World) -> None:
    world.apply()
    world.settle()
    assert [condition.type for condition in world.objects["uid-blue"].status.conditions] == list(ConditionType)
    assert {condition.observed_generation for condition in world.objects["uid-blue"].status.conditions} == {1}
