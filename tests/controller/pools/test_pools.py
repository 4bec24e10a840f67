"""What a pool wants: as many as asked for and as fit, the same whoever plans it, and what a pod holds goes last."""

import string
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import OTHER, PARENT, Paper, member, parent, pool, status
from subfunction.api.node import ForeignSubFunction
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Flavour
from subfunction_operator.controller.model.names import LONGEST, subfunction_name
from subfunction_operator.controller.pools.status import build_pool_status

NOW = "2026-11-22T10:00:00Z"
REPLICAS = st.integers(0, 6)
PER = st.sampled_from(["Parent", "Node"])
ROOMS = st.lists(st.tuples(st.none() | st.integers(0, 5), st.none() | st.integers(0, 5)), min_size=1, max_size=4)
USED = st.sets(st.integers(0, 40), max_size=12)

HOWS = st.tuples(st.sampled_from([1, 2, "30%", "100%"]), st.sampled_from([{"resourceName": "a.b/c"}, {"mtu": 9000}]))


def paper(*rooms: tuple[int | None, int | None]) -> Paper:
    """Give nodes of two parents each, with so much room."""
    statuses = {
        f"n{place}": status(parent(PARENT, capacity=one), parent(OTHER, capacity=other))
        for place, (one, other) in enumerate(rooms)
    }
    return Paper(dict(statuses), set(statuses))


def grown(scene: Paper, **spec: Any) -> Paper:
    wanted = pool(**spec)
    scene.execute(wanted, scene.plan(wanted))
    scene.settle()
    return scene


def use(scene: Paper, places: set[int]) -> list[str]:
    held = [name for place, name in enumerate(sorted(scene.members)) if place in places]
    for name in held:
        scene.change(name, in_use=True)
    return held


@given(ROOMS, REPLICAS, PER)
def test_as_many_are_made_as_asked_for_and_as_fit_and_then_no_more(
    rooms: list[tuple[int | None, int | None]], replicas: int, per: str
) -> None:
    scene, wanted = paper(*rooms), pool(replicas=replicas, per=per)
    todo = scene.plan(wanted)
    assert todo == scene.plan(wanted), "two that plan the same see the same"
    scene.execute(wanted, todo)
    assert scene.plan(wanted).empty
    scene.settle()
    assert scene.plan(wanted).empty
    for place, (one, other) in enumerate(rooms):
        there = [each.parent for each in scene.members.values() if each.node == f"n{place}"]
        fits_one, fits_other = (99 if room is None else room for room in (one, other))
        if per == "Parent":
            assert there.count(PARENT) == min(replicas, fits_one)
            assert there.count(OTHER) == min(replicas, fits_other)
        else:
            assert len(there) == min(replicas, fits_one + fits_other)
            assert there.count(PARENT) <= fits_one
            assert there.count(OTHER) <= fits_other


@given(ROOMS, REPLICAS, REPLICAS, PER, USED)
def test_scaling_takes_none_in_use_while_a_free_one_is_left(
    rooms: list[tuple[int | None, int | None]], before: int, after: int, per: str, used: set[int]
) -> None:
    scene = grown(paper(*rooms), replicas=before, per=per)
    use(scene, used)
    wanted = pool(replicas=after, per=per, generation=2)
    todo = scene.plan(wanted)
    scene.execute(wanted, todo)
    assert scene.plan(wanted).empty
    groups: dict[tuple[str | None, str | None], list[tuple[bool, bool]]] = {}
    for each in scene.members.values():
        group = each.node, each.parent if per == "Parent" else None
        groups.setdefault(group, []).append((each.in_use, each.deleting))
    for there in groups.values():
        if (True, True) in there:
            assert (False, False) not in there, there
        assert sum(not deleting for _, deleting in there) <= after


