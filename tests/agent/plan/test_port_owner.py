"""Whose a port is, on cards that show the last owner's address on a port that is made anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import pytest

from rig.claims import port_claim
from rig.verdicts import assert_clean, assert_ready
from rig.world import PARENT, Killed, World, derived
from subfunction.errors import Foreign, NumberTaken
from subfunction.kernel.address import Mac
from subfunction.kernel.uapi import EswitchMode
from subfunction_simulator.kernel import Operation, Topology

pytestmark = pytest.mark.mlx5("a slot keeps the address of its last owner")

THEIRS: Final = "02:aa:bb:cc:dd:ee"
NAMES: Final = ("a", "b", "c")


def use_slot(world: World, slots: int = 1) -> None:
    """Leave another tool's address in the first slots of the parent."""
    for number in range(900, 900 + slots):
        world.foreign(number, mac=THEIRS, active=False)
    for number in range(900, 900 + slots):
        port = world.kernel.sub_function(PARENT, number).port
        assert port is not None
        world.devlink.delete_port(PARENT, port.index)
    world.kernel.settle()


def reload(world: World) -> None:
    world.devlink.reload(PARENT)
    world.kernel.settle()
    world.kernel.nic(PARENT).set_eswitch_mode(EswitchMode.SWITCHDEV)


def legacy_and_back(world: World) -> None:
    world.kernel.nic(PARENT).set_eswitch_mode(EswitchMode.LEGACY)
    world.kernel.settle()
    world.kernel.nic(PARENT).set_eswitch_mode(EswitchMode.SWITCHDEV)


def unbind_and_bind(world: World) -> None:
    world.kernel.crash_driver(PARENT)
    world.kernel.settle()


def test_a_port_made_in_a_used_slot_is_ours_and_gets_our_address(world: World) -> None:
    use_slot(world)
    world.apply()
    assert_ready(world, world.settle(), 1, derived())
    assert world.port_numbers() == [1]


def test_an_address_is_taken_off_before_its_port_is_deleted(world: World) -> None:
    world.apply()
    world.settle()
    index = world.objects["uid-blue"].status.port
    world.delete()
    world.settle()
    assert_clean(world)
    again = world.devlink.create_port(PARENT, pf=0, number=50)
    assert again.index == index
    assert again.function is not None
    assert again.function.mac == Mac(bytes(6))


@pytest.mark.parametrize("way", [reload, legacy_and_back, unbind_and_bind], ids=lambda way: way.__name__)
@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_each_comes_back_as_itself_though_slots_are_dealt_out_in_another_order(
    world: World, way: Callable[[World], None], order: str
) -> None:
    for name in NAMES:
        world.apply(name)
        world.settle(name)
    way(world)
    for name in order:
        number = NAMES.index(name) + 1
        assert_ready(world, world.settle(name), number, derived(name), name)
    assert world.port_numbers() == [1, 2, 3]
    for name in NAMES:
        world.delete(name)
        world.settle(name)
    assert_clean(world)


@pytest.mark.parametrize("slots", [0, 1])
@pytest.mark.parametrize("kernel", [Topology(), Topology(filters_dumps=False)], ids=["Linux 6.5", "before"])
def test_whatever_the_slot_shows_a_port_is_taken_up_after_a_kill_at_each_step(
    root: Path, kernel: Topology, slots: int
) -> None:
    moments = _moments(root / "whole", slots)
    assert moments > 12
    for moment in range(moments):
        world = World(root / str(moment), kernel)
        use_slot(world, slots)
        world.apply()
        world.restart(kill_at=moment)
        with pytest.raises(Killed):
            world.settle()
        world.restart()
        assert_ready(world, world.settle(), 1, derived())
        assert world.port_numbers() == [1], moment


def _moments(root: Path, slots: int) -> int:
    root.parent.mkdir(exist_ok=True)
    world = World(root)
    use_slot(world, slots)
    world.apply()
    world.settle()
    return world.seam.moments


def test_an_idle_port_of_another_tool_is_not_claimed_for_its_number(world: World) -> None:
    world.foreign(7, mac=THEIRS, active=False)
    before = world.as_text(7)
    world.apply(number=7)
    assert isinstance(world.settle().error, Foreign)
    assert world.records.read("uid-blue") is None
    assert world.as_text(7) == before


