"""A sub-function that another tool takes down while a process has its vDPA device open: what waits, and what does not.

Its removal keeps its devlink instance locked, so that a list of all instances or ports waits too; and mlx5 works on the
events of every eighth slot in turn.
"""

import time
from pathlib import Path

import pytest

from rig.survey import survey
from rig.waiting import until
from rig.world import PARENT, World, derived
from subfunction.api.reasons import Reason
from subfunction.errors import NumberTaken
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction_operator.agent.inventory.discovery import Discovery
from subfunction_operator.agent.model.decision import Wait
from subfunction_operator.agent.model.observation import RetryState
from subfunction_simulator.kernel import Operation, Topology
from subfunction_simulator.kernel.device_users import Held

pytestmark = pytest.mark.mlx5("vDPA")
LATE = RetryState(waited=10.0)


def taken_down(world: World, *, deleted: bool = False) -> Held:
    """Let another tool take down `held`, whose vDPA device a process has open; gives what lets it go."""
    world.apply("held", flavour="virtio")
    world.settle("held")
    port = world.objects["uid-held"].status.port
    assert port is not None
    holder = world.kernel.hold_open("vhost-vdpa-0")
    theirs = Devlink(Netlink(world.kernel.transport()))
    theirs.set_active(PARENT, port, active=False)
    if deleted:
        theirs.delete_port(PARENT, port)
    world.kernel.settle()
    return holder


@pytest.mark.parametrize("deleted", [False, True], ids=["deactivated", "its port deleted"])
def test_every_other_becomes_ready_but_the_eighth_which_says_what_it_waits_for(world: World, *, deleted: bool) -> None:
    holder = taken_down(world, deleted=deleted)
    began = time.monotonic()
    names = [f"o{slot}" for slot in range(1, 9)]
    for name in names:
        world.apply(name)
        world.settle(name)
    ready = [name for name in names if world.offered(name)]
    waiting = [name for name in names if not world.offered(name)]
    assert len(waiting) == 1, (ready, waiting)
    result = world.settle(waiting[0], LATE)
    assert isinstance(result.decision, Wait)
    assert result.decision.reason is Reason.ATTACHING
    readiness = (
        "may wait for mlx5_core.sf.2, whose port is deleted and"
        if deleted
        else "waits for sub-function 1, the SubFunction held,"
    )
    assert f"{readiness} whose driver has not let go" in result.decision.message
    assert "`fuser -v /dev/vhost-vdpa-*`" in result.decision.message
    assert time.monotonic() - began < 30

    holder.close()
    until(lambda: world.settle(waiting[0]).error is None and world.offered(waiting[0]), "the device is let go")


def test_the_one_that_was_taken_down_says_that_its_driver_has_not_let_go(world: World) -> None:
    holder = taken_down(world)
    result = world.settle("held")
    assert isinstance(result.decision, Wait)
    assert result.decision.reason is Reason.STILL_ATTACHED
    holder.close()
    until(lambda: world.settle("held").error is None and world.offered("held"), "the device is let go")
    assert (world.port_numbers(), world.mac(1)) == ([1], derived("held"))


def test_one_whose_port_was_deleted_waits_for_its_number_and_keeps_it(world: World) -> None:
    holder = taken_down(world, deleted=True)
    error = world.settle("held").error
    assert isinstance(error, NumberTaken)
    assert error.retry_after is not None
    assert world.objects["uid-held"].status.number == 1
    holder.close()
    until(lambda: world.settle("held").error is None and world.offered("held"), "the device is let go")
    assert (world.port_numbers(), world.mac(1)) == ([1], derived("held"))


def test_the_node_is_surveyed_meanwhile(world: World) -> None:
    holder = taken_down(world)
    parents = survey(Discovery(world.sysfs, world.records), world.devlink).parents
    assert [str(parent.function.handle) for parent in parents] == [str(each.handle) for each in Topology().parents]
    holder.close()


def test_before_linux_6_5_no_list_is_asked_for_and_every_other_becomes_ready(root: Path) -> None:
    world = World(root, Topology(filters_dumps=False))
    holder = taken_down(world)
    for name in ("a", "b"):
        world.apply(name)
        world.settle(name)
        assert world.offered(name)
    result = world.settle("held")
    assert isinstance(result.decision, Wait)
    assert result.decision.reason is Reason.STILL_ATTACHED
    holder.close()
    until(lambda: world.settle("held").error is None and world.offered("held"), "the device is let go")


def test_before_linux_6_5_a_number_of_another_tool_is_met_as_one_that_the_kernel_refuses(root: Path) -> None:
    world = World(root, Topology(filters_dumps=False))
    world.foreign(1)
    before = world.as_text(1)
    world.apply()
    world.settle()
    assert (world.offered(), world.port_numbers(), world.as_text(1)) == (True, [1, 2], before)


def test_before_linux_6_5_a_sub_function_is_taken_over_when_asked(root: Path) -> None:
    world = World(root, Topology(filters_dumps=False))
    world.foreign(7)
    world.apply(number=7, adopt=True)
    world.settle()
    assert (world.offered(), world.port_numbers()) == (True, [7])


def test_one_whose_own_probe_failed_is_probed_though_another_has_not_let_go(world: World) -> None:
    holder = taken_down(world, deleted=True)
    world.kernel.faults.fail_next(Operation.PROBE, 22)
    world.apply("other")
    world.settle("other")
    assert world.offered("other")
    holder.close()