@given(ROOMS, st.integers(1, 4), PER, USED, HOWS)
def test_a_roll_ends_with_all_as_the_template_says_and_never_misses_more_than_allowed(
    rooms: list[tuple[int | None, int | None]],
    replicas: int,
    per: str,
    used: set[int],
    how: tuple[int | str, dict[str, object]],
) -> None:
    most, changed = how
    scene = grown(paper(*rooms), replicas=replicas, per=per)
    held = use(scene, used)
    wanted = pool(
        replicas=replicas,
        per=per,
        generation=2,
        template={"spec": {"flavour": "mlx5", **changed}},
        updateStrategy={"maxUnavailable": most},
    )
    desired, there = sum(each.desired for each in scene.plans(wanted)), len(scene.members)
    allowed = wanted.spec.update_strategy.most_unavailable(desired)
    for _ in range(4 * there + 4):
        todo = scene.plan(wanted)
        scene.execute(wanted, todo)
        assert scene.plan(wanted).empty
        away = [each for each in scene.members.values() if not each.in_use and (each.deleting or not each.ready)]
        missing = there - len(scene.members)
        assert len(away) + missing <= allowed
        scene.settle()
    assert all(name in scene.members for name in held), "a device in use waits for its pod"
    for name in held:
        scene.change(name, in_use=False)
    for _ in range(2 * there + 2):
        scene.settle()
        scene.execute(wanted, scene.plan(wanted))
    scene.settle()
    assert len(scene.members) == there
    assert {each.spec for each in scene.members.values()} <= {wanted.spec.template.spec}
    assert not any(each.deleting for each in scene.members.values())


def test_a_node_that_is_down_is_rolled_last_and_holds_nobody_up() -> None:
    scene = grown(paper((4, 4), (4, 4)), replicas=1)
    scene.down.add("n0")
    wanted = pool(replicas=1, generation=2, template={"spec": {"flavour": "mlx5", "mtu": 9000}})
    order: list[str | None] = []
    while not (todo := scene.plan(wanted)).empty:
        order += [change.member.node for change in todo.changes]
        scene.execute(wanted, todo)
        scene.settle()
    assert order == ["n1", "n1", "n0", "n0"]


def test_a_roll_that_waits_for_a_node_that_is_down_names_it() -> None:
    scene = grown(paper((4, 4), (4, 4)), replicas=1)
    scene.down.add("n0")
    wanted = pool(replicas=1, generation=2, template={"spec": {"flavour": "mlx5", "mtu": 9000}})
    while not (todo := scene.plan(wanted)).empty:
        scene.execute(wanted, todo)
        for found in scene.of(wanted):
            scene.change(found.name, ready=found.ready or found.node != "n0")
    [said] = build_pool_status(wanted, scene.plans(wanted), None, NOW).conditions
    assert (said.reason, said.message) == (
        "Rolling",
        "3 of 4 ready; 3 of 4 are as the template says; waiting for n0 (its Node is not ready)",
    )
    more = pool(replicas=1, generation=3, template={"spec": {"flavour": "mlx5", "mtu": 9001}})
    assert {change.member.node for change in scene.plan(more).changes} == {"n0"}, (
        "one that is missed may change at once"
    )
    raised = msgspec.structs.replace(more, spec=pool(updateStrategy={"maxUnavailable": 2}).spec)
    raised = msgspec.structs.replace(raised, spec=msgspec.structs.replace(raised.spec, template=more.spec.template))
    assert {change.member.node for change in scene.plan(raised).changes} == {"n0", "n1"}


def test_names_tell_pool_node_parent_and_slot() -> None:
    scene = grown(paper((4, 4)), replicas=2)
    assert sorted(scene.members) == [
        *("fast-n0-0000-03-00.0-0", "fast-n0-0000-03-00.0-1"),
        *("fast-n0-0000-82-00.0-0", "fast-n0-0000-82-00.0-1"),
    ]
    assert sorted(grown(paper((4, 4)), replicas=2, per="Node").members) == ["fast-n0-0", "fast-n0-1"]


