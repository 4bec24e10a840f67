"""A pool's life before an API server: made, scaled, rolled, moved with its nodes, and said how it is."""

from fleet.fleet import Fleet, settled
from fleet.model import OTHER, PARENT, parent
from rig.cluster import COLLECTION, is_ready
from subfunction.api.conditions import ConditionType
from subfunction.api.node import NodeStatus
from subfunction.api.subfunction import SubFunction


async def test_a_pool_has_its_sub_functions_on_every_parent_of_every_node_that_it_selects(fleet: Fleet) -> None:
    for name in ("n1", "n2"):
        await fleet.add_node(name)
    await fleet.add_node("other", labels={})
    fleet.start_agents()
    fleet.start_controller()
    made = await fleet.apply_pool(
        replicas=2,
        nodeSelector={"nic": "yes"},
        template={
            "metadata": {"labels": {"team": "blue"}, "annotations": {"example.com/a": "b"}},
            "spec": {"flavour": "mlx5", "mtu": 9000, "resourceName": "example.com/fast"},
        },
    )
    found = await fleet.until_settled()
    assert (found.status.nodes, found.status.desired, found.status.replicas) == (2, 8, 2)
    assert found.status.selector == "subfunction.dev/pool=fast"
    assert [(each.status, each.reason) for each in found.status.conditions] == [("True", "Ready")]
    there = await fleet.all()
    assert len(there) == 8
    one = await fleet.request("GET", f"{COLLECTION}/fast-n2-0000-82-00.0-1")
    assert one["metadata"]["labels"] == {"team": "blue", "subfunction.dev/pool": "fast"}
    keys = '{"labels":["team"],"annotations":["example.com/a"]}'
    assert one["metadata"]["annotations"] == {"example.com/a": "b", "subfunction.dev/from-template": keys}
    owner = one["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("SubFunctionPool", made.uid, True)
    spec = {"flavour": "mlx5", "mtu": 9000, "resourceName": "example.com/fast", "nodeName": "n2"}
    assert one["spec"] == {**spec, "parent": {"device": OTHER}}
    selected = await fleet.request("GET", f"{COLLECTION}?labelSelector=subfunction.dev/pool=fast")
    assert len(selected["items"]) == 8


async def test_what_is_settled_costs_no_write_and_neither_does_a_new_controller(fleet: Fleet) -> None:
    await fleet.add_node()
    fleet.start_agents()
    first = fleet.start_controller(resync=0.1)
    await fleet.apply_pool(replicas=2)
    await fleet.until_settled()
    await fleet.until_quiet()
    before = fleet.server.writes(), fleet.server.writes("subfunctionpools")
    assert before[0]["create", ""] == 4
    first.cancel()
    fleet.start_controller(identity="two", resync=0.1)
    watches = len(fleet.server.asked("watch"))
    await fleet.until(lambda: len(fleet.server.asked("watch")) > watches, "the second to watch")
    await fleet.until_quiet()
    assert (fleet.server.writes(), fleet.server.writes("subfunctionpools")) == before


async def test_scaling_down_takes_those_not_in_use_first_and_up_makes_the_lowest_slots(fleet: Fleet) -> None:
    await fleet.add_node(status=NodeStatus(parents=(parent(PARENT),)))
    fleet.start_agents()
    fleet.start_controller()
    await fleet.apply_pool(replicas=4)
    await fleet.until_settled()
    fleet.in_use |= {"fast-n1-0000-03-00.0-3"}
    await fleet.until_pool(lambda found: found.status.in_use == 1)
    await fleet.scale(1)
    await fleet.until_all(lambda there: set(there) == fleet.in_use)
    assert (await fleet.until_settled()).status.replicas == 1
    await fleet.scale(3)
    await fleet.until_all(lambda there: set(there) == {f"fast-n1-0000-03-00.0-{slot}" for slot in (0, 1, 3)})
    await fleet.until_settled()
    await fleet.scale(0)
    drained = await fleet.until_pool(lambda found: found.status.current == 0)
    assert drained.status.in_use == 1, "what a pod holds is on its way out, and there until that pod ends"
    fleet.in_use.clear()
    await fleet.until_all(lambda there: not there)


async def test_a_template_that_changes_in_place_is_followed_by_the_same_objects(fleet: Fleet) -> None:
    await fleet.add_node()
    fleet.start_agents()
    fleet.start_controller()
    await fleet.apply_pool(
        replicas=2, template={"spec": {"flavour": "mlx5", "mtu": 1500, "rate": {"maxBitsPerSecond": 1_000_000}}}
    )
    await fleet.until_settled()
    before = {name: found.uid for name, found in (await fleet.all()).items()}
    template = {
        "metadata": {"labels": {"team": "blue"}},
        "spec": {
            "mtu": None,
            "rate": {"maxBitsPerSecond": None, "shareBitsPerSecond": 2_000_000},
            "mlx5": {"rdma": False},
        },
    }
    await fleet.change_pool(template=template)
    await fleet.until_settled()
    after = await fleet.all()
    assert {name: found.uid for name, found in after.items()} == before
    assert {
        (each.spec.mtu, each.spec.rate.share_bits_per_second, each.spec.rate.max_bits_per_second, each.spec.mlx5.rdma)
        for each in after.values()
    } == {(None, 2_000_000, None, False)}
    one = await fleet.request("GET", f"{COLLECTION}/{next(iter(after))}")
    assert one["metadata"]["labels"] == {"team": "blue", "subfunction.dev/pool": "fast"}


async def test_what_is_taken_out_of_the_templates_labels_goes_and_what_others_put_on_stays(fleet: Fleet) -> None:
    await fleet.add_node(status=NodeStatus(parents=(parent(PARENT),)))
    fleet.start_agents()
    fleet.start_controller()
    given = {"labels": {"team": "blue", "tier": "a"}, "annotations": {"example.com/a": "b"}}
    await fleet.apply_pool(template={"metadata": given, "spec": {"flavour": "mlx5"}})
    await fleet.until_settled()
    path = f"{COLLECTION}/fast-n1-0000-03-00.0-0"
    theirs = {"labels": {"theirs": "1"}, "annotations": {"example.com/theirs": "1"}}
    await fleet.request("PATCH", path, {"metadata": theirs}, "application/merge-patch+json")
    left = {"labels": {"team": None}, "annotations": {"example.com/a": None}}
    await fleet.change_pool(template={"metadata": left})
    await fleet.until_settled()
    metadata = (await fleet.request("GET", path))["metadata"]
    assert metadata["labels"] == {"tier": "a", "theirs": "1", "subfunction.dev/pool": "fast"}
    note = '{"labels":["tier"]}'
    assert metadata["annotations"] == {"example.com/theirs": "1", "subfunction.dev/from-template": note}
    await fleet.change_pool(template={"metadata": None})
    await fleet.until_settled()
    metadata = (await fleet.request("GET", path))["metadata"]
    assert metadata["labels"] == {"theirs": "1", "subfunction.dev/pool": "fast"}
    assert metadata["annotations"] == {"example.com/theirs": "1"}


async def test_what_cannot_change_is_replaced_within_max_unavailable_and_one_in_use_waits_for_its_pod(
    fleet: Fleet,
) -> None:
    await fleet.add_node()
    fleet.start_agents()
    fleet.start_controller()
    await fleet.apply_pool(replicas=3)
    await fleet.until_settled()
    before = {name: found.uid for name, found in (await fleet.all()).items()}
    held = "fast-n1-0000-03-00.0-1"
    fleet.in_use.add(held)
    await fleet.until_pool(lambda found: found.status.in_use == 1)
    least = 6

    def counted(there: dict[str, SubFunction]) -> bool:
        nonlocal least
        usable = [each for each in there.values() if is_ready(each) or each.name == held]
        least = min(least, len(usable))
        renewed = [each for each in there.values() if is_ready(each) and each.uid not in before.values()]
        return len(renewed) == 5

    await fleet.change_pool(
        template={"spec": {"resourceName": "example.com/new"}}, updateStrategy={"maxUnavailable": 2}
    )
    await fleet.until_all(counted)
    assert least >= 4
    waiting = await fleet.until_all(lambda there: there[held].deleting)
    assert waiting[held].uid == before[held]
    told = await fleet.until_pool(lambda found: found.status.updated == 5 and found.status.ready == 5)
    assert (told.status.desired, told.status.current, told.status.in_use) == (6, 5, 1)
    fleet.in_use.clear()
    await fleet.until_settled()
    after = await fleet.all()
    assert set(after) == set(before)
    assert not {found.uid for found in after.values()} & set(before.values())
    assert {found.spec.resource for found in after.values()} == {"example.com/new"}


async def test_a_roll_stops_at_what_comes_out_badly(fleet: Fleet) -> None:
    await fleet.add_node()
    fleet.start_agents()
    fleet.start_controller()
    await fleet.apply_pool(replicas=2)
    await fleet.until_settled()
    before = {name: found.uid for name, found in (await fleet.all()).items()}
    fleet.broken |= set(before)
    fleet.faithful = set()
    await fleet.change_pool(template={"spec": {"resourceName": "example.com/new"}})
    await fleet.until_all(lambda there: any(found.deleting for found in there.values()))
    fleet.faithful = None
    # All break at once, and those that nobody could use are replaced at once too; none of them hides it.
    stuck = await fleet.until_pool(lambda found: found.status.ready == 0 and found.status.updated == 4)
    assert [(each.node, each.reason) for each in stuck.status.trouble] == [("n1", "ProbeFailed")]
    assert "kubectl describe sf fast-n1-" in stuck.status.trouble[0].message
    condition = stuck.status.condition(ConditionType.READY)
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "ProbeFailed")


