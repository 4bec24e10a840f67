"""A virtual function through what others do to it: drivers, pods, resets, modes, reboots."""

from pathlib import Path

import pytest

from rig.virtualfunctions import (
    ADDRESS,
    EINVAL,
    FUNCTIONS,
    THEIRS,
    VF,
    assert_ready,
    function,
    given_to,
    netdev,
    representor,
    shown,
)
from rig.world import PARENT, World, derived
from subfunction.api.reasons import Reason
from subfunction.errors import Foreign, NumberOwned, ParentNotFound
from subfunction.kernel.uapi import EswitchMode
from subfunction_operator.agent.model.decision import Settled
from subfunction_simulator.kernel import Operation, Topology
from subfunction_simulator.kernel.topology import MODULES


@pytest.fixture
def world(root: Path) -> World:
    return World(root, Topology(parents=(FUNCTIONS,)))


def test_a_setting_that_changes_waits_for_the_pod(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.pods.take("uid-blue")
    world.apply(**VF, macAddress="02:00:00:00:00:06")
    result = world.settle()
    assert isinstance(result.decision, Settled)
    assert "when no pod has the device" in result.decision.pending
    assert world.offered()
    world.pods.give_back("uid-blue")
    assert_ready(world, world.settle())
    assert world.record().env["SUBFUNCTION_MAC"] == "02:00:00:00:00:06"


def test_a_function_that_somebody_took_from_vfio_is_bound_again(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.kernel.unbind_pci(ADDRESS)
    assert_ready(world, world.settle())
    assert function(world).driver == "vfio-pci"


def test_after_a_reboot_it_is_the_same_function(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.reboot()
    assert_ready(world, world.settle())
    assert world.record().device_id == ADDRESS


def test_after_a_reboot_another_object_that_asks_for_it_waits_for_the_one_that_had_it(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.apply("other", **VF)
    assert isinstance(world.settle("other").error, NumberOwned)
    world.reboot()
    error = world.settle("other").error
    assert isinstance(error, NumberOwned)
    assert "blue" in str(error)
    assert_ready(world, world.settle())
    assert isinstance(world.settle("other").error, NumberOwned)
    world.delete()
    world.settle()
    assert isinstance(world.settle("other").decision, Settled)


def test_ours_that_somebody_gave_to_a_pod_leaves_the_offer_until_the_pod_ends(world: World) -> None:
    world.apply(**VF)
    world.settle()
    given_to(world, "mlx5_core")
    world.kernel.move_netdev(netdev(world).name)
    result = world.settle()
    assert isinstance(result.decision, Settled)
    assert "namespace of a pod" in result.decision.pending
    assert function(world).driver == "mlx5_core"
    assert not world.offered()
    world.kernel.namespace_ends()
    assert_ready(world, world.settle())


def test_after_a_reboot_one_that_a_pod_has_by_now_is_left_to_the_pod(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.reboot(records_survive=True)
    world.kernel.move_netdev(netdev(world).name)
    assert isinstance(world.settle().error, Foreign)
    assert function(world).driver == "mlx5_core"


def test_the_driver_is_chosen_once_whatever_is_loaded_later(world: World) -> None:
    world.apply(**VF)
    world.settle()
    before = world.record()
    world.kernel.load_module("mlx5_vfio_pci")
    assert_ready(world, world.settle())
    assert world.record() == before
    assert function(world).driver == "vfio-pci"
    world.delete()
    world.settle()
    assert function(world).driver == "mlx5_core"


def test_where_its_driver_is_unloaded_another_one_takes_it(root: Path) -> None:
    world = World(root, Topology(parents=(FUNCTIONS,), modules=(*MODULES, "mlx5_vfio_pci")))
    world.apply(**VF)
    world.settle()
    world.kernel.unload_module("mlx5_vfio_pci")
    assert_ready(world, world.settle())
    assert function(world).driver == "vfio-pci"
    world.delete()
    world.settle()
    assert function(world).driver == "mlx5_core"


def test_an_adopted_one_whose_record_was_lost_keeps_its_address(world: World) -> None:
    given_to(world, "vfio-pci", THEIRS)
    world.apply(**VF, adopt=True)
    world.settle()
    world.lose_records()
    world.restart()
    assert_ready(world, world.settle())
    assert shown(world).mac == THEIRS


def test_one_that_somebody_unbound_from_a_pod_is_bound_again_and_the_pod_told_stale(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.pods.take("uid-blue")
    world.kernel.unbind_pci(ADDRESS)
    result = world.settle()
    assert isinstance(result.decision, Settled)
    assert "made anew while a pod has the old ones" in result.decision.pending
    assert function(world).driver == "vfio-pci"
    assert world.record().health.reason == Reason.STALE_ALLOCATION
    assert not world.offered()
    world.pods.give_back("uid-blue")
    assert_ready(world, world.settle())


def test_one_that_somebody_gave_to_another_vfio_driver_waits_for_the_pod(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.pods.take("uid-blue")
    world.kernel.load_module("mlx5_vfio_pci")
    given_to(world, "mlx5_vfio_pci")
    result = world.settle()
    assert isinstance(result.decision, Settled)
    assert "mlx5_vfio_pci" in result.decision.pending
    assert not world.offered()
    world.pods.give_back("uid-blue")
    assert_ready(world, world.settle())
    assert function(world).driver == "vfio-pci"


def test_a_half_changed_one_is_not_offered_while_nobody_can_tell_who_has_it(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.kernel.faults.fail_next(Operation.SET_MAC, EINVAL, "mlx5_core: no")
    world.apply(**VF, macAddress="02:00:00:00:00:06")
    assert world.settle().error is not None
    world.pods.kubelet_answers = False
    world.settle()
    assert not world.offered()
    world.pods.kubelet_answers = True
    assert_ready(world, world.settle())
    assert str(shown(world).mac) == "02:00:00:00:00:06"


@pytest.mark.parametrize("held", [False, True], ids=["free", "held"])
def test_through_a_reset_of_its_parent_it_is_as_asked_again(world: World, held: bool) -> None:  # noqa: FBT001
    world.apply(**VF, macAddress="02:00:00:00:00:05")
    world.settle()
    if held:
        world.pods.take("uid-blue")
    world.kernel.crash_driver(PARENT)
    result = world.settle()
    if held:
        assert isinstance(result.decision, Settled)
        assert "when no pod has the device" in result.decision.pending
        world.pods.give_back("uid-blue")
        result = world.settle()
    assert_ready(world, result)
    assert (function(world).driver, str(shown(world).mac)) == ("vfio-pci", "02:00:00:00:00:05")


@pytest.mark.parametrize("held", [False, True], ids=["free", "held"])
def test_taken_out_and_found_again_it_is_offered_to_the_next_pod(world: World, held: bool) -> None:  # noqa: FBT001
    world.apply(**VF)
    world.settle()
    if held:
        world.pods.take("uid-blue")
    world.kernel.remove_parent(PARENT)
    assert isinstance(world.settle().error, ParentNotFound)
    assert not world.offered()
    world.kernel.rescan()
    assert function(world).driver == "mlx5_core"
    result = world.settle()
    if held:
        assert isinstance(result.decision, Settled)
        assert "made anew" in result.decision.pending
        assert world.record().health.reason == Reason.STALE_ALLOCATION
        world.pods.give_back("uid-blue")
        result = world.settle()
    assert_ready(world, result)
    assert function(world).driver == "vfio-pci"
    world.delete()
    world.settle()
    assert function(world).driver == "mlx5_core"


def test_legacy_and_back_it_stays_offered_and_has_its_address_again(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.kernel.set_eswitch_mode(PARENT, EswitchMode.LEGACY)
    assert_ready(world, world.settle())
    assert "SUBFUNCTION_MAC" not in world.record().env
    world.kernel.set_eswitch_mode(PARENT, EswitchMode.SWITCHDEV)
    assert_ready(world, world.settle())
    assert str(shown(world).mac) == derived()
    assert representor(world).up