@given(
    st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=63),
    st.from_regex(r"[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?){0,3}", fullmatch=True),
    st.none() | st.sampled_from([PARENT, "pci/10000:e1:1f.7", "auxiliary/mlx5_core.eth.4", "X/" + "y_" * 60]),
    st.integers(0, 4096),
)
def test_a_name_is_valid_however_long_its_parts_are(pool_name: str, node: str, device: str | None, slot: int) -> None:
    name = subfunction_name(pool_name, node[:253].rstrip("-."), device, slot)
    assert len(name) <= LONGEST
    assert msgspec.json.decode(f'"{name}"') == name
    labels = name.split(".")
    assert all(label and label[0] != "-" and label[-1] != "-" for label in labels), name
    assert set(name) <= set(string.ascii_lowercase + string.digits + "-.")
    assert name.endswith(f"-{slot}")


def test_long_names_of_two_nodes_that_begin_alike_differ() -> None:
    stem = ".".join(["a" * 60] * 4)
    one, other = (subfunction_name("fast", f"{stem}.{end}", PARENT, 3) for end in ("one", "two"))
    assert one != other
    assert {len(one), len(other)} <= set(range(200, LONGEST + 1))
    assert subfunction_name("a", "n", "auxiliary/x_y", 0) != subfunction_name("a", "n", "auxiliary/x-y", 0)


def test_a_name_that_a_stranger_has_is_passed_over() -> None:
    scene = paper((4, 4))
    scene.members["fast-n0-0"] = member("fast-n0-0", node="n0")
    grown(scene, replicas=2, per="Node")
    assert sorted(scene.members) == ["fast-n0-0", "fast-n0-1", "fast-n0-2"]


def test_those_of_others_and_foreign_ones_count_as_taken() -> None:
    foreign = ForeignSubFunction(port=1), ForeignSubFunction(port=2, controller=1)
    scene = Paper({"n0": status(parent(capacity=4, foreign_sub_functions=foreign))}, {"n0"})
    scene.members["blue"] = member("blue", node="n0")
    wanted = pool(replicas=4)
    plans = scene.plans(wanted)
    assert len(plans[0].creations) == 2
    assert plans[0].trouble is not None
    assert plans[0].trouble.reason == Reason.FULL
    assert "2 of 4 do not fit on pci/0000:03:00.0" in plans[0].trouble.message


def test_a_parent_that_is_not_asked_for_any_more_loses_its_own_and_one_that_is_not_shown_keeps_them() -> None:
    scene = grown(paper((4, 4)), replicas=2)
    narrower = pool(replicas=2, parents=[{"device": PARENT}], generation=2)
    assert {each.parent for each in scene.plan(narrower).deletions} == {OTHER}
    scene.statuses["n0"] = status(parent(PARENT))
    assert scene.plan(pool(replicas=2)).empty
    scene.statuses["n0"] = None
    assert scene.plan(pool(replicas=2)).empty
    assert {each.slot for each in scene.plan(pool(replicas=1)).deletions} == {1}


def test_a_netdev_that_is_away_for_the_moment_takes_nothing_away() -> None:
    wanted = pool(replicas=1, parents=[{"netdev": "ens1f0np0"}])
    scene = paper((4, 4))
    scene.execute(wanted, scene.plan(wanted))
    scene.settle()
    assert {each.parent for each in scene.members.values()} == {PARENT}
    scene.statuses["n0"] = status(parent(PARENT, netdev=None), parent(OTHER))
    assert scene.plan(wanted).empty
    scene.statuses["n0"] = status(parent(PARENT, netdev="renamed"), parent(OTHER))
    assert len(scene.plan(wanted).deletions) == 1


def test_a_node_that_is_not_selected_any_more_loses_all() -> None:
    scene = grown(paper((4, 4), (4, 4)), replicas=1)
    scene.selected.discard("n1")
    todo = scene.plan(pool(replicas=1))
    assert {each.node for each in todo.deletions} == {"n1"}
    assert not todo.creations