async def test_nodes_join_leave_are_relabelled_and_cordoned(fleet: Fleet) -> None:
    await fleet.add_node("n1")
    fleet.start_agents()
    fleet.start_controller()
    await fleet.apply_pool(replicas=1, per="Node", nodeSelector={"nic": "yes"})
    await fleet.until_settled()
    await fleet.add_node("n2")
    await fleet.change_node("n2", {"spec": {"unschedulable": True}})
    await fleet.until_pool(lambda found: settled(found) and found.status.nodes == 2)
    await fleet.change_node("n1", {"metadata": {"labels": {"nic": None}}})
    await fleet.until_pool(lambda found: settled(found) and found.status.nodes == 1)
    await fleet.until_all(lambda there: set(there) == {"fast-n2-0"})
    await fleet.change_node("n1", {"metadata": {"labels": {"nic": "yes"}}})
    await fleet.until_pool(lambda found: settled(found) and found.status.nodes == 2)
    fleet.faithful = {"n1"}
    await fleet.remove_node("n2")
    await fleet.until_pool(lambda found: settled(found) and found.status.nodes == 1)
    await fleet.until_all(lambda there: set(there) == {"fast-n1-0"})


async def test_a_node_that_says_nothing_any_more_keeps_what_it_has(fleet: Fleet) -> None:
    await fleet.add_node()
    fleet.start_agents()
    fleet.start_controller()
    await fleet.apply_pool(replicas=2, nodeSelector={"nic": "yes"})
    await fleet.until_settled()
    await fleet.tell("n1", NodeStatus())
    await fleet.request(
        "PATCH",
        "/apis/subfunction.dev/v1alpha1/subfunctionnodes/n1/status",
        [{"op": "remove", "path": "/status/parents"}],
        "application/json-patch+json",
    )
    await fleet.until_quiet()
    assert len(await fleet.all()) == 4
    await fleet.request("DELETE", "/apis/subfunction.dev/v1alpha1/subfunctionnodes/n1")
    troubled = await fleet.until_pool(lambda found: bool(found.status.trouble))
    assert troubled.status.trouble[0].reason == "NoAgent"
    assert len(await fleet.all()) == 4


