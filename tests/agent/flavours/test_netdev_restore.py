"""A netdev that was in a pod: late, down, renamed, with the pod's MTU, and offered only when it is whole again."""

import msgspec
import pytest

from rig.world import World, derived
from subfunction.api.reasons import Reason
from subfunction.kernel.netdev import Netdev
from subfunction.state.records import Health, State
from subfunction_operator.agent.model.decision import Settled
from subfunction_operator.agent.model.steps import SetLink, StoreRecord
from subfunction_simulator.kernel import Operation

EEXIST, EIO = 17, 5


@pytest.fixture
def lent(world: World) -> World:
    """A node whose one sub-function has its netdev in a pod."""
    world.apply()
    world.settle()
    world.pods.take("uid-blue")
    world.kernel.move_netdev(name(world))
    world.settle()
    return world


def name(world: World) -> str:
    return world.record().env["SUBFUNCTION_NETDEV"]


def netdev(world: World) -> Netdev | None:
    return Netdev.named(world.sysfs, name(world))


def test_that_it_is_away_is_written_once(lent: World) -> None:
    assert lent.record().lent
    lent.restart()
    lent.settle()
    assert lent.seam.steps == []


def test_it_comes_back_with_the_pods_mtu_and_another_name_and_is_made_what_it_was(lent: World) -> None:
    before = lent.record()
    lent.pods.give_back("uid-blue")
    lent.kernel.namespace_ends(mtu=1300)
    lent.kernel.rename_netdev(name(lent), "net1")
    lent.restart()
    assert lent.settle().decision == Settled()
    found = netdev(lent)
    assert found is not None
    assert (found.name, found.mtu, str(found.mac)) == (name(lent), 1500, derived())
    states = [step.record.state for step in lent.seam.steps if isinstance(step, StoreRecord)]
    assert states == [State.RETURNING, State.READY]
    assert lent.record().device_id == before.device_id
    assert not lent.record().lent


def test_it_goes_by_another_name_if_somebody_has_its_own_by_now(lent: World) -> None:
    lent.foreign(900)
    lent.pods.give_back("uid-blue")
    (returned,) = lent.kernel.namespace_ends(mtu=1300)
    assert lent.settle().decision == Settled()
    found = netdev(lent)
    assert found is not None
    assert (found.name, found.mtu, str(found.mac)) == (returned, 1500, derived())


def test_its_name_as_an_alternative_one_holds_neither_mtu_nor_address_back(lent: World) -> None:
    own = name(lent)
    lent.pods.give_back("uid-blue")
    lent.kernel.namespace_ends(mtu=1300)
    lent.kernel.rename_netdev(own, "net1")
    lent.kernel.add_alternative_name("net1", own)  # as udev does with the name before
    assert lent.settle().decision == Settled()
    found = netdev(lent)
    assert found is not None
    assert (found.name, found.mtu, str(found.mac)) == ("net1", 1500, derived())
    assert lent.offered()


def test_until_it_is_whole_it_is_offered_to_nobody(lent: World) -> None:
    lent.pods.give_back("uid-blue")
    lent.kernel.namespace_ends(mtu=1300)
    lent.kernel.faults.fail_next(Operation.SET_LINK, EEXIST)
    error = lent.settle().error
    assert error is not None
    record = lent.record()
    assert (record.state, record.health.healthy, record.health.reason) == (State.RETURNING, False, Reason.RETURNING)
    assert lent.settle().decision == Settled()
    assert lent.offered()


def test_a_restarted_agent_goes_on(lent: World) -> None:
    lent.pods.give_back("uid-blue")
    lent.kernel.namespace_ends(mtu=1300)
    lent.kernel.faults.fail_next(Operation.SET_LINK, EEXIST)
    lent.settle()
    lent.restart()
    assert lent.settle().decision == Settled()
    found = netdev(lent)
    assert found is not None
    assert found.mtu == 1500


def test_while_it_is_away_nothing_is_repaired(lent: World) -> None:
    lent.restart()
    lent.settle()
    assert [step for step in lent.seam.steps if isinstance(step, SetLink)] == []


def test_one_that_comes_back_as_it_went_is_offered_again_at_once(lent: World) -> None:
    lent.pods.give_back("uid-blue")
    lent.kernel.namespace_ends()
    lent.restart()
    assert lent.settle().decision == Settled()
    assert lent.offered()
    assert [step for step in lent.seam.steps if isinstance(step, SetLink)] == []


def test_an_object_that_is_deleted_while_it_is_away_goes_when_it_is_back(lent: World) -> None:
    lent.delete()
    lent.settle()
    assert lent.port_numbers() == [1]
    lent.pods.give_back("uid-blue")
    lent.settle()
    assert lent.port_numbers() == [1]
    lent.kernel.namespace_ends(mtu=1300)
    lent.settle()
    assert (lent.port_numbers(), lent.objects) == ([], {})


def test_health_comes_back_while_it_is_away(lent: World) -> None:
    lent.kernel.faults.fail_next(Operation.PORT_GET, EIO)
    assert lent.settle().error is not None
    lent.settle()
    assert lent.offered()
    assert lent.record().lent


def test_health_that_was_lost_for_a_moment_comes_back_while_it_is_away(lent: World) -> None:
    before = lent.record()
    sick = Health(reason=Reason.KERNEL_BUSY, message="no answer")
    lent.records.write(before.uid, msgspec.structs.replace(before, health=sick))
    lent.settle()
    assert lent.record() == before
