"""What a deleted Node leaves: finalizers that nobody takes off, and sub-functions of pools."""

import asyncio

from fleet.fleet import Fleet
from rig.cluster import held, is_ready


async def test_what_was_deleted_on_a_node_that_is_gone_is_let_go(fleet: Fleet) -> None:
    await fleet.add_node("n1")
    fleet.start_agents()
    fleet.start_controller()
    await fleet.apply("blue", nodeName="n1")
    await fleet.apply("kept", nodeName="n1")
    for name in ("blue", "kept"):
        await fleet.until_object(lambda seen: held(seen) and is_ready(seen), name)
    fleet.faithful = set()
    await fleet.remove_node("n1")
    await fleet.delete("blue")
    await fleet.until_gone("blue")
    await asyncio.sleep(0.5)
    kept = await fleet.get("kept")
    assert kept is not None, "what nobody deleted is its maker's"
    assert held(kept)


async def test_a_node_that_is_not_ready_or_comes_back_in_time_is_not_gone(fleet: Fleet) -> None:
    for name in ("silent", "back"):
        await fleet.add_node(name)
    fleet.start_agents()
    fleet.start_controller(gone_grace=1.0)
    for name in ("silent", "back"):
        await fleet.apply(name, nodeName=name)
        await fleet.until_object(held, name)
    fleet.faithful = set()
    not_ready = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]
    await fleet.change_node("silent", {"status": {"conditions": not_ready}}, "/status")
    for name in ("silent", "back"):
        await fleet.delete(name)
    await fleet.remove_node("back")
    await fleet.until(lambda: bool(fleet.server.asked("get", "nodes")), "a look at the node")
    await fleet.add_node("back")
    await asyncio.sleep(1.5)
    for name in ("silent", "back"):
        found = await fleet.get(name)
        assert found is not None
        assert held(found)


async def test_a_server_that_cannot_say_whether_a_node_is_there_says_nothing(fleet: Fleet) -> None:
    await fleet.add_node("n1")
    fleet.start_agents()
    await fleet.apply("blue", nodeName="n1")
    await fleet.until_object(held, "blue")
    fleet.faithful = set()
    await fleet.delete("blue")
    await fleet.remove_node("n1")
    traffic = fleet.server.api.traffic
    fleet.server.call(lambda: traffic.answer_next(10_000, 403, verb="get", resource="nodes"))
    fleet.start_controller(gone_grace=0.0)
    await fleet.until(lambda: bool(fleet.server.asked("get", "nodes")), "a look at the node")
    await asyncio.sleep(0.5)
    assert await fleet.get("blue") is not None


async def test_a_pools_sub_functions_go_with_their_node_also_those_to_be_retained(fleet: Fleet) -> None:
    for name in ("n1", "n2"):
        await fleet.add_node(name)
    fleet.start_agents()
    fleet.start_controller()
    await fleet.apply_pool(replicas=1, template={"spec": {"flavour": "mlx5", "deletionPolicy": "Retain"}})
    await fleet.until_settled()
    fleet.in_use |= {name for name in await fleet.all() if "-n2-" in name}
    await fleet.until_pool(lambda found: found.status.in_use == 2)
    fleet.faithful = {"n1"}
    await fleet.remove_node("n2")
    await fleet.until_all(lambda there: len(there) == 2)
    assert {each.spec.node_name for each in (await fleet.all()).values()} == {"n1"}
    assert (await fleet.until_settled()).status.nodes == 1
