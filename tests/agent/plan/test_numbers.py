"""Which number a sub-function has, and whose a port is: chosen once, kept through reboots and lost records."""

from pathlib import Path

import msgspec
import pytest

from rig.claims import port_claim
from rig.verdicts import assert_clean, assert_ready
from rig.world import OTHER_PARENT, PARENT, Killed, World, derived
from subfunction.errors import Foreign, NumberOwned, NumbersExhausted, NumberTaken
from subfunction_operator.agent.model.number_ranges import NumberRanges
from subfunction_operator.agent.model.observation import NodePolicy
from subfunction_operator.agent.model.steps import StoreRecord
from subfunction_simulator.kernel import Operation

MAC = "02:00:5e:10:00:01"
EBUSY = 16
EEXIST = 17
EINVAL = 22


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


def test_a_chosen_number_that_the_kernel_refuses_is_left_for_a_while_and_the_next_one_is_taken_at_once(
    world: World,
) -> None:
    world.apply()
    world.kernel.faults.fail_next(Operation.PORT_NEW, EEXIST, "mlx5_core: SF already exist. Choose different sfnum")
    assert_ready(world, world.settle(), 2, derived())
    world.apply("green")
    assert_ready(world, world.settle("green"), 3, derived("green"), "green")


def test_a_number_that_must_be_ours_is_waited_for_where_the_kernel_refuses_it(world: World) -> None:
    world.apply(number=7)
    world.kernel.faults.fail_next(Operation.PORT_NEW, EEXIST, "mlx5_core: SF already exist. Choose different sfnum")
    result = world.settle()
    assert isinstance(result.error, NumberTaken)
    assert result.error.retry_after is not None
    assert world.records.read("uid-blue") is None
    assert_ready(world, world.settle(), 7, derived())


def test_no_port_of_another_is_claimed_for_a_number_that_the_kernel_refused(world: World) -> None:
    world.apply(number=7)
    world.kernel.faults.fail_next(Operation.PORT_NEW, EEXIST, "mlx5_core: SF already exist. Choose different sfnum")
    world.settle()
    world.foreign(7, mac=None, active=False)
    before = world.as_text(7)
    assert isinstance(world.settle().error, Foreign)
    assert world.as_text(7) == before


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
    result = world.settle()
    assert world.as_text(1) == before
    assert deleting or isinstance(result.error, Foreign)
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
    result = world.settle()
    assert isinstance(result.error, Foreign)
    assert "devlink port del" in result.error.hint
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
    world.restart(kill_at=1)  # the announcement is written, and nothing made yet
    with pytest.raises(Killed):
        world.settle()
    world.restart()
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


def test_the_end_of_the_numbers_is_said(root: Path) -> None:
    world = World(root, policy=NodePolicy(NumberRanges(range(1, 3))))
    for name in ("a", "b"):
        world.apply(name)
        world.settle(name)
    world.apply("c")
    assert isinstance(world.settle("c").error, NumbersExhausted)
    assert world.port_numbers() == [1, 2]


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
