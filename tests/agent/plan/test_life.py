"""One sub-function's life on a simulated kernel: made, brought onto its bus, mended, deleted."""

import dataclasses
from pathlib import Path

import pytest

from rig.claims import port_claim
from rig.verdicts import assert_clean, assert_ready, assert_ready_and_named
from rig.world import PARENT, WithoutRdma, World, derived
from subfunction.errors import KernelError, ParentNotFound
from subfunction.state.records import State
from subfunction_operator.agent.model.decision import Settled, Wait
from subfunction_operator.agent.model.steps import CreatePort, Deactivate, ProbeDriver, Reload, StoreRecord
from subfunction_simulator.kernel import Operation, Topology

MAC = "02:00:5e:10:00:01"
EINVAL = 22


@pytest.mark.mlx5("RDMA")
def test_an_object_becomes_a_function_with_its_mac_and_a_record_that_offers_it(world: World) -> None:
    world.apply(macAddress=MAC)
    result = world.settle()
    assert_ready(world, result, 1, MAC)
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
    assert world.settle().decision == Settled()
    assert world.seam.steps == []


def test_deleting_leaves_a_clean_kernel(world: World) -> None:
    world.apply()
    world.settle()
    world.delete()
    world.settle()
    assert_clean(world)


def test_a_parent_whose_driver_was_unbound_is_said_to_be_absent_and_gets_its_functions_back(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.unbind_pci(PARENT.device)
    error = world.settle().error
    assert isinstance(error, ParentNotFound)
    assert "no driver" in str(error)
    world.kernel.probe_pci(PARENT.device)
    assert_ready(world, world.settle(), 1, derived())


def test_a_function_whose_driver_was_unbound_comes_back_at_the_first_look(world: World) -> None:
    world.apply()
    device = assert_ready_and_named(world)
    world.kernel.unbind_function(device)
    world.restart()
    assert_ready(world, world.settle(), 1, derived())
    first, *_ = world.seam.steps
    assert isinstance(first, StoreRecord)
    assert first.record.state is State.PREPARING
    # mlx5's cannot be reloaded once it was bound again.
    deactivated = [step for step in world.seam.steps if isinstance(step, Deactivate)]
    assert len(deactivated) == (1 if world.flavour == "mlx5" else 0)


@pytest.mark.mlx5("attaching takes its time")
def test_a_function_that_no_driver_takes_is_offered_once_more_and_then_taken_down_and_up(world: World) -> None:
    world.kernel.faults.fail_next(Operation.PROBE, EINVAL, times=2)
    world.apply()
    assert_ready(world, world.settle(), 1, derived())
    assert len([step for step in world.seam.steps if isinstance(step, ProbeDriver)]) == 1
    assert len([step for step in world.seam.steps if isinstance(step, Deactivate)]) == 1


@pytest.mark.mlx5("attaching takes its time")
def test_a_function_that_no_driver_takes_is_taken_down_and_up_once_until_its_wait_was_in_vain(world: World) -> None:
    world.kernel.faults.fail_next(Operation.PROBE, EINVAL, times=4)
    world.apply()
    result = world.settle()
    assert isinstance(result.decision, Wait)
    assert len([step for step in world.seam.steps if isinstance(step, Deactivate)]) == 1
    assert_ready(world, world.settle(memory=dataclasses.replace(result.memory, overdue=True)), 1, derived())
    assert len([step for step in world.seam.steps if isinstance(step, Deactivate)]) == 2


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
    result = world.settle()
    assert result.attaching
    assert "RDMA device" in getattr(result.decision, "message", "")
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
        assert world.kernel.hardware.netdevs.find(seen.representor.name).up is (state == "up")
