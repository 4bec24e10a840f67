"""Watches: what is announced, to whom, and how they end."""

import json
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from components import under_test
from components.under_test import AnyApiServer
from rig.patience import Patience
from rig.waiting import eventually
from subfunction_simulator.apiserver.client import Answer, Client, Events

ALL = "/apis/subfunction.dev/v1alpha1/subfunctions"
Make = Callable[..., Awaitable[Answer]]


async def test_a_watch_tells_what_is_there_and_then_what_happens(api: Client, make: Make) -> None:
    await make("blue")
    async with api.watch(ALL) as events:
        assert await events.next() == ("ADDED", (await api("GET", f"{ALL}/blue")).body)
        await make("red")
        await api.merge(f"{ALL}/blue", {"spec": {"mtu": 9000}})
        await api("DELETE", f"{ALL}/red")
        assert await events.take(3) == [("ADDED", "red"), ("MODIFIED", "blue"), ("DELETED", "red")]


async def test_a_watch_from_a_revision_tells_only_what_came_after(api: Client, make: Make) -> None:
    made = await make("blue")
    await make("red")
    async with api.watch(ALL, resourceVersion=made.metadata["resourceVersion"]) as events:
        assert await events.take(1) == [("ADDED", "red")]


async def test_an_object_that_leaves_a_selection_is_deleted_and_one_that_enters_it_added(
    api: Client, make: Make
) -> None:
    async with api.watch(ALL, fieldSelector="status.phase=Ready") as events:
        await make("blue")
        await api.merge(f"{ALL}/blue/status", {"status": {"phase": "Ready"}})
        await api.merge(f"{ALL}/blue/status", {"status": {"phase": "Ready", "number": 7}})
        left = await api.merge(f"{ALL}/blue/status", {"status": {"phase": "Draining"}})
        assert await events.take(2) == [("ADDED", "blue"), ("MODIFIED", "blue")]
        kind, last = await events.next()
        assert (kind, last["status"]["phase"]) == ("DELETED", "Ready")
        assert last["metadata"]["resourceVersion"] == left.metadata["resourceVersion"]


async def test_a_node_hears_of_its_own_objects_only(api: Client, make: Make) -> None:
    async with api.watch(ALL, fieldSelector="spec.nodeName=n2") as events:
        await make("foreign", nodeName="n1")
        await make("own", nodeName="n2")
        assert await events.take(1) == [("ADDED", "own")]


async def test_what_a_node_is_sent_does_not_grow_with_the_cluster(api: Client, make: Make) -> None:
    nodes, each = 8, 5
    async with api.watch(ALL, fieldSelector="spec.nodeName=n1") as own, api.watch(ALL) as everything:
        for number in range(each):
            for node in range(1, nodes + 1):
                await make(f"sf-{node}-{number}", nodeName=f"n{node}")
        assert await own.take(each) == [("ADDED", f"sf-1-{number}") for number in range(each)]
        await everything.take(nodes * each)
        assert (await api("DELETE", f"{ALL}/sf-2-0")).code == 200
        assert (await api("DELETE", f"{ALL}/sf-1-0")).code == 200
        assert await own.take(1) == [("DELETED", "sf-1-0")]
        await everything.take(2)
    assert own.bytes < everything.bytes * (each + 1) / (nodes * each + 2) * 1.1
    listed = [await api("GET", ALL, fieldSelector="spec.nodeName=n1"), await api("GET", ALL)]
    sizes = [len(json.dumps(answer.body)) for answer in listed]
    assert sizes[0] < sizes[1] / nodes * 1.1


async def test_the_end_of_what_is_there_is_announced_on_request(api: Client, make: Make) -> None:
    await make("blue")
    query = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
    async with api.watch(ALL, **query) as events:
        assert await events.take(1) == [("ADDED", "blue")]
        kind, bookmark = await events.next()
        assert (kind, bookmark["metadata"]["annotations"]) == ("BOOKMARK", {"k8s.io/initial-events-end": "true"})


async def test_a_watch_ends_by_itself_at_its_time(api: Client) -> None:
    async with api.watch(ALL, timeoutSeconds="1") as events:
        with pytest.raises(EOFError):
            await events.next()
    refused = await api("GET", ALL, watch="true", timeoutSeconds="600.0")
    assert (refused.code, "ParseInt" in refused.message) == (400, True)


async def test_a_revision_that_is_forgotten_is_told_so(api: Client, api_server: AnyApiServer, make: Make) -> None:
    old = await make("blue")
    await make("red")
    await under_test.restart(api_server)
    async with api.watch(ALL, resourceVersion=old.metadata["resourceVersion"]) as events:
        kind, status = await events.next()
        assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
        with pytest.raises(EOFError):
            await events.next()


async def test_watches_can_be_cut_failed_and_stalled(api: Client, api_server: AnyApiServer, make: Make) -> None:
    async with api.watch(ALL) as events:
        api_server.traffic.drop_watches("nodes")
        await make("blue")
        assert await events.take(1) == [("ADDED", "blue")]
        api_server.traffic.drop_watches()
        with pytest.raises(aiohttp.ClientError):
            await events.next()
    async with api.watch(ALL) as events:
        assert await events.take(1) == [("ADDED", "blue")]
        api_server.traffic.fail_watches(410)
        kind, status = await events.next()
        assert (kind, status["code"]) == ("ERROR", 410)
    async with api.watch(ALL, allowWatchBookmarks="true") as events:
        assert await events.take(1) == [("ADDED", "blue")]
        api_server.traffic.stall_watches()
        await make("red")
        with pytest.raises(TimeoutError):
            await _after_bookmarks(events, 0.2)
        api_server.traffic.heal()
        assert await _after_bookmarks(events) == ("ADDED", "red")


async def _after_bookmarks(events: Events, seconds: float = 5) -> tuple[str, str]:
    while True:
        kind, obj = await events.next(seconds)
        if kind != "BOOKMARK":
            return kind, obj["metadata"]["name"]


async def test_a_watcher_that_does_not_read_holds_up_nobody(api: Client, make: Make) -> None:
    await make("blue")
    async with api.watch(ALL), api.watch(ALL, fieldSelector="metadata.name=red") as events:
        ballast = "x" * 200_000
        patience = Patience(30)
        for number in range(100):
            await api.merge(f"{ALL}/blue", {"metadata": {"annotations": {"ballast": f"{number}{ballast}"}}})
            assert not patience.spent(), f"{number} writes in {patience.told()}"
        await make("red")
        assert await events.take(1) == [("ADDED", "red")]


async def test_a_watch_whose_client_left_is_forgotten(api: Client, api_server: AnyApiServer) -> None:
    async with api.watch(ALL):
        assert len(api_server.traffic.streams) == 1
    await eventually(lambda: not api_server.traffic.streams, "the watch is forgotten", within=5)


async def test_a_watch_in_table_form_is_a_table_an_event(api_server: AnyApiServer, make: Make) -> None:
    await make("blue")
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    async with (
        aiohttp.ClientSession(headers=accept) as session,
        Client(session, api_server.url).watch(ALL) as events,
    ):
        kind, table = await events.next()
        assert (kind, table["kind"], table["rows"][0]["cells"][0]) == ("ADDED", "Table", "blue")
