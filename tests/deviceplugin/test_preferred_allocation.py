"""What GetPreferredAllocation advises: the pure part, by example and by comparison with every other choice."""

import itertools
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subfunction_deviceplugin.preferred_allocation import Criteria, DeviceTopology, Policy, choose_preferred

POLICIES: tuple[Policy, ...] = ("packed", "spread")

# The same each time, and however busy the machine is.
settled = settings(
    max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def places(**by_id: str) -> dict[str, DeviceTopology]:
    """Read places as `NUMA node, root, parent`: `a="0 r0 p0"`; `-` is a node that is not known."""
    found = {}
    for device_id, text in by_id.items():
        node, root, parent = text.split()
        found[device_id] = DeviceTopology(None if node == "-" else int(node), root, parent)
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_the_device_given_back_the_longest_ago_comes_first(policy: Policy) -> None:
    used = {"a": 30.0, "b": 10.0, "c": 20.0}
    assert choose_preferred("abc", "", 1, Criteria({}, used, policy)) == ("b",)
    assert choose_preferred("abcd", "", 1, Criteria({}, used, policy)) == ("d",)


@pytest.mark.parametrize("policy", POLICIES)
def test_devices_of_one_numa_node_come_first(policy: Policy) -> None:
    numa = places(a="0 r p", b="1 s q", c="0 r p", d="1 s q", e="1 s q")
    assert choose_preferred("abcde", "", 3, Criteria(numa, {}, policy)) == ("b", "d", "e")
    assert choose_preferred("abcde", "a", 2, Criteria(numa, {}, policy)) == ("a", "c")


@pytest.mark.parametrize("policy", POLICIES)
def test_a_whole_numa_node_is_worth_more_than_rest(policy: Policy) -> None:
    numa = places(a="0 r p", b="0 r p", c="1 s q")
    assert choose_preferred("abc", "", 2, Criteria(numa, {"a": 5.0, "b": 6.0}, policy)) == ("a", "b")


def test_a_node_is_worth_more_than_the_wires_of_two() -> None:
    far = places(a="0 r p", b="0 r p", c="1 s q")
    assert choose_preferred("abc", "", 2, Criteria(far, {}, "spread")) == ("a", "b")


@pytest.mark.parametrize("policy", POLICIES)
def test_the_pcie_root_of_what_the_container_has_is_worth_more_than_the_policy(policy: Policy) -> None:
    cards = places(a="0 r p", b="0 r p", c="0 s q", d="0 s q", e="0 r o")
    chosen = choose_preferred("abcde", "a", 3, Criteria(cards, {"b": 9.0}, policy))
    assert chosen == ("a", "b", "e")


def test_spread_gives_a_container_devices_of_several_wires() -> None:
    card = places(a="0 r p0", b="0 r p0", c="0 r p1", d="0 r p1")
    assert choose_preferred("abcd", "", 2, Criteria(card, {}, "spread")) == ("a", "c")
    assert choose_preferred("abcd", "", 3, Criteria(card, {}, "spread")) == ("a", "b", "c")


def test_packed_gives_a_container_devices_of_one_wire() -> None:
    card = places(a="0 r p0", b="0 r p1", c="0 r p1", d="0 r p0")
    assert choose_preferred("abcd", "", 2, Criteria(card, {}, "packed")) == ("a", "d")


def test_spread_takes_the_parent_with_the_fewest_devices_in_use() -> None:
    card = places(a="0 r p0", b="0 r p0", c="0 r p0", x="0 r p1", y="0 r p1", z="0 r p1")
    assert choose_preferred("bcxyz", "", 1, Criteria(card, {}, "spread")) == ("x",)


def test_packed_fills_one_parent_before_the_next() -> None:
    card = places(a="0 r p0", b="0 r p0", c="0 r p0", x="0 r p1", y="0 r p1", z="0 r p1")
    assert choose_preferred("abcyz", "", 1, Criteria(card, {}, "packed")) == ("y",)
    # More than is left there comes from the parent that has it all.
    assert choose_preferred("abcyz", "", 3, Criteria(card, {}, "packed")) == ("a", "b", "c")


@pytest.mark.parametrize("policy", POLICIES)
def test_what_must_be_included_is_included(policy: Policy) -> None:
    assert choose_preferred("abc", "bc", 2, Criteria({}, {}, policy)) == ("b", "c")
    assert choose_preferred("abc", "bc", 1, Criteria({}, {}, policy)) == ("b", "c")
    assert choose_preferred("ab", "", 3, Criteria({}, {}, policy)) == ("a", "b")
    assert choose_preferred("", "", 1, Criteria({}, {}, policy)) == ()


NODES = st.sampled_from([None, 0, 1, 2, 3])
ROOTS = st.sampled_from(["", "pci0000:00", "pci0000:80"])
PARENTS = st.sampled_from(["", "p0", "p1", "p2"])
DEVICES = st.dictionaries(
    st.sampled_from("abcdefgh"), st.builds(DeviceTopology, NODES, ROOTS, PARENTS), min_size=1, max_size=8
)


@st.composite
def questions(draw: st.DrawFn) -> tuple[dict[str, DeviceTopology], list[str], list[str], int]:
    """Draw a node, and what the kubelet asks of it: what must be included is always among what is available."""
    known = draw(DEVICES)
    available = draw(st.lists(st.sampled_from(sorted(known)), unique=True))
    required = draw(st.lists(st.sampled_from(available), unique=True)) if available else []
    return known, available, required, draw(st.integers(len(required), 8))


def nodes_of(known: Mapping[str, DeviceTopology], ids: tuple[str, ...]) -> int:
    return len({known[each].numa_node for each in ids})


@settled
@given(questions(), st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 9)), st.sampled_from(POLICIES))
def test_nothing_unavailable_all_that_is_required_the_size_asked_for_on_no_more_nodes_than_need_be(
    question: tuple[dict[str, DeviceTopology], list[str], list[str], int], used: dict[str, float], policy: Policy
) -> None:
    known, available, required, size = question
    chosen = choose_preferred(available, required, size, Criteria(known, used, policy))
    assert set(chosen) <= set(available)
    assert set(required) <= set(chosen)
    assert len(chosen) == len(set(chosen)) == min(size, len(available))
    every = (each for each in itertools.combinations(sorted(available), len(chosen)) if set(required) <= set(each))
    assert nodes_of(known, chosen) == min(nodes_of(known, each) for each in every)


