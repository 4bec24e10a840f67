"""Flavour vfio: a virtual function that is given away and back, or a mediated device that is made for it."""

from pathlib import Path
from typing import Any

import pytest

from rig.waiting import until
from rig.world import PARENT, World, derived
from subfunction.errors import (
    DriverNotLoaded,
    Foreign,
    GroupShared,
    HeldOpen,
    NoMediatedType,
    NoVirtualFunction,
    NumberOwned,
    SubFunctionError,
    UnsupportedField,
)
from subfunction.kernel.mdev import MediatedDevice, mediated_uuid
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.pci import VirtualFunction
from subfunction.kernel.port import Function
from subfunction.kernel.uapi import EswitchMode
from subfunction.records import State
from subfunction_operator.outcome import Outcome
from subfunction_operator.step import Rest, Wait
from subfunction_simulator.kernel import MediatedType, Parent, Topology
from subfunction_simulator.kernel.topology import MODULES

FUNCTIONS = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", virtual_functions=4)
TYPES = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", mediated_types=(MediatedType("mlx5_core-local", available=2),))
ADDRESS = FUNCTIONS.virtual_function(0)
UUID = mediated_uuid("uid-blue")
VF: dict[str, Any] = {"flavour": "vfio", "vfio": {"virtualFunction": 0}}
MDEV: dict[str, Any] = {"flavour": "vfio", "vfio": {"mediatedDevice": "mlx5_core-local"}}


@pytest.fixture
def world(root: Path) -> World:
    return World(root, Topology(parents=(FUNCTIONS,)))


@pytest.fixture
def mdev(root: Path) -> World:
    return World(root, Topology(parents=(TYPES,)))


def function(world: World, index: int = 0) -> VirtualFunction:
    found = VirtualFunction.at(world.sysfs, PARENT, index)
    assert found is not None
    return found


def assert_ready(world: World, outcome: Outcome, name: str = "blue") -> None:
    assert outcome.error is None, outcome.error
    assert outcome.decision == Rest()
    assert world.offered(name)


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


def test_it_goes_back_to_the_driver_it_had(world: World) -> None:
    before = function(world).driver
    assert before is not None
    world.apply(**VF)
    world.settle()
    world.delete()
    world.settle()
    assert function(world).driver == before
    assert (world.objects, world.records.read_all().items) == ({}, {})
    world.kernel.unbind_pci(ADDRESS)
    world.kernel.probe_pci(ADDRESS)
    assert function(world).driver == before  # no override is left behind


def test_its_representor_is_up_and_in_its_bridge_and_leaves_it_with_the_object(root: Path) -> None:
    world = World(root, Topology(parents=(FUNCTIONS,), bridges=("br0",)))
    world.apply(**VF, representor={"bridge": "br0", "mtu": 9000})
    assert_ready(world, world.settle())
    representor = world.look().representor
    assert representor is not None
    assert (representor.up, representor.master, representor.mtu) == (True, "br0", 9000)
    world.delete()
    world.settle()
    after = Netdev.named(world.sysfs, representor.name)
    assert after is not None
    assert (after.master, after.up, after.mtu) == (None, False, 1500)


def test_it_goes_back_with_the_address_and_capabilities_it_had(world: World) -> None:
    before = shown(world)
    world.apply(**VF, macAddress="02:00:00:00:00:05", capabilities={"migratable": True, "roce": False})
    world.settle()
    assert shown(world) != before
    world.delete()
    world.settle()
    assert shown(world) == before


def shown(world: World) -> Function | None:
    ports = world.devlink.ports(PARENT)
    return next(port.function for port in ports if port.vf == 0)


def test_one_that_had_no_driver_gets_none_back(world: World) -> None:
    world.kernel.unbind_pci(ADDRESS)
    world.apply(**VF)
    assert_ready(world, world.settle())
    world.delete()
    world.settle()
    assert function(world).driver is None


def test_mac_and_capabilities_are_set_by_its_port_while_nothing_drives_it(world: World) -> None:
    world.apply(**VF, macAddress="02:00:00:00:00:05", capabilities={"migratable": True})
    assert_ready(world, world.settle())
    port = world.look().port
    assert port is not None
    assert port.function is not None
    assert (str(port.function.mac), port.function.migratable) == ("02:00:00:00:00:05", True)


