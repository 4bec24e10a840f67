"""What somebody else made: left alone, taken over when asked, and left behind as it is."""

import pytest

from rig.claims import port_claim
from rig.world import World, derived
from subfunction.api.subfunction import DeletionPolicy
from subfunction.errors import Foreign, NumberOwned
from subfunction.kernel.address import Mac
from subfunction_operator.agent.model.decision import Settled
from subfunction_operator.agent.model.steps import Deactivate, SetFunction

THEIRS = "00:11:22:33:44:55"


def test_one_of_somebody_elses_is_taken_over_with_its_number_and_address(world: World) -> None:
    index = world.foreign(88, mac=THEIRS)
    world.apply(number=88, adopt=True, mlx5={"rdma": True})
    assert world.settle().decision == Settled()
    claim = port_claim(world.record())
    assert (claim.number, claim.port_index, claim.mac_address, claim.adopted) == (88, index, THEIRS, True)
    assert world.mac(88) == THEIRS
    assert [step for step in world.seam.steps if isinstance(step, SetFunction | Deactivate)] == []
    status = world.objects["uid-blue"].status
    assert (status.number, status.mac_address) == (88, THEIRS)


def test_without_a_word_of_adoption_it_is_left_alone_and_the_way_is_named(world: World) -> None:
    world.foreign(88, mac=THEIRS)
    before = world.as_text(88)
    world.apply(number=88)
    error = world.settle().error
    assert isinstance(error, Foreign)
    assert "spec.adopt" in str(error)
    assert world.as_text(88) == before


def test_an_address_that_is_asked_for_is_set_on_it(world: World) -> None:
    world.foreign(88, mac=THEIRS)
    world.apply(number=88, adopt=True, macAddress="02:00:00:00:00:88")
    assert world.settle().decision == Settled()
    assert world.mac(88) == "02:00:00:00:00:88"


@pytest.mark.mlx5("an address that was never set")
def test_one_that_carries_no_address_yet_gets_the_objects_own(world: World) -> None:
    world.foreign(88, mac=None, active=False)
    world.apply(number=88, adopt=True)
    assert world.settle().decision == Settled()
    assert world.mac(88) == derived()


def test_its_deletion_leaves_it_as_it_is_unless_said_otherwise(world: World) -> None:
    world.foreign(88, mac=THEIRS)
    world.apply(number=88, adopt=True)
    world.settle()
    before = world.as_text(88)
    world.delete()
    world.settle()
    assert world.objects == {}
    assert world.as_text(88) == before
    world.apply(number=88, adopt=True, deletionPolicy="Drain")
    world.settle()
    world.delete()
    world.settle()
    assert world.port_numbers() == []


def test_what_another_object_has_is_nobodys_to_adopt(world: World) -> None:
    world.apply("first", number=88)
    world.settle("first")
    world.apply(number=88, adopt=True)
    assert isinstance(world.settle().error, NumberOwned)


def test_one_that_is_not_there_is_made(world: World) -> None:
    world.apply(number=88, adopt=True)
    assert world.settle().decision == Settled()
    assert world.port_numbers() == [88]


@pytest.mark.parametrize("lose", ["reboot", "records"])
def test_an_adopted_one_keeps_number_and_address_for_ever(world: World, lose: str) -> None:
    world.foreign(88, mac=THEIRS)
    world.apply(number=88, adopt=True)
    world.settle()
    if lose == "reboot":
        world.reboot()
    else:
        world.lose_records()
        world.restart()
    assert world.settle().decision == Settled()
    assert world.mac(88) == THEIRS


@pytest.mark.parametrize("policy", list(DeletionPolicy))
def test_an_object_that_went_without_a_word_is_treated_as_it_said(world: World, policy: DeletionPolicy) -> None:
    world.apply(deletionPolicy=policy.value)
    world.settle()
    world.pods.take("uid-blue")
    del world.objects["uid-blue"]
    world.settle()
    assert (world.port_numbers() == []) is (policy is DeletionPolicy.FORCE)
    world.pods.give_back("uid-blue")
    if world.records.read("uid-blue") is not None:
        world.settle()
    assert (world.port_numbers() == []) is (policy is not DeletionPolicy.RETAIN)
    assert world.records.read_all().items == {}
    assert Mac.parse(derived()).unicast
