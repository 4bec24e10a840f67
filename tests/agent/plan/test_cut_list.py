"""A list of ports that one port's refused query cuts short, with success: no evidence that a port is gone."""

import pytest

from rig.claims import port_claim
from rig.survey import survey
from rig.verdicts import assert_clean, assert_ready
from rig.world import PARENT, Killed, World, derived
from subfunction.errors import KernelError, PortUnlisted
from subfunction_operator.agent.inventory.discovery import Discovery
from subfunction_operator.agent.model.decision import Settled
from subfunction_operator.agent.model.steps import CreatePort, DeletePort

NOTHING: frozenset[tuple[str, int]] = frozenset()


def cut(world: World) -> int:
    """Make a port that another tool has, in the first slot, and let its query fail: the list is empty."""
    index = world.foreign(900)
    world.kernel.refuse_query(PARENT, index)
    return index


def emptied(world: World) -> bool:
    return not [port for port in world.devlink.ports(PARENT) if port.is_sub_function]


def test_what_is_ready_stays_so_while_the_list_is_empty(world: World) -> None:
    index = world.foreign(900)
    world.apply()
    world.settle()
    world.kernel.refuse_query(PARENT, index)
    assert emptied(world)
    world.restart()
    result = world.settle()
    assert (result.error, result.decision) == (None, Settled())
    assert world.seam.steps == []
    assert world.offered()


@pytest.mark.parametrize("deleting", [False, True], ids=["wanted", "deleted"])
def test_a_port_made_before_a_kill_is_neither_made_twice_nor_forgotten(world: World, *, deleting: bool) -> None:
    index = cut(world)
    world.apply()
    world.restart(kill_at=3)  # the port is made, and its index not written down
    with pytest.raises(Killed):
        world.settle()
    assert world.port_numbers() == [1, 900]
    assert emptied(world)
    world.restart()
    if deleting:
        world.delete()
    result = world.settle()
    assert isinstance(result.error, PortUnlisted)
    assert "devlink health show" in result.error.hint
    assert result.error.retry_after is not None
    assert world.records.read("uid-blue") is not None
    assert not [step for step in world.seam.steps if isinstance(step, CreatePort | DeletePort)]

    world.kernel.refuse_query(PARENT, index, refuse=False)
    if deleting:
        world.settle()
        assert world.port_numbers() == [900]
        assert world.records.read("uid-blue") is None
    else:
        assert_ready(world, world.settle(), 1, derived())


def test_a_number_that_the_list_hides_is_refused_by_the_kernel_and_the_next_is_taken(world: World) -> None:
    index = world.foreign(1)
    world.kernel.refuse_query(PARENT, index)
    world.apply()
    assert_ready(world, world.settle(), 2, derived())
    assert port_claim(world.record()).number == 2


def test_a_port_whose_own_query_fails_is_kept_and_its_object_says_so_in_the_kernels_words(world: World) -> None:
    world.apply()
    world.settle()
    port = world.objects["uid-blue"].status.port
    assert port is not None
    world.kernel.refuse_query(PARENT, port)
    world.seam.steps.clear()
    error = world.settle().error
    assert isinstance(error, KernelError)
    assert "Failed getting HCA caps" in str(error)
    assert world.port_numbers() == [1]
    assert not [step for step in world.seam.steps if isinstance(step, CreatePort | DeletePort)]
    world.kernel.refuse_query(PARENT, port, refuse=False)
    assert_ready(world, world.settle(), 1, derived())
    world.delete()
    world.settle()
    assert_clean(world)


def test_what_other_tools_made_stays_shown_until_the_kernel_says_that_it_is_gone(world: World) -> None:
    first, second = world.foreign(900), world.foreign(901)
    discovery = Discovery(world.sysfs, world.records)

    def shown() -> list[int]:
        parents = survey(discovery, world.devlink).parents
        return [each.port for parent in parents for each in parent.foreign]

    assert shown() == [first, second]
    world.kernel.refuse_query(PARENT, first)
    assert emptied(world)
    assert shown() == [first, second]
    world.kernel.lose_port(PARENT, 901)
    world.kernel.settle()
    assert shown() == [first]
    world.kernel.refuse_query(PARENT, first, refuse=False)
    assert shown() == [first]
