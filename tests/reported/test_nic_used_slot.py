"""A port in a slot that another sub-function had shows that one's address, and is ours although its number is fixed."""

from pathlib import Path

import pytest

from rig.world import PARENT, World, derived


@pytest.fixture
def world(root: Path) -> World:
    """A node on which another sub-function had the first slot, and left its address there."""
    made = World(root)
    made.apply("former")
    made.settle("former")
    return made


def end_former(world: World) -> None:
    """Delete it behind the agent's back, so that nothing takes its address off the slot, and then its object."""
    world.kernel.lose_port(PARENT, 1)
    world.kernel.settle()
    assert str(world.kernel.nic(PARENT).addresses[0]) == derived("former")
    world.delete("former")
    world.settle("former")


def test_a_number_that_was_asked_for_is_made_in_a_used_slot(world: World) -> None:
    end_former(world)
    world.apply(number=88)
    world.settle()
    assert world.offered()
    assert (world.port_numbers(), world.mac(88)) == ([88], derived())


def test_a_port_that_was_lost_is_made_again_in_a_slot_that_another_had(world: World) -> None:
    world.apply()
    world.settle()
    end_former(world)
    world.kernel.lose_port(PARENT, 2)
    world.kernel.settle()
    world.settle()
    assert world.offered()
    assert (world.port_numbers(), world.mac(2)) == ([2], derived())
    assert world.kernel.sub_function(PARENT, 2).slot == 0
