"""RDMA devices that are in one network namespace at a time: the rdma CNI plugin moves one into the pod and back."""

from pathlib import Path

import msgspec
import pytest

from rig.world import PARENT, WithoutRdma, World
from subfunction.api.conditions import ConditionType
from subfunction.api.reasons import Reason
from subfunction.kernel.address import Handle
from subfunction.kernel.netdev import Netdev
from subfunction.state.records import State, find_mismatch
from subfunction_operator.agent.model.decision import ReconcileResult, Settled, Wait
from subfunction_operator.agent.model.observation import Desired
from subfunction_operator.agent.model.query import ObserveRequest
from subfunction_operator.agent.model.steps import Reload, StoreRecord

EXCLUSIVE, SHARED = "N", "Y"


class ExclusiveNode(World):
    """A node with one sub-function, whose devices Multus moves to a pod and the kernel brings back.

    With `lower_is_free` a verbs device of a lower number went away before: the first move gives the function that one.
    """

    def __init__(self, root: Path, *, lower_is_free: bool = False) -> None:
        super().__init__(root)
        self.set_mode(EXCLUSIVE)
        if lower_is_free:
            self.apply("red")
            self.settle("red")
        self.apply()
        self.settle()
        if lower_is_free:
            self.delete("red")
            self.settle("red")
        self.netdev = self.record().env["SUBFUNCTION_NETDEV"]
        self.rdma = self.record().env["SUBFUNCTION_RDMA"]

    def set_mode(self, mode: str) -> None:
        """Do as `rdma system set netns exclusive`, or `shared`."""
        self.kernel.tree.directory("module/ib_core/parameters", {"netns_mode": mode})

    def enter_pod(self) -> None:
        self.pods.take("uid-blue")
        self.kernel.move_netdev(self.netdev)
        self.kernel.move_rdma(self.rdma)

    def leave_pod(self) -> None:
        self.pods.give_back("uid-blue")
        self.kernel.namespace_ends(mtu=1300)

    def ready(self) -> tuple[str, Reason]:
        return self.condition(ConditionType.READY)

    def condition(self, kind: ConditionType) -> tuple[str, Reason]:
        condition = self.objects["uid-blue"].status.condition(kind)
        assert condition is not None
        return condition.status, Reason(condition.reason)

    def mismatch(self) -> str | None:
        """Compare as the device plugin does at Allocate and before a container starts."""
        return find_mismatch(self.record().witness, self.sysfs)

    def verbs(self) -> str:
        """Give the path of the verbs device that the function has now."""
        return f"/dev/infiniband/uverbs{self.kernel.hardware.rdma.find(self.rdma).verbs}"

    def recorded_verbs(self) -> str:
        (path,) = [node.host_path for node in self.record().nodes if "uverbs" in node.host_path]
        return path

    def mtu(self) -> int:
        found = Netdev.named(self.sysfs, self.netdev)
        assert found is not None
        return found.mtu

    def look_once(self) -> ReconcileResult:
        """Reconcile once, at the beginning of a wait."""
        return self.reconciler.reconcile(self.doors, ObserveRequest(Desired.of(self.objects["uid-blue"]), PARENT))


@pytest.fixture
def node(root: Path) -> ExclusiveNode:
    made = ExclusiveNode(root)
    assert made.offered()
    return made


@pytest.fixture
def renumbered(root: Path) -> ExclusiveNode:
    """A node whose pod has an RDMA device with a verbs device of another number than was promised."""
    made = ExclusiveNode(root, lower_is_free=True)
    promised = made.verbs()
    made.enter_pod()
    assert made.verbs() != promised
    return made


# In a pod.


def test_a_container_may_start_after_its_rdma_device_was_moved_to_it(node: ExclusiveNode) -> None:
    node.enter_pod()
    assert node.mismatch() is None


def test_while_a_pod_has_the_rdma_device_it_is_ready(node: ExclusiveNode) -> None:
    node.enter_pod()
    node.settle()
    assert node.ready() == ("True", Reason.READY)


def test_while_a_pod_has_both_its_netdev_is_known_to_be_lent(node: ExclusiveNode) -> None:
    node.enter_pod()
    node.settle()
    assert node.record().lent


def test_while_a_pod_has_both_nothing_else_is_written_and_a_restarted_agent_writes_nothing(node: ExclusiveNode) -> None:
    before = node.record()
    node.enter_pod()
    node.settle()
    assert node.record() == msgspec.structs.replace(before, lent=True)
    node.restart()
    node.settle()
    assert node.seam.steps == []


def test_while_a_pod_has_it_the_object_names_it_and_says_what_it_said(node: ExclusiveNode) -> None:
    told = node.condition(ConditionType.ALLOCATABLE)
    assert told == ("True", Reason.RDMA_EXCLUSIVE)
    node.enter_pod()
    node.settle()
    assert node.condition(ConditionType.ALLOCATABLE) == told
    device = node.objects["uid-blue"].status.device
    assert device is not None
    assert device.rdma == node.rdma


