"""Killed at any step and started again: the kernel holds what the object asks for, once, and the record says so.

The moments come from an undisturbed run of the same story: before the first step, and after each. Here is what the
stories of test_crash_flavours.py do not tell: what others do meanwhile.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rig.claims import port_claim
from rig.world import PARENT, Killed, World, derived
from subfunction.state.records import State
from subfunction_operator.agent.model.decision import Settled
from subfunction_operator.agent.model.steps import CreatePort

MAC = "02:00:5e:10:00:01"

Story = Callable[[World], None]


def change(**spec: Any) -> Story:
    def story(world: World) -> None:
        world.apply()
        world.settle()
        world.apply(**spec)

    return story


def made_again(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.lose_port(PARENT, 1)
    world.kernel.settle()


def orphan(world: World) -> None:
    world.apply()
    world.settle()
    del world.objects["uid-blue"]


STORIES: dict[str, tuple[Story, str | None]] = {
    "another MAC": (change(macAddress=MAC), MAC),
    "made again": (made_again, derived()),
    "orphaned": (orphan, None),
}


def moments(folder: Path, story: Story) -> range:
    """Count the moments of a story that nothing disturbs; the one after a step is the one before the next."""
    world = World(folder)
    story(world)
    world.restart()
    world.settle()
    assert world.seam.moments == 2 * len(world.seam.steps) > 0
    return range(-1, world.seam.moments, 2)


def killed(world: World, moment: int) -> None:
    """Work until the moment comes: -1 is before the first step."""
    world.restart(kill_at=max(moment, 0))
    with pytest.raises(Killed):
        world.settle()


def check(world: World, mac: str | None) -> None:
    """Compare kernel and record with what is asked; None asks for nothing."""
    if mac is None:
        assert (world.port_numbers(), world.records.read_all().items, world.objects) == ([], {}, {})
        assert list(world.records.path.glob("*")) == []
        return
    assert world.port_numbers() == [1]
    assert world.mac(1) == mac
    record, function = world.record(), world.kernel.sub_function(PARENT, 1)
    wanted = world.objects["uid-blue"].spec
    assert function.port is not None
    assert function.device is not None
    assert (function.active, function.attached) == (True, True)
    assert function.roce is (wanted.capabilities.roce is not False)
    assert (record.state, record.health.healthy) == (State.READY, True)
    assert (port_claim(record).number, port_claim(record).port_index, port_claim(record).mac_address) == (
        1,
        function.port.index,
        mac,
    )
    assert record.device_id == function.device.name
    assert bool(record.nodes) is wanted.mlx5.rdma


@pytest.mark.parametrize("name", STORIES)
def test_killed_at_any_step_and_started_again(root: Path, name: str) -> None:
    story, mac = STORIES[name]
    for moment in moments(root / "undisturbed", story):
        world = World(root / str(moment))
        story(world)
        killed(world, moment)
        world.restart()
        if world.objects or world.records.read_all().items:
            result = world.settle()
            assert result.error is None, f"killed at {moment}: {result.error}"
            assert result.decision == Settled(), f"killed at {moment}"
        check(world, mac)
        made = sum(isinstance(step, CreatePort) for step in world.seam.steps)
        assert made <= 1


def test_killed_again_and_again_it_still_gets_there(root: Path) -> None:
    world = World(root)
    world.apply(macAddress=MAC)
    for _ in itertools.count():
        # One step further each time, whatever is to do then.
        world.restart(kill_at=2)
        try:
            result = world.settle()
        except Killed:
            continue
        break
    assert result.decision == Settled()
    check(world, MAC)


def test_killed_when_its_number_was_taken_meanwhile_it_takes_another_and_leaves_that_one_alone(root: Path) -> None:
    world = World(root)
    world.apply()
    world.restart(kill_at=1)
    with pytest.raises(Killed):
        world.settle()
    assert port_claim(world.record()).port_index is None
    world.foreign(1)
    before = world.as_text(1)
    world.restart()
    assert world.settle().decision == Settled()
    assert world.as_text(1) == before
    assert world.port_numbers() == [1, 2]


def test_killed_before_the_port_is_known_two_objects_do_not_take_each_others(root: Path) -> None:
    world = World(root)
    for name in ("a", "b"):
        world.apply(name)
        world.restart(kill_at=3)  # the port is made, and the record does not name it yet
        with pytest.raises(Killed):
            world.settle(name)
    world.restart()
    for name in ("b", "a"):
        assert world.settle(name).decision == Settled()
    assert (world.port_numbers(), world.mac(1), world.mac(2)) == ([1, 2], derived("a"), derived("b"))
