"""Flavour vfio with a mediated device: one is made of a named type, and removed with its object."""

from pathlib import Path
from typing import Any

import pytest
from tests.contract.instruments import find_mediated

from rig.waiting import until
from rig.world import World
from subfunction.api.reasons import Reason
from subfunction.errors import HeldOpen, NoMediatedType
from subfunction.kernel.bus.mdev import MediatedDevice, derive_uuid
from subfunction.state.records import State
from subfunction_operator.agent.model.decision import ReconcileResult, Settled, Wait
from subfunction_simulator.kernel import MediatedType, Parent, Topology

TYPES = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", mediated_types=(MediatedType("mlx5_core-local", available=2),))
UUID = derive_uuid("uid-blue")
MDEV: dict[str, Any] = {"flavour": "vfio", "vfio": {"mediatedDevice": "mlx5_core-local"}}


@pytest.fixture
def mdev(root: Path) -> World:
    return World(root, Topology(parents=(TYPES,)))


def assert_ready(world: World, result: ReconcileResult, name: str = "blue") -> None:
    assert result.error is None, result.error
    assert result.decision == Settled()
    assert world.offered(name)


def device(mdev: World) -> MediatedDevice:
    found = find_mediated(mdev.sysfs, UUID)
    assert found is not None
    return found


def test_a_mediated_device_is_made_of_the_type_that_is_asked_for(mdev: World) -> None:
    mdev.apply(**MDEV)
    assert_ready(mdev, mdev.settle())
    made = find_mediated(mdev.sysfs, UUID)
    assert made is not None
    assert made.type_id == "mlx5_core-local"
    record = mdev.record()
    assert record.device_id == UUID
    group = made.vfio.group.name if made.vfio else ""
    assert [node.container_path for node in record.nodes] == ["/dev/vfio/vfio", f"/dev/{group}"]
    mdev.delete()
    mdev.settle()
    assert find_mediated(mdev.sysfs, UUID) is None
    assert mdev.objects == {}


@pytest.mark.parametrize(
    ("kind", "said"), [("mlx5_core-local", "upstream"), ("mlx5_core-remote", "upstream")], ids=["local", "remote"]
)
def test_a_parent_that_offers_no_mediated_devices_says_so(root: Path, kind: str, said: str) -> None:
    world = World(root)
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
    result = mdev.settle()
    assert isinstance(result.decision, Wait) or isinstance(result.error, HeldOpen)
    held.close()
    until(lambda: mdev.settle().error is None and not mdev.objects, "the device is let go")
    assert find_mediated(mdev.sysfs, UUID) is None


def test_a_mediated_device_that_somebody_removed_is_made_again_under_its_uuid(mdev: World) -> None:
    mdev.apply(**MDEV)
    mdev.settle()
    mdev.kernel.delete_mediated(UUID)
    assert_ready(mdev, mdev.settle())
    assert find_mediated(mdev.sysfs, UUID) is not None


def test_a_mediated_device_whose_record_was_lost_is_taken_up_again(mdev: World) -> None:
    mdev.apply(**MDEV)
    mdev.settle()
    mdev.lose_records()
    mdev.restart()
    assert_ready(mdev, mdev.settle())
    mdev.lose_records()
    mdev.delete()
    mdev.settle()
    assert find_mediated(mdev.sysfs, UUID) is None


def test_one_that_somebody_removes_while_it_is_open_leaves_the_offer(mdev: World) -> None:
    mdev.apply(**MDEV)
    mdev.settle()
    held = mdev.kernel.hold_open(mdev.record().nodes[1].container_path.removeprefix("/dev/"))
    mdev.kernel.delete_mediated(UUID)
    result = mdev.settle()
    assert isinstance(result.decision, Wait)
    assert result.decision.reason is Reason.HELD_OPEN
    assert not mdev.offered()
    assert mdev.record().device_id == UUID
    held.close()
    assert_ready(mdev, mdev.settle())


def test_one_that_somebody_unbound_is_made_again(mdev: World) -> None:
    mdev.apply(**MDEV)
    mdev.settle()
    mdev.sysfs.write(f"bus/mdev/drivers/{device(mdev).driver}/unbind", UUID)
    assert_ready(mdev, mdev.settle())
    assert device(mdev).driver is not None


def test_one_made_anew_while_a_pod_has_the_old_one_says_so(mdev: World) -> None:
    mdev.apply(**MDEV)
    mdev.settle()
    mdev.pods.take("uid-blue")
    mdev.kernel.delete_mediated(UUID)
    result = mdev.settle()
    assert isinstance(result.decision, Settled)
    assert "made anew" in result.decision.pending
    assert mdev.record().health.reason == Reason.STALE_ALLOCATION
    mdev.pods.give_back("uid-blue")
    assert_ready(mdev, mdev.settle())


def test_one_that_no_driver_takes_is_named_with_where_to_look(mdev: World) -> None:
    mdev.sysfs.write("bus/mdev/drivers_autoprobe", "0")
    mdev.apply(**MDEV)
    for _ in range(2):
        waiting = mdev.settle().decision
        assert isinstance(waiting, Wait)
        assert f"dmesg | grep {UUID}" in waiting.hint
    mdev.delete()
    mdev.settle()
    assert find_mediated(mdev.sysfs, UUID) is None


def test_its_own_node_is_handed_out_where_the_kernel_has_one(root: Path) -> None:
    mdev = World(root, Topology(parents=(TYPES,), vfio_cdev=True))
    mdev.apply(**MDEV)
    assert_ready(mdev, mdev.settle())
    assert [node.container_path for node in mdev.record().nodes][2:] == ["/dev/vfio/devices/vfio0"]
