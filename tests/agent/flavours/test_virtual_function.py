"""Flavour vfio with a virtual function: whose it is, and what is handed out of it."""

from pathlib import Path

import pytest

from rig.virtualfunctions import ADDRESS, EINVAL, FUNCTIONS, OF_ICE, VF, assert_ready, function, given_to, netdev, shown
from rig.world import PARENT, World, derived
from subfunction.errors import (
    DriverNotLoaded,
    Foreign,
    GroupShared,
    NoVirtualFunction,
    NumberOwned,
    SubFunctionError,
    UnsupportedField,
)
from subfunction.kernel.uapi import EswitchMode
from subfunction_operator.agent.model.decision import Wait
from subfunction_operator.agent.model.steps import ProbeDriver
from subfunction_simulator.kernel import Operation, Parent, Topology
from subfunction_simulator.kernel.topology import MODULES


@pytest.fixture
def world(root: Path) -> World:
    return World(root, Topology(parents=(FUNCTIONS,)))


def test_a_virtual_function_is_offered_on_its_vfio_driver(world: World) -> None:
    world.apply(**VF)
    assert_ready(world, world.settle())
    record, shown = world.record(), function(world)
    assert shown.driver == "vfio-pci"
    assert record.device_id == ADDRESS
    assert [node.container_path for node in record.nodes] == ["/dev/vfio/vfio", f"/dev/vfio/{shown.group}"]
    assert record.env == {"SUBFUNCTION_DEVICE": ADDRESS, "SUBFUNCTION_MAC": derived()}
    status = world.objects["uid-blue"].status
    assert status.device is not None
    assert (status.device.bus, status.device.id, status.parent) == ("pci", ADDRESS, str(PARENT))


def test_mac_and_capabilities_are_set_by_its_port_while_nothing_drives_it(world: World) -> None:
    world.apply(**VF, macAddress="02:00:00:00:00:05", capabilities={"migratable": True})
    assert_ready(world, world.settle())
    assert (str(shown(world).mac), shown(world).migratable) == ("02:00:00:00:00:05", True)


def test_in_legacy_mode_a_mac_is_refused_and_without_one_it_is_given_away_as_it_is(world: World) -> None:
    world.kernel.set_eswitch_mode(PARENT, EswitchMode.LEGACY)
    world.apply(**VF, macAddress="02:00:00:00:00:05")
    error = world.settle().error
    assert isinstance(error, UnsupportedField)
    assert "switchdev" in str(error)
    world.apply("other", flavour="vfio", vfio={"virtualFunction": 1})
    assert_ready(world, world.settle("other"), "other")


def refused(root: Path, topology: Topology, index: int = 0) -> tuple[World, SubFunctionError]:
    world = World(root, topology)
    world.apply(flavour="vfio", vfio={"virtualFunction": index})
    error = world.settle().error
    assert error is not None
    assert world.records.read_all().items == {}
    return world, error


def test_a_function_that_is_not_there_is_named_with_how_to_make_it(root: Path) -> None:
    _, error = refused(root, Topology(parents=(FUNCTIONS,)), index=9)
    assert isinstance(error, NoVirtualFunction)
    assert "sriov_numvfs" in str(error)


def test_a_group_that_others_are_in_is_refused_by_their_names(root: Path) -> None:
    shared = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", virtual_functions=4, functions_per_group=2)
    _, error = refused(root, Topology(parents=(shared,)))
    assert isinstance(error, GroupShared)
    assert shared.virtual_function(1) in str(error)


def test_a_machine_without_an_iommu_says_so(root: Path) -> None:
    _, error = refused(root, Topology(parents=(FUNCTIONS,), iommu=False))
    assert isinstance(error, UnsupportedField)
    assert "intel_iommu=on" in str(error)


def test_a_vfio_driver_that_is_not_loaded_is_named(root: Path) -> None:
    modules = tuple(module for module in MODULES if module != "vfio_pci")
    world, error = refused(root, Topology(parents=(FUNCTIONS,), modules=modules))
    assert isinstance(error, DriverNotLoaded)
    assert "modprobe vfio-pci" in str(error)
    world.kernel.load_module("vfio_pci")
    assert_ready(world, world.settle())


