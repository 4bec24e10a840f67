"""A SubFunction without a node, before an API server: placed once, or told why it fits nowhere."""

from fleet.fleet import Fleet
from fleet.model import PARENT, parent
from rig.cluster import COLLECTION, is_ready, says
from subfunction.api.conditions import ConditionType
from subfunction.api.node import NodeStatus
from subfunction.api.reasons import Reason

NOWHERE = ("False", "NoNodeFits")


async def test_it_is_placed_where_it_fits_by_one_write_and_its_agent_takes_over(fleet: Fleet) -> None:
    await fleet.add_node("n1", labels={})
    await fleet.add_node("n2")
    fleet.start_agents()
    fleet.start_controller()
    await fleet.apply("blue", nodeName=None, nodeSelector={"nic": "yes"})
    placed = await fleet.until_object(is_ready, "blue")
    assert placed.spec.node_name == "n2"
    assert says(placed, ConditionType.PLACED) == ("True", "Placed")
    assert ("Normal", "Placed", "on node n2") in await fleet.until_events("blue")
    patches = [asked for asked in fleet.server.asked("patch") if asked.name == "blue" and not asked.subresource]
    assert len(patches) == 2, "the node, and the agent's finalizer"


async def test_what_fits_nowhere_says_why_and_is_placed_once_it_fits(fleet: Fleet) -> None:
    legacy = NodeStatus(parents=(parent(PARENT, able=(), why=Reason.NOT_SWITCHDEV),))
    for name in ("n1", "n2"):
        await fleet.add_node(name, status=legacy)
    await fleet.add_node("full", status=NodeStatus(parents=(parent(PARENT, capacity=0),)))
    fleet.start_agents()
    fleet.start_controller()
    await fleet.apply("blue", nodeName=None)
    waiting = await fleet.until_object(lambda seen: says(seen, ConditionType.PLACED) == NOWHERE, "blue")
    condition = waiting.status.condition(ConditionType.PLACED)
    assert condition is not None
    assert condition.message == "0/3 nodes fit: 2 have no parent that can make mlx5 (NotSwitchdev), 1 is full."
    assert says(waiting, ConditionType.READY) == NOWHERE
    assert (waiting.status.phase, waiting.status.observed_generation) == ("Pending", 1)
    assert (await fleet.until_events("blue"))[0][:2] == ("Warning", "NoNodeFits")
    await fleet.until_quiet()
    writer = fleet.server.writes()
    assert writer["patch", "status"] == 1, "what says nothing new is not written"
    await fleet.tell("full", NodeStatus(parents=(parent(PARENT, capacity=1),)))
    placed = await fleet.until_object(is_ready, "blue")
    assert placed.spec.node_name == "full"


async def test_however_fast_they_come_no_more_are_placed_than_fit(fleet: Fleet) -> None:
    for name in ("n1", "n2"):
        await fleet.add_node(name, status=NodeStatus(parents=(parent(PARENT, capacity=3),)))
    fleet.start_controller()
    for number in range(10):
        await fleet.apply(f"sf-{number}", nodeName=None)
    there = await fleet.until_all(
        lambda found: sum(says(each, ConditionType.PLACED) == NOWHERE for each in found.values()) == 4
    )
    nodes = [each.spec.node_name for each in there.values()]
    assert (nodes.count("n1"), nodes.count("n2"), nodes.count(None)) == (3, 3, 4)
    gone = next(name for name, found in there.items() if found.spec.node_name == "n1")
    await fleet.delete(gone)
    await fleet.until_all(lambda found: [each.spec.node_name for each in found.values()].count(None) == 3)


async def test_a_node_that_somebody_else_chose_meanwhile_stays(fleet: Fleet) -> None:
    await fleet.add_node("n1")
    await fleet.apply("blue", nodeName=None)
    traffic = fleet.server.api.traffic
    fleet.server.call(lambda: traffic.answer_next(1, 409, verb="patch", resource="subfunctions"))
    fleet.start_controller()
    await fleet.until(lambda: bool(fleet.server.asked("patch")), "the first try")
    found = await fleet.until_object(lambda seen: seen.spec.node_name is not None, "blue")
    assert found.spec.node_name == "n1"


async def test_one_that_the_server_refuses_to_place_says_so_and_holds_back_no_other(fleet: Fleet) -> None:
    await fleet.add_node("n1")
    for name in ("a", "b", "c"):
        await fleet.apply(name, nodeName=None)
    traffic = fleet.server.api.traffic
    fleet.server.call(lambda: traffic.answer_next(1, 403, verb="patch", resource="subfunctions"))
    fleet.start_controller()
    await fleet.until_all(lambda found: all(found[name].spec.node_name == "n1" for name in ("b", "c")))
    warned = [
        words for kind, reason, words in await fleet.until_events("a") if (kind, reason) == ("Warning", "ApiRefused")
    ]
    assert len(warned) == 1
    assert "403" in warned[0]
    placed = [asked.name for asked in fleet.server.asked("patch") if not asked.subresource]
    assert placed[:3] == ["a", "b", "c"]


async def test_a_pool_and_single_ones_share_what_there_is(fleet: Fleet) -> None:
    await fleet.add_node("n1", status=NodeStatus(parents=(parent(PARENT, capacity=3),)))
    fleet.start_agents()
    fleet.start_controller()
    await fleet.apply("blue", nodeName=None)
    await fleet.until_object(is_ready, "blue")
    await fleet.apply_pool(replicas=3)
    told = await fleet.until_pool(lambda found: found.status.ready == 2)
    assert told.status.trouble[0].reason == "Full"
    await fleet.delete("blue")
    await fleet.until_settled()
    assert len((await fleet.request("GET", COLLECTION))["items"]) == 3