def test_a_setting_that_changes_waits_for_the_pod(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.pods.take("uid-blue")
    world.apply(**VF, macAddress="02:00:00:00:00:06")
    outcome = world.settle()
    assert isinstance(outcome.decision, Rest)
    assert "when no pod has the device" in outcome.decision.pending
    assert world.offered()
    world.pods.give_back("uid-blue")
    assert_ready(world, world.settle())
    assert world.record().env["SUBFUNCTION_MAC"] == "02:00:00:00:00:06"


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
    world.sysfs.write(f"bus/pci/devices/{ADDRESS}/driver_override", "vfio-pci")
    world.kernel.unbind_pci(ADDRESS)
    world.kernel.probe_pci(ADDRESS)
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


def test_after_a_reboot_it_goes_back_to_the_driver_that_this_boot_gave_it(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.reboot()
    world.settle()
    world.delete()
    world.settle()
    assert function(world).driver == "mlx5_core"
    assert (world.objects, world.records.read_all().items) == ({}, {})


def test_deleted_right_after_a_reboot_it_is_left_to_its_driver(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.reboot()
    world.delete()
    world.settle()
    assert function(world).driver == "mlx5_core"
    assert world.objects == {}


def test_records_lost_it_is_still_ours_and_goes_back_to_the_parents_driver(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.lose_records()
    world.restart()
    assert_ready(world, world.settle())
    world.lose_records()
    world.delete()
    world.settle()
    assert function(world).driver == "mlx5_core"


def test_a_function_that_somebody_has_open_goes_when_it_is_closed(world: World) -> None:
    world.apply(**VF)
    world.settle()
    held = world.kernel.hold_open(f"vfio/{function(world).group}")
    world.delete()
    assert isinstance(world.settle().error, HeldOpen)
    world.restart()
    assert isinstance(world.settle().error, HeldOpen)
    held.close()
    until(lambda: world.settle().error is None, "the function is let go")
    assert function(world).driver == "mlx5_core"


def test_a_mediated_device_is_made_of_the_type_that_is_asked_for(mdev: World) -> None:
    mdev.apply(**MDEV)
    assert_ready(mdev, mdev.settle())
    made = MediatedDevice.named(mdev.sysfs, UUID)
    assert made is not None
    assert made.type_id == "mlx5_core-local"
    record = mdev.record()
    assert record.device_id == UUID
    group = made.vfio.group.name if made.vfio else ""
    assert [node.container_path for node in record.nodes] == ["/dev/vfio/vfio", f"/dev/{group}"]
    mdev.delete()
    mdev.settle()
    assert MediatedDevice.named(mdev.sysfs, UUID) is None
    assert mdev.objects == {}


@pytest.mark.parametrize(
    ("kind", "said"), [("mlx5_core-local", "upstream"), ("mlx5_core-remote", "upstream")], ids=["local", "remote"]
)
def test_a_parent_that_offers_no_mediated_devices_says_so(world: World, kind: str, said: str) -> None:
    world.apply(flavour="vfio", vfio={"mediatedDevice": kind})
    error = world.settle().error
    assert isinstance(error, NoMediatedType)
    assert said in str(error)


def test_a_type_that_is_not_offered_is_refused_with_those_that_are(mdev: World) -> None:
    mdev.apply(flavour="vfio", vfio={"mediatedDevice": "mlx5_core-remote"})
    error = mdev.settle().error
    assert isinstance(error, NoMediatedType)
    assert "mlx5_core-local" in str(error)


def test_there_are_no_more_of_a_type_than_the_parent_has(mdev: World) -> None:
    for name in ("a", "b"):
        mdev.apply(name, **MDEV)
        assert_ready(mdev, mdev.settle(name), name)
    mdev.apply("c", **MDEV)
    error = mdev.settle("c").error
    assert isinstance(error, NoMediatedType)
    assert "no more" in str(error)
    mdev.delete("a")
    mdev.settle("a")
    assert_ready(mdev, mdev.settle("c"), "c")


def test_a_mediated_device_that_is_open_goes_when_it_is_closed(mdev: World) -> None:
    mdev.apply(**MDEV)
    mdev.settle()
    group = mdev.record().nodes[1].container_path.removeprefix("/dev/")
    held = mdev.kernel.hold_open(group)
    mdev.delete()
    assert isinstance(mdev.settle().error, HeldOpen)
    assert mdev.record().state is State.DRAINING
    mdev.restart()
    outcome = mdev.settle()
    assert isinstance(outcome.decision, Wait) or isinstance(outcome.error, HeldOpen)
    held.close()
    until(lambda: mdev.settle().error is None and not mdev.objects, "the device is let go")
    assert MediatedDevice.named(mdev.sysfs, UUID) is None


def test_a_mediated_device_that_somebody_removed_is_made_again_under_its_uuid(mdev: World) -> None:
    mdev.apply(**MDEV)
    mdev.settle()
    mdev.kernel.delete_mediated(UUID)
    assert_ready(mdev, mdev.settle())
    assert MediatedDevice.named(mdev.sysfs, UUID) is not None


def test_a_mediated_device_whose_record_was_lost_is_taken_up_again(mdev: World) -> None:
    mdev.apply(**MDEV)
    mdev.settle()
    mdev.lose_records()
    mdev.restart()
    assert_ready(mdev, mdev.settle())
    mdev.lose_records()
    mdev.delete()
    mdev.settle()
    assert MediatedDevice.named(mdev.sysfs, UUID) is None
