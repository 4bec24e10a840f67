"""With `restore-switchdev` the agent puts a parent that a reload or a recovery left in legacy mode back into switchdev.

It does so for a sub-function that was there before, and only while the parent has nothing else that a change of the
mode would end: no virtual functions, no mediated devices.
"""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from rig.verdicts import assert_ready
from rig.world import PARENT, Killed, World, derived
from subfunction.errors import CardFailed, NotSwitchdev, SwitchdevRefused
from subfunction.kernel.uapi import EswitchMode
from subfunction_operator.agent.model.observation import NodePolicy
from subfunction_operator.agent.model.steps import SetSwitchdev
from subfunction_simulator.kernel import Parent, Topology
from subfunction_simulator.kernel.faults import Operation

RESTORING = NodePolicy(restore_switchdev=True)


def node(root: Path, policy: NodePolicy = RESTORING, **parent: Any) -> World:
    only = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", **parent)
    return World(root, Topology(parents=(only,)), policy=policy)


def reload(world: World) -> None:
    """As `devlink dev reload` and a recovery from a fatal error leave mlx5: no port, legacy mode."""
    world.devlink.reload(PARENT)
    world.kernel.settle()


def mode(world: World) -> EswitchMode | None:
    return world.devlink.eswitch_mode(PARENT)


def changes(world: World) -> list[SetSwitchdev]:
    return [step for step in world.seam.steps if isinstance(step, SetSwitchdev)]


def test_after_a_reload_the_mode_is_set_and_the_sub_function_made_again_with_its_number(root: Path) -> None:
    world = node(root)
    world.apply()
    world.settle()
    reload(world)
    assert_ready(world, world.settle(), 1, derived())
    assert changes(world) == [SetSwitchdev(PARENT)]


def test_after_a_reboot_the_mode_is_left_alone_since_the_address_may_be_another_cards(root: Path) -> None:
    world = node(root)
    world.apply()
    world.settle()
    world.reboot()
    world.kernel.set_eswitch_mode(PARENT, EswitchMode.LEGACY)
    assert isinstance(world.settle().error, NotSwitchdev)
    assert mode(world) is EswitchMode.LEGACY


def test_a_parent_whose_reload_failed_is_named_and_left_alone(root: Path) -> None:
    world = node(root)
    world.apply()
    world.settle()
    reload(world)
    world.kernel.nic(PARENT).reload_failed = True
    error = world.settle().error
    assert isinstance(error, CardFailed)
    assert f"devlink dev reload {PARENT}" in str(error)
    assert changes(world) == []


def test_a_parent_that_does_not_stay_in_switchdev_mode_is_left_alone_for_a_minute(root: Path) -> None:
    world = node(root)
    world.apply()
    world.apply("other")
    world.settle()
    world.settle("other")
    reload(world)
    world.settle()
    world.kernel.set_eswitch_mode(PARENT, EswitchMode.LEGACY)
    for name in ("blue", "other", "blue"):
        error = world.settle(name).error
        assert isinstance(error, NotSwitchdev)
        assert "a moment ago" in str(error)
    assert len(changes(world)) == 1


def test_without_the_setting_the_mode_is_left_alone_and_the_command_named(root: Path) -> None:
    world = node(root, NodePolicy())
    world.apply()
    world.settle()
    reload(world)
    error = world.settle().error
    assert isinstance(error, NotSwitchdev)
    assert f"devlink dev eswitch set {PARENT} mode switchdev" in str(error)
    assert mode(world) is EswitchMode.LEGACY


def test_a_parent_on_which_no_sub_function_was_is_left_in_legacy_mode(root: Path) -> None:
    world = node(root, mode=EswitchMode.LEGACY)
    world.apply()
    assert isinstance(world.settle().error, NotSwitchdev)
    assert mode(world) is EswitchMode.LEGACY


def test_a_parent_with_virtual_functions_is_left_alone_and_they_are_named(root: Path) -> None:
    world = node(root, virtual_functions=2)
    world.apply()
    world.settle()
    reload(world)
    error = world.settle().error
    assert isinstance(error, NotSwitchdev)
    assert "0000:03:01.0 and 1 more" in str(error)
    assert mode(world) is EswitchMode.LEGACY


def test_a_card_that_its_driver_gave_up_says_legacy_and_is_left_alone(root: Path) -> None:
    world = node(root)
    world.apply()
    world.settle()
    world.kernel.fail_card(PARENT)
    world.kernel.settle()
    assert isinstance(world.settle().error, CardFailed)
    assert changes(world) == []
    world.kernel.recover_card(PARENT)
    world.kernel.settle()
    assert_ready(world, world.settle(), 1, derived())


def test_a_deletion_never_changes_the_mode(root: Path) -> None:
    world = node(root)
    world.apply()
    world.settle()
    reload(world)
    world.delete()
    world.settle()
    assert world.objects == {}
    assert mode(world) is EswitchMode.LEGACY


def test_a_refused_change_is_told_in_the_kernels_words_and_tried_again_later(root: Path) -> None:
    world = node(root)
    world.apply()
    world.settle()
    reload(world)
    world.kernel.faults.fail_next(Operation.ESWITCH_SET, 22, "mlx5_core: LAG is active")
    error = world.settle().error
    assert isinstance(error, SwitchdevRefused)
    assert "LAG is active" in str(error)
    again = world.settle().error
    assert isinstance(again, NotSwitchdev)
    assert "LAG is active" in str(again)
    assert len(changes(world)) == 1
    world.restart()
    assert_ready(world, world.settle(), 1, derived())


@pytest.mark.parametrize("kill_at", range(8))
def test_an_agent_that_is_killed_at_any_step_ends_at_the_same(root: Path, kill_at: int) -> None:
    world = node(root)
    world.apply()
    world.settle()
    reload(world)
    world.restart(kill_at)
    with contextlib.suppress(Killed):
        world.settle()
    world.restart()
    assert_ready(world, world.settle(), 1, derived())