def test_an_rdma_device_alone_may_be_moved(node: ExclusiveNode) -> None:
    before = node.record()
    node.pods.take("uid-blue")
    node.kernel.move_rdma(node.rdma)
    assert node.mismatch() is None
    node.settle()
    assert node.ready() == ("True", Reason.READY)
    assert node.record() == before


def test_a_device_whose_rdma_device_is_away_is_in_use_whatever_the_kubelet_says(node: ExclusiveNode) -> None:
    node.kernel.move_rdma(node.rdma)
    node.apply(macAddress="02:00:00:00:00:06")
    node.settle()
    assert node.condition(ConditionType.IN_USE) == ("True", Reason.IN_USE)
    assert node.ready() == ("False", Reason.CHANGE_PENDING)
    node.kernel.namespace_ends()
    node.settle()
    assert node.ready() == ("True", Reason.READY)
    assert node.mac(1) == "02:00:00:00:00:06"


def test_an_object_that_is_deleted_goes_when_the_rdma_device_is_back(node: ExclusiveNode) -> None:
    node.kernel.move_rdma(node.rdma)
    node.delete()
    node.settle()
    assert node.port_numbers() == [1]
    node.kernel.namespace_ends()
    node.settle()
    assert (node.port_numbers(), node.objects) == ([], {})


def test_a_record_that_is_lost_meanwhile_has_the_device_nodes_again(node: ExclusiveNode) -> None:
    promised = node.record()
    node.enter_pod()
    node.settle()
    node.lose_records()
    node.restart()
    node.settle()
    assert node.record().nodes == promised.nodes
    assert node.mismatch() is None
    assert node.offered()


# Back from a pod.


def test_what_comes_back_has_its_mtu_again(node: ExclusiveNode) -> None:
    node.enter_pod()
    node.settle()
    node.leave_pod()
    node.settle()
    assert node.mtu() == 1500


def test_what_comes_back_has_its_name_again_and_is_offered(node: ExclusiveNode) -> None:
    before = node.record()
    node.enter_pod()
    node.settle()
    node.leave_pod()
    node.kernel.rename_netdev(node.netdev, "net1")
    assert node.settle().decision == Settled()
    assert node.mtu() == 1500
    after = node.record()
    assert (after.state, after.lent, after.env, after.link) == (State.READY, False, before.env, before.link)
    assert (after.nodes, after.witness) == (before.nodes, before.witness)


def test_a_netdev_that_comes_back_first_is_made_what_it_was_before_the_rdma_device_is_back(node: ExclusiveNode) -> None:
    node.enter_pod()
    node.settle()
    node.kernel.move_rdma(node.rdma, "elsewhere")
    node.leave_pod()
    node.settle()
    assert node.mtu() == 1500
    assert (node.record().state, node.record().lent) == (State.READY, False)
    assert node.condition(ConditionType.IN_USE) == ("True", Reason.IN_USE)
    node.kernel.namespace_ends("elsewhere")
    assert node.settle().decision == Settled()
    assert node.condition(ConditionType.IN_USE) == ("False", Reason.FREE)


def test_an_rdma_device_that_comes_back_first_leaves_the_netdev_lent(node: ExclusiveNode) -> None:
    node.enter_pod()
    node.settle()
    node.kernel.move_rdma(node.rdma, None)
    node.settle()
    assert node.ready() == ("True", Reason.READY)
    assert node.record().lent
    node.leave_pod()
    node.settle()
    assert node.mtu() == 1500


# A verbs device of another number: the container would get the node that was promised.


def test_a_container_is_refused_whose_verbs_device_has_another_number_now(renumbered: ExclusiveNode) -> None:
    found = renumbered.mismatch()
    assert found is not None
    assert "uverbs" in found


@pytest.mark.parametrize("with_netdev", [True, False])
def test_the_object_says_that_the_pod_is_to_be_deleted(root: Path, *, with_netdev: bool) -> None:
    node = ExclusiveNode(root, lower_is_free=True)
    node.pods.take("uid-blue")
    node.kernel.move_rdma(node.rdma)
    if with_netdev:
        node.kernel.move_netdev(node.netdev)
    node.settle()
    assert node.ready() == ("False", Reason.STALE_ALLOCATION)
    assert not node.offered()
    assert node.record().lent is with_netdev
    node.restart()
    node.settle()
    assert node.seam.steps == []