def test_a_port_that_another_tool_made_in_place_of_ours_is_left_alone(world: World) -> None:
    world.apply()
    world.settle()
    index = world.objects["uid-blue"].status.port
    reload(world)
    assert world.foreign(1, mac=THEIRS, active=False) == index
    before = world.as_text(1)
    assert isinstance(world.settle().error, Foreign)
    assert world.as_text(1) == before


def test_an_address_that_is_changed_before_the_device_is_offered_does_not_make_our_port_foreign(world: World) -> None:
    world.apply()
    world.kernel.faults.fail_next(Operation.RELOAD, 5, "")
    world.settle()
    world.kernel.sub_function(PARENT, 1).mac = Mac.parse(THEIRS)
    assert_ready(world, world.settle(), 1, derived())


def test_a_record_of_an_older_agent_is_taken_over_and_names_the_representor(world: World) -> None:
    world.apply()
    world.settle()
    record, claim = world.record(), port_claim(world.record())
    assert claim.representor is not None
    old = msgspec.structs.replace(claim, representor=None)
    world.records.write("uid-blue", msgspec.structs.replace(record, claim=old))
    assert_ready(world, world.settle(), 1, derived())
    assert port_claim(world.record()).representor == claim.representor


def test_after_an_unknown_answer_the_number_is_asked_for_again_and_nothing_is_lost(world: World) -> None:
    world.apply()
    world.restart(kill_at=3)  # the port is made, and its index not written down
    with pytest.raises(Killed):
        world.settle()
    world.restart()
    world.kernel.faults.fail_next(Operation.PORT_NEW, 17, "mlx5_core: SF already exist. Choose different sfnum")
    assert_ready(world, world.settle(), 1, derived())
    assert world.port_numbers() == [1]


@pytest.mark.parametrize("recorded", [True, False], ids=["a record of today", "a record of an older agent"])
def test_a_deletion_killed_after_the_address_was_taken_off_leaves_no_port(world: World, *, recorded: bool) -> None:
    world.apply()
    world.settle()
    if not recorded:
        record = world.record()
        claim = msgspec.structs.replace(port_claim(record), representor=None)
        world.records.write("uid-blue", msgspec.structs.replace(record, claim=claim))
    world.delete()
    world.kernel.faults.fail_next(Operation.PORT_DELETE, 5, "")
    assert world.settle().error is not None
    assert str(world.kernel.sub_function(PARENT, 1).mac) == "00:00:00:00:00:00"
    world.restart()
    world.settle()
    assert_clean(world)


def test_what_another_tool_made_with_our_number_is_not_ours_after_a_refusal_though_it_shows_our_address(
    world: World,
) -> None:
    world.apply()
    world.settle()
    world.kernel.lose_port(PARENT, 1)
    world.kernel.settle()
    world.kernel.faults.fail_next(Operation.PORT_NEW, 17, "mlx5_core: SF already exist. Choose different sfnum")
    assert isinstance(world.settle().error, NumberTaken)
    world.foreign(1, mac=derived(), active=False)
    before = world.as_text(1)
    assert isinstance(world.settle().error, Foreign)
    assert world.as_text(1) == before


def lose(world: World) -> None:
    world.kernel.lose_function(PARENT, 1)
    world.kernel.settle()


def test_a_function_that_the_firmware_took_away_is_made_anew(world: World) -> None:
    world.apply()
    world.settle()
    lose(world)
    assert_ready(world, world.settle(), 1, derived())


def test_a_function_that_the_firmware_took_away_can_be_deleted(world: World) -> None:
    world.apply()
    world.settle()
    lose(world)
    world.delete()
    world.settle()
    assert_clean(world)


def test_a_function_that_the_firmware_took_away_can_be_changed(world: World) -> None:
    world.apply()
    world.settle()
    lose(world)
    world.apply(macAddress="02:53:46:00:00:09")
    assert_ready(world, world.settle(), 1, "02:53:46:00:00:09")


def test_a_number_that_the_firmware_keeps_after_a_kill_is_given_up(world: World) -> None:
    world.apply()
    world.restart(kill_at=1)  # announced, and not yet asked for
    with pytest.raises(Killed):
        world.settle()
    world.restart()
    world.kernel.faults.fail_next(Operation.PORT_NEW, 17, "mlx5_core: SF already exist. Choose different sfnum")
    assert_ready(world, world.settle(), 2, derived())
