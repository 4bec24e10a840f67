"""A sub-function whose object is deleted, free or in a pod's hands."""

import pytest

from rig.verdicts import assert_clean
from rig.world import PARENT, World
from subfunction.api.conditions import ConditionType
from subfunction.api.reasons import Reason
from subfunction.state.records import State
from subfunction_operator.agent.model.decision import Wait
from subfunction_operator.agent.model.steps import DeletePort
from subfunction_simulator.kernel import Kind


def test_a_deletion_waits_for_the_pod_and_goes_on_by_itself(world: World) -> None:
    world.apply()
    world.settle()
    world.pods.take("uid-blue")
    before = world.as_text(1)
    world.delete()
    result = world.settle()
    assert isinstance(result.decision, Wait)
    assert result.decision.reason is Reason.IN_USE
    assert not world.offered()
    assert world.as_text(1) == before
    world.pods.give_back("uid-blue")
    world.settle()
    assert_clean(world)


def test_a_deletion_waits_while_nobody_can_tell_whether_a_pod_has_it(world: World) -> None:
    world.apply()
    world.settle()
    world.pods.kubelet_answers = False
    world.delete()
    assert isinstance(world.settle().decision, Wait)
    assert world.port_numbers() == [1]


def test_a_deletion_waits_for_a_netdev_that_is_in_a_pods_namespace(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.move_netdev(world.record().env["SUBFUNCTION_NETDEV"])
    world.delete()
    assert isinstance(world.settle().decision, Wait)
    assert world.port_numbers() == [1]
    world.kernel.namespace_ends()
    world.settle()
    assert_clean(world)


def test_force_takes_it_from_the_pod_once_the_object_has_said_so(world: World) -> None:
    world.apply(deletionPolicy="Force")
    world.settle()
    world.pods.take("uid-blue")
    world.delete()
    assert isinstance(world.settle().decision, Wait)
    assert world.port_numbers() == [1]
    told = world.objects["uid-blue"].status.condition(ConditionType.READY)
    assert told is not None
    assert (told.status, told.reason) == ("False", Reason.FORCED)
    assert "pod default/p holds it" in told.message
    world.restart()
    world.settle()
    assert_clean(world)


def test_retain_leaves_the_function_as_it_is_and_lets_the_object_go(world: World) -> None:
    world.apply(deletionPolicy="Retain")
    world.settle()
    before = world.as_text(1)
    world.delete()
    result = world.settle()
    assert result.released
    assert world.as_text(1) == before
    assert (world.objects, world.records.read_all().items) == ({}, {})


def test_an_object_that_went_without_a_word_leaves_a_record_that_drains(world: World) -> None:
    world.apply()
    world.settle()
    del world.objects["uid-blue"]
    world.restart()
    world.settle()
    assert_clean(world)


@pytest.mark.mlx5("attaching takes its time")
def test_a_deletion_while_the_function_attaches_leaves_nothing(world: World) -> None:
    world.kernel.hold(Kind.ATTACH)
    world.apply()
    assert world.settle().attaching
    world.delete()
    world.kernel.let_go(Kind.ATTACH)
    world.settle()
    assert_clean(world)


@pytest.mark.mlx5("detaching takes its time")
def test_a_deletion_waits_for_the_driver_to_let_go_before_the_port_is_deleted(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.hold(Kind.DETACH)
    world.delete()
    result = world.settle()
    assert isinstance(result.decision, Wait)
    assert (result.decision.reason, result.decision.kernel) == (Reason.STILL_ATTACHED, True)
    assert not [step for step in world.seam.steps if isinstance(step, DeletePort)]
    world.kernel.let_go(Kind.DETACH)
    world.settle()
    assert_clean(world)


def test_a_deletion_goes_through_when_the_parent_is_gone(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.remove_parent(PARENT)
    world.delete()
    assert world.settle().released
    assert world.records.read_all().items == {}


def test_retain_keeps_the_record_until_the_pod_has_ended(world: World) -> None:
    world.apply(deletionPolicy="Retain")
    world.settle()
    world.pods.take("uid-blue")
    world.delete()
    assert isinstance(world.settle().decision, Wait)
    assert world.record().state is State.DRAINING
    world.pods.give_back("uid-blue")
    assert world.settle().released
    assert world.port_numbers() == [1]