def test_the_next_pod_gets_the_verbs_device_that_is_there_then(renumbered: ExclusiveNode) -> None:
    promised = renumbered.recorded_verbs()
    renumbered.settle()
    renumbered.leave_pod()
    assert renumbered.mismatch() is not None
    assert renumbered.settle().decision == Settled()
    assert renumbered.recorded_verbs() == renumbered.verbs() != promised
    assert renumbered.offered()
    assert renumbered.mtu() == 1500
    renumbered.enter_pod()
    assert renumbered.mismatch() is None


def test_the_number_of_another_functions_verbs_device_is_given_to_no_pod(renumbered: ExclusiveNode) -> None:
    promised = renumbered.recorded_verbs()
    renumbered.apply("green")
    renumbered.settle("green")
    assert promised in {node.host_path for node in renumbered.record("green").nodes}
    assert renumbered.mismatch() is not None
    renumbered.leave_pod()
    assert renumbered.mismatch() is not None


# Made anew, and not only moved.


def test_an_rdma_device_that_is_made_anew_is_another_one(node: ExclusiveNode) -> None:
    node.pods.take("uid-blue")
    node.kernel.unload_module("mlx5_ib")
    node.kernel.load_module("mlx5_ib")
    assert node.mismatch() is not None
    node.settle()
    assert node.ready() == ("False", Reason.STALE_ALLOCATION)
    node.pods.give_back("uid-blue")
    node.settle()
    assert node.ready() == ("True", Reason.READY)
    assert node.offered()


def test_an_rdma_device_that_is_made_anew_under_a_pod_that_had_moved_it_is_another_one(node: ExclusiveNode) -> None:
    node.enter_pod()
    node.settle()
    node.kernel.unload_module("mlx5_ib")
    node.kernel.load_module("mlx5_ib")
    assert node.verbs() == node.recorded_verbs()
    assert node.mismatch() is not None
    node.settle()
    assert node.ready() == ("False", Reason.STALE_ALLOCATION)
    assert not node.offered()


def test_a_function_that_is_made_anew_is_another_one(node: ExclusiveNode) -> None:
    node.enter_pod()
    node.settle()
    node.kernel.crash_driver(PARENT)
    node.settle()
    assert node.record().remade
    assert node.ready() == ("False", Reason.STALE_ALLOCATION)


def test_where_rdma_devices_are_shared_a_verbs_device_that_is_made_anew_is_another_one(root: Path) -> None:
    node = World(root)
    node.kernel.tree.directory("module/ib_core/parameters", {"netns_mode": SHARED})
    node.apply()
    node.settle()
    promised = node.record()
    assert promised.witness.movable == {}
    assert any("uverbs" in path for path in promised.witness.inodes)
    node.devlink.reload(Handle("auxiliary", promised.device_id))
    assert find_mismatch(promised.witness, node.sysfs) is not None


# On its way.


@pytest.mark.parametrize("held", [True, False])
def test_an_rdma_device_that_is_out_of_sight_for_a_moment_is_waited_for(node: ExclusiveNode, *, held: bool) -> None:
    if held:
        node.pods.take("uid-blue")
    node.sysfs = WithoutRdma(node.kernel.sysfs())
    node.restart()
    assert isinstance(node.look_once().decision, Wait)
    assert node.seam.steps == []
    node.sysfs = node.kernel.sysfs()
    node.restart()
    assert node.settle().decision == Settled()
    assert node.seam.steps == []


@pytest.mark.parametrize("held", [True, False])
def test_an_rdma_device_that_stays_out_of_sight_is_missing(node: ExclusiveNode, *, held: bool) -> None:
    if held:
        node.pods.take("uid-blue")
    node.sysfs = WithoutRdma(node.kernel.sysfs())
    node.restart()
    node.settle()
    assert node.ready() == ("False", Reason.CHANGE_PENDING if held else Reason.ATTACHING)
    assert any(isinstance(step, Reload) for step in node.seam.steps) is not held


# The mode changes, and the agent.


@pytest.mark.parametrize("held", [True, False])
def test_a_record_of_shared_devices_is_made_one_of_movable_devices_once_no_pod_has_it(
    node: ExclusiveNode, *, held: bool
) -> None:
    """As an agent before this one wrote it, or while the mode was shared."""
    node.set_mode(SHARED)
    node.settle()
    before = node.record()
    assert before.witness.movable == {}
    if held:
        node.pods.take("uid-blue")
    node.set_mode(EXCLUSIVE)
    node.restart()
    assert node.settle().decision == Settled()
    assert node.offered()
    assert bool(node.record().witness.movable) is not held
    node.pods.give_back("uid-blue")
    node.settle()
    assert node.record().witness.movable


def test_the_write_of_a_record_is_the_only_step_of_a_change_of_mode(node: ExclusiveNode) -> None:
    node.set_mode(SHARED)
    node.restart()
    node.settle()
    assert [type(step) for step in node.seam.steps] == [StoreRecord]