@settled
@given(questions(), st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 9)), st.sampled_from(POLICIES), st.data())
def test_the_order_in_which_the_kubelet_names_them_changes_nothing(
    question: tuple[dict[str, DeviceTopology], list[str], list[str], int],
    used: dict[str, float],
    policy: Policy,
    data: st.DataObject,
) -> None:
    known, available, required, size = question
    shuffled = dict(data.draw(st.permutations(sorted(known.items(), key=lambda each: each[0]))))
    others = (data.draw(st.permutations(available)), data.draw(st.permutations(required)))
    asked = choose_preferred(available, required, size, Criteria(known, used, policy))
    assert choose_preferred(*others, size, Criteria(shuffled, used, policy)) == asked


@settled
@given(st.dictionaries(st.sampled_from("abcdefgh"), PARENTS, min_size=1), st.integers(1, 8))
def test_on_one_node_packed_uses_the_fewest_wires_there_can_be_and_spread_the_most(
    parents: dict[str, str], size: int
) -> None:
    known = {each: DeviceTopology(0, "pci0000:00", parent) for each, parent in parents.items()}
    counts = Counter(parents.values())
    size = min(size, len(known))

    def wires(policy: Policy) -> int:
        chosen = choose_preferred(known, (), size, Criteria(known, {}, policy))
        return len({parents[each] for each in chosen})

    fewest = next(n for n in itertools.count(1) if sum(sorted(counts.values(), reverse=True)[:n]) >= size)
    assert (wires("packed"), wires("spread")) == (fewest, min(size, len(counts)))
