"""Flavour ice: another driver's manners, the same promises."""

from pathlib import Path
from typing import Any

import pytest

from rig.claims import port_claim
from rig.world import PARENT, Killed, World, derived
from subfunction.errors import NumberTaken, ParentNotFound
from subfunction.kernel.netdev import Netdev
from subfunction.reasons import Reason
from subfunction_operator.decision import Rest
from subfunction_operator.outcome import Outcome
from subfunction_operator.step import ProbeDriver
from subfunction_simulator.kernel import Parent, Topology

ICE = Topology(parents=(Parent(bdf="0000:03:00.0", netdev="ens1f0np0", driver="ice"),))


@pytest.fixture
def world(root: Path) -> World:
    return World(root, ICE)


def assert_ready(world: World, outcome: Outcome) -> None:
    assert outcome.error is None, outcome.error
    assert outcome.decision == Rest()
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


def test_a_driver_that_was_unbound_is_bound_again_at_the_first_look(world: World) -> None:
    world.apply(flavour="ice")
    world.settle()
    world.kernel.unbind_function(world.record().device_id)
    world.restart()
    assert_ready(world, world.settle())
    assert [type(step) for step in world.seam.steps].count(ProbeDriver) == 1
