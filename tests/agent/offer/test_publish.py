"""What a record offers to pods: taken back while it is broken, never made to fit what a pod has of old."""

import msgspec
import pytest

from rig.verdicts import assert_ready
from rig.world import PARENT, World, derived
from subfunction.api.conditions import ConditionType
from subfunction.api.reasons import Reason
from subfunction.errors import KernelError, ParentNotFound
from subfunction.kernel.address import Handle
from subfunction.state.records import State
from subfunction_operator.agent.model.decision import Settled
from subfunction_simulator.kernel import Operation


def test_a_broken_device_leaves_the_offer_and_comes_back_when_it_is_whole(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.remove_parent(PARENT)
    result = world.settle()
    assert isinstance(result.error, ParentNotFound)
    assert not world.offered()
    assert world.record().health.reason == Reason.PARENT_NOT_FOUND
    world.kernel.rescan()
    assert_ready(world, world.settle(), 1, derived())


def test_one_look_that_fails_takes_nothing_out_of_the_offer(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.faults.fail_next(Operation.PORT_GET, 5, "mlx5_core: firmware")
    assert isinstance(world.settle().error, KernelError)
    assert world.offered()
    assert_ready(world, world.settle(), 1, derived())


@pytest.mark.mlx5("RDMA")
def test_a_device_made_anew_under_a_pod_is_not_offered_as_the_one_it_was(world: World) -> None:
    world.apply()
    world.settle()
    promised = world.record()
    world.pods.take("uid-blue")
    # As `modprobe -r mlx5_ib; modprobe mlx5_ib`: the same function, another verbs device.
    world.devlink.reload(Handle("auxiliary", promised.device_id))
    result = world.settle()
    assert isinstance(result.decision, Settled)
    assert "made anew" in result.decision.pending
    assert world.record().witness == promised.witness
    assert world.record().health.reason == Reason.STALE_ALLOCATION
    world.pods.give_back("uid-blue")
    world.settle()
    assert world.record().witness != promised.witness
    assert world.offered()


@pytest.mark.parametrize("held", [True, False], ids=["a pod has it", "nobody has it"])
def test_made_anew_after_a_reset_it_is_ready_once_no_pod_has_the_one_before(world: World, *, held: bool) -> None:
    world.apply()
    world.settle()
    if held:
        world.pods.take("uid-blue")
    world.kernel.crash_driver(PARENT)
    world.settle()
    ready = world.objects["uid-blue"].status.condition(ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == (("False", Reason.STALE_ALLOCATION) if held else ("True", Reason.READY))
    assert world.offered() is not held  # the kubelet tells the pod's status so
    world.restart()
    world.settle()
    assert ready == world.objects["uid-blue"].status.condition(ConditionType.READY)
    world.pods.give_back("uid-blue")
    assert_ready(world, world.settle(), 1, derived())


def test_made_anew_under_a_pod_it_stays_out_of_the_offer_whatever_else_is_asked_of_it(world: World) -> None:
    world.apply()
    world.settle()
    world.pods.take("uid-blue")
    world.kernel.crash_driver(PARENT)
    world.settle()
    world.apply(macAddress="02:00:00:00:00:06")
    world.settle()
    assert not world.offered()
    world.pods.give_back("uid-blue")
    assert_ready(world, world.settle(), 1, "02:00:00:00:00:06")


@pytest.mark.mlx5("RDMA")
def test_where_rdma_devices_are_in_one_namespace_each_the_object_says_what_a_pod_needs(world: World) -> None:
    world.kernel.tree.directory("module/ib_core/parameters", {"netns_mode": "N"})
    world.apply()
    assert_ready(world, world.settle(), 1, derived())
    told = world.objects["uid-blue"].status.condition(ConditionType.ALLOCATABLE)
    assert told is not None
    assert (told.status, told.reason) == ("True", Reason.RDMA_EXCLUSIVE)
    assert "rdma system set netns shared" in told.message


def test_a_record_lost_while_a_pod_has_the_netdev_gets_its_witness_again(world: World) -> None:
    world.apply()
    world.settle()
    promised = world.record()
    world.pods.take("uid-blue")
    world.kernel.move_netdev(promised.env["SUBFUNCTION_NETDEV"])
    world.lose_records()
    world.restart()
    world.settle()
    assert world.record().state is State.READY
    assert world.record().witness == promised.witness


def test_what_a_pod_was_handed_stands_when_more_could_be_handed_out_later(world: World) -> None:
    world.apply()
    world.settle()
    whole = world.record()
    # As if rdma_cm had been loaded after the pod came: its node is not among those handed out.
    without = [node for node in whole.nodes if not node.host_path.endswith("rdma_cm")]
    kept = {path: inode for path, inode in whole.witness.inodes.items() if "rdma_cm" not in path}
    numbers = {path: number for path, number in whole.witness.numbers.items() if "rdma_cm" not in path}
    witness = msgspec.structs.replace(whole.witness, inodes=kept, numbers=numbers)
    promised = msgspec.structs.replace(whole, nodes=tuple(without), witness=witness)
    world.records.write("uid-blue", promised)
    world.pods.take("uid-blue")
    world.settle()
    assert world.record() == promised
    world.pods.give_back("uid-blue")
    world.settle()
    assert world.record().nodes == whole.nodes
