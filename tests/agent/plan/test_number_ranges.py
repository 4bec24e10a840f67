"""Ranges of numbers of a parent's own: for cards on which another tool, or a DPU's own services, have some."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig.survey import survey
from rig.verdicts import assert_ready
from rig.world import OTHER_PARENT, PARENT, World, derived
from subfunction.errors import InvalidSetting, NumbersExhausted
from subfunction.kernel.address import Handle
from subfunction_operator.agent.inventory.discovery import Discovery
from subfunction_operator.agent.model.number_ranges import NumberRanges
from subfunction_operator.agent.model.observation import NodePolicy
from subfunction_operator.agent.observe.parents import choose_parent, rank_parent

USUAL = (1, 999)


def ranges(*texts: str, node: str = "worker-1", usual: tuple[int, int] = USUAL) -> NumberRanges:
    return NumberRanges.parse(usual, node, texts)


@pytest.mark.parametrize(
    ("texts", "node", "parent", "numbers"),
    [
        ((), "worker-1", "pci/0000:03:00.0", (1, 999)),
        (("pci/0000:03:00.0=600-799",), "worker-1", "pci/0000:03:00.0", (600, 799)),
        (("pci/0000:03:00.0=600-799",), "worker-1", "pci/0000:03:00.1", (1, 999)),
        (("pci/0000:03:00.*=600-799",), "worker-1", "pci/0000:03:00.1", (600, 799)),
        (("bf-1:pci/0000:03:00.0=600-799",), "worker-1", "pci/0000:03:00.0", (1, 999)),
        (("bf-1:pci/0000:03:00.0=600-799",), "bf-1", "pci/0000:03:00.0", (600, 799)),
        (("bf-*:*=600-999",), "bf-12", "pci/0000:82:00.0", (600, 999)),
        (("bf-1:*=5-9", "bf-*:*=600-999"), "bf-1", "pci/0000:03:00.0", (5, 9)),
        (("pci/0000:03:00.0=0-0", "*=4294967295-4294967295"), "n", "pci/0000:03:00.0", (0, 0)),
        (("pci/0000:03:00.0=0-0", "*=4294967295-4294967295"), "n", "auxiliary/x.1", (4294967295, 4294967295)),
    ],
)
def test_the_first_range_that_fits_node_and_parent_counts(
    texts: tuple[str, ...], node: str, parent: str, numbers: tuple[int, int]
) -> None:
    found = ranges(*texts, node=node).of(Handle.parse(parent))
    assert (found.start, found.stop - 1) == numbers


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (("",), "is no range of numbers for a parent"),
        (("pci/0000:03:00.0",), "is no range"),
        (("600-799",), "is no range"),
        (("pci/0000:03:00.0=600",), "is no range"),
        (("pci/0000:03:00.0=-1-5",), "is no range"),
        (("0000:03:00.0=1-5",), "is no range"),
        (("enp3s0np0=1-5",), "is no range"),
        (("pci/0000:03:00.[01]=1-5",), "is no range"),
        (("pci/0000:03:00.0=7-6",), "has no numbers"),
        (("pci/0000:03:00.0=0-4294967296",), "beyond 32 bits"),
        (("pci/0000:03:00.0=1-5", "pci/0000:03:00.0=6-9"), "would never count"),
        (("*=1-5", "pci/0000:03:00.0=6-9"), "would never count"),
        (("pci/0000:03:00.0=1-5", "bf-1:pci/0000:03:00.0=6-9"), "would never count"),
    ],
)
def test_what_is_no_range_or_would_never_count_is_refused_with_what_to_type(texts: tuple[str, ...], words: str) -> None:
    with pytest.raises(InvalidSetting, match=words) as refused:
        ranges(*texts)
    assert refused.value.hint


def test_a_usual_range_without_numbers_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="first-number=5 last-number=4"):
        ranges(usual=(5, 4))


@given(
    first=st.integers(0, 50),
    length=st.integers(1, 50),
    capacity=st.integers(0, 128),
    taken=st.sets(st.integers(0, 120), max_size=60),
)
def test_what_is_left_of_a_capacity_is_never_more_than_the_free_numbers(
    first: int, length: int, capacity: int, taken: set[int]
) -> None:
    limited = ranges(f"*={first}-{first + length - 1}").limit(PARENT, capacity, taken)
    assert limited is not None
    assert limited <= capacity
    free = [number for number in range(first, first + length) if number not in taken]
    assert limited - len(taken) == min(capacity - len(taken), len(free))


def test_of_an_unknown_capacity_nothing_is_known() -> None:
    assert ranges("*=1-5").limit(PARENT, None, ()) is None


def on(root: Path, *texts: str) -> World:
    return World(root, policy=NodePolicy(ranges(*texts)))


def test_each_parent_has_numbers_of_its_own_range(root: Path) -> None:
    world = on(root, f"{PARENT}=600-601")
    for name, parent in (("a", PARENT), ("b", PARENT), ("c", OTHER_PARENT)):
        world.apply(name, parent={"device": str(parent)})
        world.settle(name)
    assert (world.port_numbers(PARENT), world.port_numbers(OTHER_PARENT)) == ([600, 601], [1])


def test_the_end_of_a_parents_range_is_told_with_the_range_and_the_setting(root: Path) -> None:
    world = on(root, f"{PARENT}=600-600")
    world.apply("a")
    world.settle("a")
    world.apply("b")
    error = world.settle("b").error
    assert isinstance(error, NumbersExhausted)
    assert "each number from 600 to 600" in str(error)
    assert "agent.numberRanges" in error.hint


def test_a_number_that_was_given_or_asked_for_is_kept_outside_of_the_range(root: Path) -> None:
    world = World(root)
    world.apply("a")
    world.settle("a")
    world.policy = NodePolicy(ranges(f"{PARENT}=600-799"))
    world.restart()
    assert_ready(world, world.settle("a"), 1, derived("a"), "a")
    world.apply("b", number=7)
    assert_ready(world, world.settle("b"), 7, derived("b"), "b")
    world.apply("c")
    assert_ready(world, world.settle("c"), 600, derived("c"), "c")


def test_the_node_shows_no_more_room_than_there_are_numbers(root: Path) -> None:
    world = on(root, f"{PARENT}=600-609")
    world.foreign(1)
    world.foreign(600)
    discovery = Discovery(world.sysfs, world.records, world.policy.numbers)
    shown = {str(parent.function.handle): parent.capacity for parent in survey(discovery, world.devlink).parents}
    assert shown == {str(PARENT): 11, str(OTHER_PARENT): 128}  # ten numbers, and theirs outside of them


def test_our_own_numbers_outside_of_a_range_take_none_of_its_room(root: Path) -> None:
    world = on(root, f"{PARENT}=600-609")
    for number in (1, 2, 3):
        world.apply(f"sf-{number}", number=number)
        world.settle(f"sf-{number}")
    discovery = Discovery(world.sysfs, world.records, world.policy.numbers)
    shown = {str(parent.function.handle): parent.capacity for parent in survey(discovery, world.devlink).parents}
    assert shown[str(PARENT)] == 13


def test_a_parent_with_few_numbers_left_is_chosen_after_one_with_more(root: Path) -> None:
    world = on(root, f"{PARENT}=600-603")
    for numbers, best in ((world.policy.numbers, OTHER_PARENT), (NumberRanges(), PARENT)):
        ranked = {parent: rank_parent(world.devlink, parent, numbers) for parent in (PARENT, OTHER_PARENT)}
        assert choose_parent(ranked) == best
