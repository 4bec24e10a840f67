"""A virtual function goes back as it was found: its driver, address and capabilities, its representor."""

from pathlib import Path

import msgspec
import pytest

from rig.virtualfunctions import (
    ADDRESS,
    EINVAL,
    FUNCTIONS,
    OF_ICE,
    THEIRS,
    VF,
    assert_ready,
    enslave,
    function,
    given_to,
    representor,
    shown,
)
from rig.waiting import until
from rig.world import PARENT, Killed, World
from subfunction.errors import HeldOpen
from subfunction.kernel.address import Mac
from subfunction.kernel.uapi import EswitchMode
from subfunction.state.claims import VirtualFunctionClaim
from subfunction_operator.agent.model.decision import Settled
from subfunction_operator.agent.model.steps import ProbeDriver, SetFunction, UnbindDriver
from subfunction_simulator.kernel import Operation, Parent, Topology


@pytest.fixture
def world(root: Path) -> World:
    return World(root, Topology(parents=(FUNCTIONS,)))


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
    now = representor(world)
    assert (now.up, now.master, now.mtu) == (True, "br0", 9000)
    world.delete()
    world.settle()
    after = representor(world)
    assert (after.master, after.up, after.mtu) == (None, False, 1500)


def test_it_goes_back_with_the_address_and_capabilities_it_had(world: World) -> None:
    before = shown(world)
    world.apply(**VF, macAddress="02:00:00:00:00:05", capabilities={"migratable": True, "roce": False})
    world.settle()
    assert shown(world) != before
    world.delete()
    world.settle()
    assert shown(world) == before


def test_one_that_had_no_driver_gets_none_back(world: World) -> None:
    world.kernel.unbind_pci(ADDRESS)
    world.apply(**VF)
    assert_ready(world, world.settle())
    world.delete()
    world.settle()
    assert function(world).driver is None


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


def test_one_that_somebody_moved_to_another_vfio_driver_goes_back_all_the_same(world: World) -> None:
    world.apply(**VF)
    world.settle()
    world.kernel.load_module("mlx5_vfio_pci")
    given_to(world, "mlx5_vfio_pci")
    world.delete()
    world.settle()
    assert function(world).driver == "mlx5_core"
    assert world.objects == {}


def test_at_another_address_it_is_another_function_and_goes_back_too(root: Path) -> None:
    world = World(root, Topology(parents=(FUNCTIONS,)))
    world.apply(**VF)
    world.settle()
    record = world.record()
    assert isinstance(record.claim, VirtualFunctionClaim)
    moved = msgspec.structs.replace(record.claim, address="0000:03:09.0", driver="vfio-pci")
    world.records.write(record.uid, msgspec.structs.replace(record, claim=moved))
    given_to(world, "")
    assert function(world).driver == "mlx5_core"
    assert_ready(world, world.settle())
    claim = world.record().claim
    assert isinstance(claim, VirtualFunctionClaim)
    assert (claim.address, claim.previous_driver) == (ADDRESS, "mlx5_core")
    world.delete()
    world.settle()
    assert function(world).driver == "mlx5_core"


@pytest.mark.parametrize(("parent", "before"), [(FUNCTIONS, "mlx5_core"), (OF_ICE, "iavf")], ids=["mlx5", "ice"])
def test_with_its_record_lost_it_goes_to_whichever_driver_lists_its_id(root: Path, parent: Parent, before: str) -> None:
    world = World(root, Topology(parents=(parent,)))
    world.apply(**VF)
    world.settle()
    world.lose_records()
    world.delete()
    world.settle()
    assert function(world).driver == before
    assert world.objects == {}


def test_an_adopted_one_keeps_address_and_driver_and_nobody_is_disturbed(world: World) -> None:
    given_to(world, "vfio-pci", THEIRS)
    held = world.kernel.hold_open(f"vfio/{function(world).group}")
    world.apply(**VF, adopt=True, deletionPolicy="Drain")
    assert_ready(world, world.settle())
    assert shown(world).mac == THEIRS
    assert world.record().env["SUBFUNCTION_MAC"] == str(THEIRS)
    assert [step for step in world.seam.steps if isinstance(step, SetFunction | UnbindDriver | ProbeDriver)] == []
    held.close()
    world.delete()
    world.settle()
    assert (function(world).driver, shown(world).mac) == ("vfio-pci", THEIRS)