@pytest.mark.parametrize(
    ("parents", "why", "reason"),
    [
        ([], Reason.NOT_SWITCHDEV, None),
        ([{"selector": {"driver": "mlx5_core"}}], Reason.NOT_SWITCHDEV, Reason.NOT_SWITCHDEV),
        ([{"selector": {"driver": "mlx5_core"}}], Reason.UNSUPPORTED, None),
        ([{"device": PARENT}], Reason.UNSUPPORTED, Reason.UNSUPPORTED),
    ],
)
def test_a_parent_that_cannot_is_in_trouble_where_it_was_asked_for(
    parents: list[object], why: Reason, reason: Reason | None
) -> None:
    scene = Paper({"n0": status(parent(able=(), why=why))}, {"n0"})
    plans = scene.plans(pool(replicas=2, parents=parents))
    assert plans[0].desired == (0 if reason is None else 2)
    assert (plans[0].trouble.reason if plans[0].trouble else None) == reason
    assert not plans[0].creations


def test_each_slot_of_virtual_functions_has_the_next_one_that_is_there_and_free() -> None:
    able = (Flavour.MLX5, Flavour.VFIO)
    scene = Paper({"n0": status(parent(able=able, functions=5))}, {"n0"})
    scene.members["blue"] = member(
        "blue",
        node="n0",
        spec=pool(template={"spec": {"flavour": "vfio", "vfio": {"virtualFunction": 2}}}).spec.template.spec,
    )
    wanted = pool(replicas=4, template={"spec": {"flavour": "vfio", "vfio": {"virtualFunction": 1}}})
    todo = scene.plan(wanted)
    assert [(made.name[-1], made.spec.vfio.virtual_function) for made in todo.creations] == [
        ("0", 1),
        ("2", 3),
        ("3", 4),
    ]
    scene.execute(wanted, todo)
    assert scene.plan(wanted).empty


def test_what_no_device_notices_is_changed_at_once_also_in_use_and_on_delete_nothing_is() -> None:
    scene = grown(paper((4, 4)), replicas=3)
    held = use(scene, {0, 1})
    quiet = {"spec": {"flavour": "mlx5", "deletionPolicy": "Force"}, "metadata": {"labels": {"team": "blue"}}}
    todo = scene.plan(pool(replicas=3, template=quiet))
    assert len(todo.changes) == 6
    assert {change.member.name for change in todo.changes} >= set(held)
    assert not any(change.replace for change in todo.changes)
    later = pool(replicas=3, template=quiet, updateStrategy={"type": "OnDelete"})
    assert scene.plan(later).empty
    assert build_pool_status(later, scene.plans(later), None, NOW).updated == 0


def test_the_status_adds_up_and_is_the_same_when_nothing_is_new() -> None:
    wanted = pool(replicas=3)
    scene = grown(paper((4, 2), (4, 4)), replicas=3)
    use(scene, {0})
    found = build_pool_status(wanted, scene.plans(wanted), None, NOW)
    assert (found.nodes, found.desired, found.current, found.ready, found.updated, found.in_use) == (
        2,
        12,
        11,
        11,
        11,
        1,
    )
    assert found.replicas == 2, "the group that is furthest from what is asked"
    assert [(each.node, each.reason) for each in found.trouble] == [("n0", "Full")]
    assert [(each.status, each.reason) for each in found.conditions] == [("False", "Full")]
    again = msgspec.structs.replace(wanted, status=found)
    assert build_pool_status(again, scene.plans(wanted), None, "2026-11-22T11:00:00Z") == found


def test_the_troubles_of_many_nodes_are_cut_and_counted() -> None:
    scene = paper(*[(0, 0)] * 40)
    wanted = pool(replicas=1)
    found = build_pool_status(wanted, scene.plans(wanted), None, NOW)
    assert (len(found.trouble), found.more_trouble) == (32, 8)
    assert "and 37 more" in found.conditions[0].message
