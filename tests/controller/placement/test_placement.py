"""Where a sub-function goes that names no node: where it fits, the least used first; or why it fits nowhere."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import OTHER, PARENT, member, parent, pool, status, unplaced
from subfunction.api.node import NodeStatus, OfferedType
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Flavour, ParentSelector, ParentSpec, TemplateSpec
from subfunction_operator.controller.model.capacity import NodeCapacity
from subfunction_operator.controller.model.plans import Candidate
from subfunction_operator.controller.model.subfunction import CachedSubFunction
from subfunction_operator.controller.placement.scheduler import Unschedulable, place

ANY_MLX5 = ParentSpec(selector=ParentSelector(driver="mlx5_core"))


def candidate(
    name: str,
    known: NodeStatus | None,
    members: Sequence[CachedSubFunction] = (),
    *,
    labels: dict[str, str] | None = None,
    cordoned: bool = False,
    ready: bool = True,
) -> Candidate:
    return Candidate(name, labels or {}, cordoned, ready, None if known is None else NodeCapacity(known, members))


def spec(**template: object) -> TemplateSpec:
    return pool(template={"spec": template}).spec.template.spec


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=5), st.integers(0, 40))
def test_however_many_there_are_none_is_placed_above_a_limit_and_none_waits_while_there_is_room(
    rooms: list[tuple[int, int]], count: int
) -> None:
    statuses = [status(parent(PARENT, capacity=one), parent(OTHER, capacity=other)) for one, other in rooms]
    placed: dict[str, list[CachedSubFunction]] = {f"n{number}": [] for number in range(len(rooms))}
    left = 0
    for number in range(count):
        wanted = unplaced(f"sf-{number:02}", ANY_MLX5)
        nodes = [candidate(name, known, placed[name]) for (name, known) in zip(placed, statuses, strict=True)]
        where = place(wanted, nodes, "spread")
        assert where == place(wanted, list(reversed(nodes)), "spread"), "the order of the nodes does not matter"
        if isinstance(where, Unschedulable):
            left += 1
        else:
            placed[where].append(member(wanted.name, node=where, parent=None, asks=ANY_MLX5))
    for (one, other), there in zip(rooms, placed.values(), strict=True):
        assert len(there) <= one + other
    assert left == max(0, count - sum(one + other for one, other in rooms))


@pytest.mark.parametrize(("policy", "counts"), [("spread", [2, 2, 2]), ("packed", [4, 2, 0])])
def test_nodes_are_filled_evenly_or_one_after_the_other(policy: str, counts: list[int]) -> None:
    placed: dict[str, list[CachedSubFunction]] = {"a": [], "b": [], "c": []}
    for number in range(6):
        nodes = [candidate(name, status(parent()), there) for name, there in placed.items()]
        where = place(unplaced(f"sf-{number}"), nodes, "spread" if policy == "spread" else "packed")
        assert isinstance(where, str)
        placed[where].append(member(f"sf-{number}", node=where))
    assert [len(there) for there in placed.values()] == counts


def test_the_reasons_are_summed_up_as_the_scheduler_does() -> None:
    full = [member(f"m{number}") for number in range(4)]
    nodes = [candidate(f"legacy-{number}", status(parent(able=(), why=Reason.NOT_SWITCHDEV))) for number in range(8)]
    nodes += [candidate(f"full-{number}", status(parent()), full) for number in range(4)]
    assert place(unplaced("blue"), nodes, "spread") == Unschedulable(
        "0/12 nodes fit: 8 have no parent that can make mlx5 (NotSwitchdev), 4 are full."
    )
    assert place(unplaced("blue"), nodes[-1:], "spread") == Unschedulable("0/1 nodes fit: 1 is full.")
    assert place(unplaced("blue"), [], "spread") == Unschedulable("0/0 nodes fit: the cluster has no nodes.")


@pytest.mark.parametrize(
    ("wanted", "node", "why"),
    [
        (unplaced("a", selector={"nic": "yes"}), candidate("n", status(parent())), "1 does not match nodeSelector"),
        (unplaced("a"), candidate("n", status(parent()), cordoned=True), "1 is cordoned"),
        (unplaced("a"), candidate("n", status(parent()), ready=False), "1 is not ready"),
        (unplaced("a"), candidate("n", None), "1 has no agent"),
        (unplaced("a"), candidate("n", status(parent(OTHER))), "1 has no parent pci/0000:03:00.0"),
        (
            unplaced("a", ParentSpec(netdev="eth9")),
            candidate("n", status(parent())),
            "1 has no parent with the netdev eth9",
        ),
        (
            unplaced("a", ParentSpec(selector=ParentSelector(numa_node=1))),
            candidate("n", status(parent())),
            "1 has no parent that fits the selector",
        ),
        (
            unplaced("a", spec=spec(flavour="ice")),
            candidate("n", status(parent())),
            "1 has no parent that can make ice (Unsupported)",
        ),
        (
            unplaced("a", number=7),
            candidate("n", status(parent()), [member("b", number=7)]),
            "1 has number 7 taken",
        ),
        (
            unplaced("a", spec=spec(flavour="vfio", vfio={"virtualFunction": 3})),
            candidate("n", status(parent(able=(Flavour.VFIO,), functions=3))),
            "1 has no free virtual function 3",
        ),
        (
            unplaced("a", spec=spec(flavour="vfio", vfio={"mediatedDevice": "x"})),
            candidate("n", status(parent(able=(Flavour.VFIO,)))),
            "1 has no mediated devices of type x",
        ),
        (
            unplaced("a", spec=spec(flavour="vfio", vfio={"mediatedDevice": "x"})),
            candidate(
                "n",
                status(parent(able=(Flavour.VFIO,), mediated_types=(OfferedType(id="x", capacity=1),))),
                [member("b", spec=spec(flavour="vfio", vfio={"mediatedDevice": "x"}))],
            ),
            "1 is full",
        ),
    ],
)
def test_each_obstacle_is_named(wanted: CachedSubFunction, node: Candidate, why: str) -> None:
    assert place(wanted, [node], "spread") == Unschedulable(f"0/1 nodes fit: {why}.")


def test_of_the_parents_of_a_numa_node_only_those_count() -> None:
    near = ParentSpec(selector=ParentSelector(numa_node=1))
    taken = [member(f"m{number}", parent=OTHER) for number in range(4)]
    nodes = [candidate("full", status(parent(), parent(OTHER)), taken), candidate("free", status(parent(OTHER)))]
    assert place(unplaced("a", near), nodes, "packed") == "free"


def test_a_parent_that_does_not_tell_its_room_takes_as_many_as_come() -> None:
    nodes = [candidate("n", status(parent(capacity=None)), [member(f"m{number}") for number in range(500)])]
    assert place(unplaced("a"), nodes, "spread") == "n"


def test_one_that_takes_any_parent_counts_where_there_is_room_for_it() -> None:
    known = status(parent(PARENT, capacity=1), parent(OTHER, capacity=1))
    there = [member("any", parent=None, asks=ANY_MLX5), member("one")]
    nodes = [candidate("n", known, there)]
    assert place(unplaced("a", ParentSpec(device=OTHER)), nodes, "spread") == Unschedulable("0/1 nodes fit: 1 is full.")
