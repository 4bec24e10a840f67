"""Flavour ice: another driver's traits, the same promises."""

from errno import EBUSY
from pathlib import Path
from typing import Any

import pytest

from rig.claims import port_claim
from rig.world import PARENT, Killed, World, derived
from subfunction.api.reasons import Reason
from subfunction.errors import Full, NumberTaken, ParentNotFound, PortUnfinished, SubFunctionsUnsupported
from subfunction.kernel.netdev import Netdev
from subfunction_operator.agent.model.decision import ReconcileResult, Settled
from subfunction_operator.agent.model.steps import ProbeDriver
from subfunction_simulator.kernel import Operation, Parent, Topology

ICE = Topology(parents=(Parent(bdf="0000:03:00.0", netdev="ens1f0np0", driver="ice"),))


@pytest.fixture
def world(root: Path) -> World:
    return World(root, ICE)


def assert_ready(world: World, result: ReconcileResult) -> None:
    assert result.error is None, result.error
    assert result.decision == Settled()
    assert world.offered()


def test_a_sub_function_of_an_e810_is_a_netdev_with_the_objects_mac(world: World) -> None:
    world.apply(flavour="ice")
    assert_ready(world, world.settle())
    record = world.record()
    assert record.device_id.startswith("ice.sf.")
    assert record.nodes == ()
    netdev = Netdev.named(world.sysfs, record.env["SUBFUNCTION_NETDEV"])
    assert netdev is not None
    assert str(netdev.mac) == derived() == record.env["SUBFUNCTION_MAC"]


def test_a_netdev_that_is_in_a_pod_is_no_drift(world: World) -> None:
    world.apply(flavour="ice")
    world.settle()
    world.kernel.move_netdev(world.record().env["SUBFUNCTION_NETDEV"])
    assert_ready(world, world.settle())
    assert world.record().lent
    world.delete()
    world.settle()
    assert world.port_numbers() == [1]


def test_deleting_leaves_a_clean_kernel(world: World) -> None:
    world.apply(flavour="ice")
    world.settle()
    world.delete()
    world.settle()
    assert (world.objects, world.port_numbers(), world.records.read_all().items) == ({}, [], {})


def test_a_mac_is_changed_while_detached(world: World) -> None:
    world.apply(flavour="ice")
    world.settle()
    world.apply(flavour="ice", macAddress="02:00:00:00:00:09")
    assert_ready(world, world.settle())
    assert world.mac(1) == "02:00:00:00:00:09"


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"capabilities": {"roce": True}}, "RoCE"),
        ({"capabilities": {"maxIOEventQueues": 4}}, "max_io_eqs"),
        ({"rate": {"maxBitsPerSecond": 1_000_000_000}}, "rate"),
    ],
)
def test_what_the_driver_does_not_offer_is_refused_by_its_name(world: World, spec: dict[str, Any], named: str) -> None:
    world.apply(flavour="ice", **spec)
    error = world.settle().error
    assert error is not None
    assert error.reason == Reason.UNSUPPORTED
    assert named in str(error)


def test_a_number_that_somebody_else_took_meanwhile_is_taken_and_not_busy(world: World) -> None:
    world.apply(flavour="ice", number=7)
    world.foreign(7)
    error = world.settle().error
    assert error is not None
    assert not isinstance(error, NumberTaken)  # it is seen to be somebody else's before the kernel is asked
    assert world.port_numbers() == [7]


def test_a_function_that_was_announced_and_made_is_claimed_with_the_drivers_own_random_mac(world: World) -> None:
    world.apply(flavour="ice")
    world.restart(kill_at=3)  # the port is made, and the record does not name it yet
    with pytest.raises(Killed):
        world.settle()
    assert world.port_numbers() == [1]
    assert port_claim(world.record()).port_index is None
    world.restart()
    assert_ready(world, world.settle())
    assert world.port_numbers() == [1]


def test_the_flavour_of_another_driver_is_refused(world: World) -> None:
    world.apply(flavour="mlx5")
    error = world.settle().error
    assert isinstance(error, ParentNotFound)
    assert "mlx5_core" in str(error)
    assert world.kernel.nic(PARENT).parent.driver == "ice"


def of_a_card(root: Path, **card: Any) -> World:
    return World(root / "card", Topology(parents=(Parent(bdf="0000:03:00.0", netdev="p0", driver="ice", **card),)))


def test_a_card_without_room_says_so_and_is_used_when_there_is_some(root: Path) -> None:
    world = of_a_card(root, capacity=1)
    world.apply("a", flavour="ice")
    world.settle("a")
    world.apply("b", flavour="ice")
    error = world.settle("b").error
    assert isinstance(error, Full)
    assert "VSI" in str(error)
    world.delete("a")
    world.settle("a")
    assert world.settle("b").decision == Settled()
    assert world.offered("b")


def test_a_machine_on_which_no_vector_can_be_added_says_what_the_nic_needs(root: Path) -> None:
    world = of_a_card(root, sub_functions=False)
    world.apply(flavour="ice")
    error = world.settle().error
    assert isinstance(error, SubFunctionsUnsupported)
    assert "MSI-X" in error.hint
    assert "mlxconfig" not in error.hint
    assert world.records.read_all().items == {}


def test_beside_a_port_that_was_never_activated_another_one_is_waited_for(world: World) -> None:
    world.kernel.faults.fail_next(Operation.PORT_NEW, EBUSY, "ice: Failed to attach SF to eswitch")
    world.apply(flavour="ice")
    error = world.settle().error
    assert isinstance(error, PortUnfinished)
    assert f"devlink port del {PARENT}/INDEX" in error.hint
    assert error.retry_after is not None
    assert_ready(world, world.settle())


def test_a_driver_that_was_unbound_is_bound_again_at_the_first_look(world: World) -> None:
    world.apply(flavour="ice")
    world.settle()
    world.kernel.unbind_function(world.record().device_id)
    world.restart()
    assert_ready(world, world.settle())
    assert [type(step) for step in world.seam.steps].count(ProbeDriver) == 1