def test_an_adopted_one_gets_what_is_asked_for_once_nobody_has_it(world: World) -> None:
    given_to(world, "vfio-pci", THEIRS)
    world.pods.take("uid-blue")
    world.apply(**VF, adopt=True, macAddress="02:00:00:00:00:05", deletionPolicy="Drain")
    result = world.settle()
    assert isinstance(result.decision, Settled)
    assert "when no pod has the device" in result.decision.pending
    assert (function(world).driver, shown(world).mac) == ("vfio-pci", THEIRS)
    world.pods.give_back("uid-blue")
    assert_ready(world, world.settle())
    assert str(shown(world).mac) == "02:00:00:00:00:05"
    world.delete()
    world.settle()
    assert (function(world).driver, shown(world).mac) == ("vfio-pci", THEIRS)


def test_an_address_that_cannot_be_restored_keeps_nothing_from_going(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.apply(**VF, macAddress="02:00:00:00:00:05", capabilities={"migratable": True})
    world.settle()
    world.kernel.faults.fail_next(Operation.SET_MAC, EINVAL, "mlx5_core: no")
    world.delete()
    assert world.settle().error is None
    assert (world.objects, world.records.read_all().items) == ({}, {})
    assert function(world).driver == "mlx5_core"
    assert (str(shown(world).mac), shown(world).migratable) == ("02:00:00:00:00:05", False)
    assert "mlx5_core: no" in caplog.text


def test_a_representor_that_cannot_be_restored_keeps_nothing_from_going(root: Path) -> None:
    world = World(root, Topology(parents=(FUNCTIONS,), bridges=("br0",)))
    world.apply(**VF, representor={"bridge": "br0"})
    world.settle()
    world.kernel.faults.fail_next(Operation.SET_LINK, EINVAL)
    world.delete()
    assert world.settle().error is None
    assert (world.objects, function(world).driver, representor(world).master) == ({}, "mlx5_core", "br0")


def test_nothing_is_restored_while_a_machine_still_runs_on_it(root: Path) -> None:
    world = World(root, Topology(parents=(FUNCTIONS,), bridges=("br0",)))
    world.apply(**VF, macAddress="02:00:00:00:00:05", representor={"bridge": "br0"})
    world.settle()
    held = world.kernel.hold_open(f"vfio/{function(world).group}")
    world.delete()
    for _ in range(2):
        assert isinstance(world.settle().error, HeldOpen)
        assert (str(shown(world).mac), representor(world).master) == ("02:00:00:00:00:05", "br0")
        world.restart()
    held.close()
    until(lambda: world.settle().error is None, "the function is let go")
    assert (shown(world).mac, representor(world).master) == (Mac.parse("00:00:00:00:00:00"), None)


def test_a_bridge_that_is_no_longer_asked_for_is_left_with_the_object(root: Path) -> None:
    world = World(root, Topology(parents=(FUNCTIONS,), bridges=("br0",)))
    world.apply(**VF, representor={"bridge": "br0"})
    world.settle()
    world.apply(**VF)
    world.settle()
    world.delete()
    world.settle()
    assert representor(world).master is None


def test_a_representor_goes_back_to_the_bridge_it_was_found_in(root: Path) -> None:
    world = World(root, Topology(parents=(FUNCTIONS,), bridges=("br0", "br1")))
    enslave(world, "br1")
    world.apply(**VF, representor={"bridge": "br0"})
    world.settle()
    assert representor(world).master == "br0"
    world.delete()
    world.settle()
    assert representor(world).master == "br1"


def test_an_agent_that_dies_on_the_way_leaves_no_representor_in_a_bridge(root: Path) -> None:
    moment, died = 0, True
    while died:
        world = World(root / str(moment), Topology(parents=(FUNCTIONS,), bridges=("br0",)))
        world.restart(kill_at=moment)
        world.apply(**VF, representor={"bridge": "br0"})
        try:
            world.settle()
            died = False
        except Killed:
            pass
        world.restart()
        world.delete()
        world.settle()
        after = representor(world)
        assert (function(world).driver, after.master, after.up) == ("mlx5_core", None, False), moment
        moment += 1
    assert moment > len(("record", "override", "unbind", "set", "probe", "link", "record")) * 2


def test_taken_in_legacy_mode_it_goes_back_as_switchdev_first_showed_it(root: Path) -> None:
    legacy = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", virtual_functions=4, mode=EswitchMode.LEGACY)
    world = World(root, Topology(parents=(legacy,), bridges=("br0",)))
    world.apply(**VF, representor={"bridge": "br0"})
    assert_ready(world, world.settle())
    world.kernel.set_eswitch_mode(PARENT, EswitchMode.SWITCHDEV)
    assert_ready(world, world.settle())
    assert representor(world).master == "br0"
    world.delete()
    world.settle()
    after = representor(world)
    assert (after.up, after.master, shown(world).mac) == (False, None, Mac.parse("00:00:00:00:00:00"))