async def test_what_somebody_deletes_or_changes_by_hand_is_mended(fleet: Fleet) -> None:
    await fleet.add_node()
    fleet.start_agents()
    fleet.start_controller()
    await fleet.apply_pool(replicas=1)
    await fleet.until_settled()
    name = "fast-n1-0000-03-00.0-0"
    before = (await fleet.all())[name]
    await fleet.change(name, mtu=9000)
    await fleet.until_object(lambda seen: seen.spec.mtu is None and seen.metadata.generation == 3, name)
    await fleet.delete(name)
    await fleet.until_all(lambda there: name in there and there[name].uid != before.uid)
    await fleet.until_settled()


async def test_what_the_server_would_not_have_is_said_on_the_pool(fleet: Fleet) -> None:
    await fleet.add_node()
    fleet.server.call(lambda: fleet.server.api.traffic.answer_next(1, 403, verb="create", resource="subfunctions"))
    fleet.start_controller()
    await fleet.apply_pool(replicas=1)
    found = await fleet.until_pool(lambda found: bool(found.status.trouble))
    assert (found.status.trouble[0].node, found.status.trouble[0].reason) == ("n1", "ApiRefused")
    events = await fleet.until_events("fast")
    assert events[-1][:2] == ("Warning", "ApiRefused")
