"""A controller that is killed at any of its writes, or that is not alone, makes nothing twice and loses nothing."""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable

import pytest

from fleet.fleet import Fleet, settled
from fleet.model import PARENT, parent
from rig.cluster import COLLECTION
from subfunction.api.node import NodeStatus
from subfunction.api.pool import SubFunctionPool
from subfunction.api.subfunction import SubFunction
from subfunction_simulator.apiserver.traffic import Asked

ROOM = NodeStatus(parents=(parent(PARENT, capacity=5),))
SLOTS = [f"fast-n1-0000-03-00.0-{slot}" for slot in range(3)]


def is_write(asked: Asked) -> bool:
    return asked.verb not in {"get", "list", "watch"} and "." not in asked.resource


def placed(names: set[str], mtu: int | None, there: dict[str, SubFunction]) -> bool:
    nodes = {name: found.spec.node_name for name, found in there.items()}
    ours = [found for name, found in there.items() if name.startswith("fast")]
    return nodes == dict.fromkeys(names, "n1") and all(found.spec.mtu == mtu for found in ours)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_each_write_the_next_one_ends_where_an_undisturbed_one_does(
    fleet: Fleet, *, after: bool
) -> None:
    """There are no agents: each write that is counted is the controller's."""
    await fleet.add_node("n1", status=ROOM)
    loop, kills, passing = asyncio.get_running_loop(), 0, 0
    while True:
        first, second = {*SLOTS, "blue"}, {*SLOTS[:2], "blue"}
        await fleet.apply_pool(replicas=3)
        await fleet.apply("blue", nodeName=None)
        struck = await killed_at(fleet, passing, loop, functools.partial(placed, first, None), after=after)
        fleet.start_work()
        await fleet.until_all(functools.partial(placed, first, None))
        await fleet.until_quiet(0.3)
        await fleet.stop_all()
        await fleet.change_pool(replicas=2, template={"spec": {"mtu": 9000}})
        struck = await killed_at(fleet, passing, loop, functools.partial(placed, second, 9000), after=after) or struck
        fleet.start_work()
        await fleet.until_all(functools.partial(placed, second, 9000))
        found = await fleet.until_pool(lambda found: found.status.observed_generation == 2)
        assert (found.status.desired, found.status.current, found.status.updated) == (2, 2, 2)
        await fleet.until_quiet(0.3)
        assert placed(second, 9000, await fleet.all())
        await fleet.stop_all()
        await emptied(fleet)
        if not struck:
            break
        kills, passing = kills + 1, passing + 1
    assert kills >= 7, "three made, one placed, and what is told of them"


async def killed_at(
    fleet: Fleet,
    passing: int,
    loop: asyncio.AbstractEventLoop,
    done: Callable[[dict[str, SubFunction]], bool],
    *,
    after: bool,
) -> bool:
    """Run a controller until it is killed at a write, or is done and has none to make any more."""
    task, struck = fleet.start_work(), asyncio.Event()
    traffic = fleet.server.api.traffic

    def kill() -> None:
        loop.call_soon_threadsafe(task.cancel)
        loop.call_soon_threadsafe(struck.set)

    fleet.server.call(lambda: traffic.sever(is_write, passing, after=after, struck=kill))

    async def undisturbed() -> None:
        await fleet.until_all(done)
        # It tells of a pool once a second at most.
        await fleet.until_quiet(1.5)

    quiet = asyncio.create_task(undisturbed())
    hit = asyncio.create_task(struck.wait())
    await asyncio.wait({quiet, hit}, return_when=asyncio.FIRST_COMPLETED)
    if not struck.is_set():
        quiet.result()
    fleet.server.call(traffic.heal)
    quiet.cancel()
    hit.cancel()
    await asyncio.wait({quiet, hit})
    await fleet.stop_all()
    return struck.is_set()


async def emptied(fleet: Fleet) -> None:
    await fleet.request("DELETE", "/apis/subfunction.dev/v1alpha1/subfunctionpools")
    await fleet.request("DELETE", COLLECTION)
    assert await fleet.all() == {}


def scaled(replicas: int, found: SubFunctionPool) -> bool:
    return settled(found) and found.status.desired == 2 * replicas


async def test_two_at_once_make_no_double_and_take_none_too_many(fleet: Fleet) -> None:
    for name in ("n1", "n2"):
        # Room for whatever they choose: each counts what it has seen of the other's choices, hence the Lease.
        await fleet.add_node(name, status=NodeStatus(parents=(parent(PARENT, capacity=7),)))
    fleet.start_agents()
    fleet.start_work(identity="one")
    fleet.start_work(identity="two")
    await fleet.apply_pool(replicas=3)
    for number in range(4):
        await fleet.apply(f"sf-{number}", nodeName=None)
    both = await fleet.until_all(lambda there: len(there) == 10 and all(each.spec.node_name for each in there.values()))
    nodes = Counter(each.spec.node_name for name, each in both.items() if name.startswith("fast"))
    assert nodes == {"n1": 3, "n2": 3}
    await fleet.until_settled()
    for replicas in (1, 2, 0, 3):
        await fleet.scale(replicas)
        await fleet.until_pool(functools.partial(scaled, replicas))
    await fleet.change_pool(
        template={"spec": {"resourceName": "example.com/new"}}, updateStrategy={"maxUnavailable": "50%"}
    )
    await fleet.until_pool(lambda found: settled(found) and found.status.ready == 6)
    await fleet.until_quiet()
    assert len(await fleet.all()) == 10
