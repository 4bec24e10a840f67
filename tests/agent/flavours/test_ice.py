"""Flavour ice: another driver's traits, the same promises."""

from errno import EBUSY, EIO
from pathlib import Path
from typing import Any

import pytest

from rig.claims import port_claim
from rig.cluster import Cluster
from rig.world import PARENT, Killed, World, derived
from subfunction.api.reasons import Reason
from subfunction.errors import (
    Full,
    Invalid,
    NotSwitchdev,
    NumberTaken,
    ParentNotFound,
    PortUnfinished,
    SubFunctionsUnsupported,
)
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.uapi import EswitchMode
from subfunction_operator.agent.model.decision import ReconcileResult, Settled
from subfunction_operator.agent.model.observation import NodePolicy
from subfunction_operator.agent.model.steps import ProbeDriver, SetLink
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
        ({"capabilities": {"roce": True}}, "spec.capabilities.roce"),
        ({"capabilities": {"maxIOEventQueues": 4}}, "spec.capabilities.maxIOEventQueues"),
        ({"rate": {"maxBitsPerSecond": 1_000_000_000}}, "rate"),
    ],
)
def test_what_the_driver_does_not_offer_is_refused_by_its_name(world: World, spec: dict[str, Any], named: str) -> None:
    world.apply(flavour="ice", **spec)
    error = world.settle().error
    assert error is not None
    assert error.reason == Reason.UNSUPPORTED
    assert named in str(error)
    # What is refused leaves no port in the way of the next one.
    world.apply("other", flavour="ice")
    assert world.settle("other").error is None


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


@pytest.mark.parametrize("operation", [Operation.SET_MAC, Operation.ACTIVATE])
def test_a_port_that_fails_before_it_is_attached_holds_up_the_next_until_it_is_tried_again(
    world: World, operation: Operation
) -> None:
    world.kernel.faults.fail_next(operation, EIO)
    world.apply("a", flavour="ice")
    world.settle("a")
    world.apply("b", flavour="ice")
    error = world.settle("b").error
    assert isinstance(error, PortUnfinished), error
    assert "opstate detached" in error.hint
    world.restart()
    for name in ("a", "b"):
        assert world.settle(name).error is None
        assert world.offered(name)


def test_a_port_that_a_killed_agent_left_unattached_is_finished_and_the_next_one_made(world: World) -> None:
    world.apply("a", flavour="ice")
    world.apply("b", flavour="ice")
    world.restart(kill_at=3)  # the port is made
    with pytest.raises(Killed):
        world.settle("a")
    world.restart()
    assert isinstance(world.settle("b").error, PortUnfinished)
    for name in ("a", "b"):
        assert world.settle(name).error is None
        assert world.offered(name)


def test_a_function_whose_probe_fails_holds_up_the_next_until_it_is_bound(world: World) -> None:
    world.kernel.faults.fail_next(Operation.PROBE, EIO)
    world.apply("a", flavour="ice")
    world.settle("a")
    world.apply("b", flavour="ice")
    assert isinstance(world.settle("b").error, PortUnfinished)
    world.kernel.bind_function("ice.sf.1")
    for name in ("a", "b"):
        assert world.settle(name).error is None
        assert world.offered(name)


def test_an_mtu_beyond_what_the_driver_takes_is_told_with_its_limit(world: World) -> None:
    world.apply(flavour="ice", mtu=9000, representor={"mtu": 9000})
    error = world.settle().error
    assert isinstance(error, Invalid)
    assert "68 to 1500" in str(error)
    world.apply(flavour="ice", mtu=1500, representor={"mtu": 9000})
    assert_ready(world, world.settle())


def test_an_address_is_set_by_its_port_alone_and_never_on_the_netdev(world: World) -> None:
    world.apply(flavour="ice", macAddress="02:00:00:00:00:07")
    assert_ready(world, world.settle())
    netdev = world.record().env["SUBFUNCTION_NETDEV"]
    world.kernel.move_netdev(netdev)
    world.settle()
    world.kernel.namespace_ends()
    assert_ready(world, world.settle())
    assert not [step for step in world.seam.steps if isinstance(step, SetLink) and step.settings.mac is not None]
    assert world.mac(1) == "02:00:00:00:00:07"


def test_ports_that_legacy_mode_left_behind_are_named_and_never_deleted(world: World) -> None:
    world.apply("a", flavour="ice")
    world.settle("a")
    world.kernel.set_eswitch_mode(PARENT, EswitchMode.LEGACY)
    error = world.settle("a").error
    assert isinstance(error, NotSwitchdev)
    assert "reboot" in error.hint
    assert "eswitch set" not in str(error)
    assert not world.offered("a")
    world.apply("b", flavour="ice")
    refused = world.settle("b").error
    assert isinstance(refused, NotSwitchdev)
    assert "eswitch set" not in str(refused)
    world.delete("a")
    assert isinstance(world.settle("a").error, NotSwitchdev)
    assert world.port_numbers() == [1]
    world.reboot()
    world.settle("a")
    assert world.port_numbers() == []


def test_a_parent_whose_ports_legacy_mode_left_behind_is_never_put_back_into_switchdev(root: Path) -> None:
    world = World(root, ICE, policy=NodePolicy(restore_switchdev=True))
    for name in ("a", "b"):
        world.apply(name, flavour="ice")
        world.settle(name)
    world.kernel.set_eswitch_mode(PARENT, EswitchMode.LEGACY)
    for name in ("a", "b"):
        assert isinstance(world.settle(name).error, NotSwitchdev)
    assert world.devlink.eswitch_mode(PARENT) is EswitchMode.LEGACY


def test_a_parent_in_legacy_mode_without_ports_is_told_how_to_leave_it(root: Path) -> None:
    world = of_a_card(root, mode=EswitchMode.LEGACY)
    world.apply(flavour="ice")
    error = world.settle().error
    assert isinstance(error, NotSwitchdev)
    assert f"devlink dev eswitch set {PARENT} mode switchdev" in error.hint
    assert "virtual functions" in error.hint
    assert "ends every function" not in error.hint


async def test_of_many_objects_at_once_each_has_its_port_attached_before_the_next_one_is_made(root: Path) -> None:
    names = [f"sf{number}" for number in range(12)]
    async with Cluster(root, ICE) as node:
        node.start_agent()
        for name in names:
            await node.apply(name, flavour="ice")
        for name in names:
            await node.until_ready(name)
            assert [event for event in await node.events(name) if event[0] == "Warning"] == []


def test_a_driver_that_was_unbound_is_bound_again_at_the_first_look(world: World) -> None:
    world.apply(flavour="ice")
    world.settle()
    world.kernel.unbind_function(world.record().device_id)
    world.restart()
    assert_ready(world, world.settle())
    assert [type(step) for step in world.seam.steps].count(ProbeDriver) == 1