def test_the_parents_own_vfio_driver_is_taken_where_it_is_loaded(root: Path) -> None:
    world = World(root, Topology(parents=(FUNCTIONS,), modules=(*MODULES, "mlx5_vfio_pci")))
    world.apply(**VF)
    assert_ready(world, world.settle())
    assert function(world).driver == "mlx5_vfio_pci"


def test_one_that_somebody_else_gave_to_vfio_is_left_alone_unless_adopted(world: World) -> None:
    given_to(world, "vfio-pci")
    world.apply(**VF)
    assert isinstance(world.settle().error, Foreign)
    world.apply(**VF, adopt=True)
    assert_ready(world, world.settle())


def test_two_objects_do_not_share_a_function(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.apply("other", **VF)
    error = world.settle("other").error
    assert isinstance(error, NumberOwned)
    assert "blue" in str(error)


@pytest.mark.parametrize("parent", [FUNCTIONS, OF_ICE], ids=["mlx5", "ice"])
def test_one_whose_netdev_a_pod_has_is_left_to_the_pod(root: Path, parent: Parent) -> None:
    world = World(root, Topology(parents=(parent,)))
    before = function(world).driver
    world.kernel.move_netdev(netdev(world).name)
    world.apply(**VF)
    error = world.settle().error
    assert isinstance(error, Foreign)
    assert "a pod uses it" in str(error)
    assert function(world).driver == before
    world.kernel.namespace_ends()
    assert_ready(world, world.settle())


def test_one_on_another_vfio_driver_than_ours_is_somebody_elses_too(root: Path) -> None:
    world = World(root, Topology(parents=(FUNCTIONS,), modules=(*MODULES, "mlx5_vfio_pci")))
    given_to(world, "vfio-pci")
    world.apply(**VF)
    assert isinstance(world.settle().error, Foreign)
    assert function(world).driver == "vfio-pci"


def test_a_driver_that_does_not_take_it_is_named_and_asked_again_later(world: World) -> None:
    world.kernel.faults.fail_next(Operation.VFIO_PROBE, EINVAL, times=40)
    world.apply(**VF)
    waiting = world.settle().decision
    assert isinstance(waiting, Wait)
    assert "vfio-pci has not taken" in waiting.message
    assert f"dmesg | grep {ADDRESS}" in waiting.hint
    assert len([step for step in world.seam.steps if isinstance(step, ProbeDriver)]) == 1


def test_it_is_taken_once_its_driver_takes_it(world: World) -> None:
    world.kernel.faults.fail_next(Operation.VFIO_PROBE, EINVAL)
    world.apply(**VF)
    assert isinstance(world.settle().decision, Wait)
    assert_ready(world, world.settle())


def test_its_own_node_is_handed_out_where_the_kernel_has_one(root: Path) -> None:
    world = World(root, Topology(parents=(FUNCTIONS,), vfio_cdev=True))
    world.apply(**VF)
    assert_ready(world, world.settle())
    paths = [node.container_path for node in world.record().nodes]
    assert paths == ["/dev/vfio/vfio", f"/dev/vfio/{function(world).group}", "/dev/vfio/devices/vfio0"]
    assert "/vfio-dev/vfio0/dev" in "".join(world.record().witness.numbers)


def test_without_an_iommu_it_is_refused_also_where_vfio_would_take_it(root: Path) -> None:
    world = World(root, Topology(parents=(FUNCTIONS,), iommu=False, noiommu=True))
    world.apply(**VF)
    assert isinstance(world.settle().error, UnsupportedField)
    given_to(world, "vfio-pci")
    world.apply(**VF, adopt=True)
    error = world.settle().error
    assert isinstance(error, UnsupportedField)
    assert "intel_iommu=on" in str(error)
    assert world.records.read_all().items == {}
