"""What a node needs of kopf and of its HTTP client: bounded, renewed, endless, restarted, and no more than it needs."""

import functools
import itertools
from pathlib import Path

import pytest
from aiohttp import web

from components import under_test
from rig.cluster import NODE, Cluster, says
from subfunction.api.conditions import ConditionType
from subfunction.process.metrics import AgentMetrics
from subfunction_operator.agent.api.watch import Watch, WatchHandlers
from subfunction_operator.kube.backoff import RequestBackoff
from subfunction_operator.kube.credentials import CONNECTIONS, Credentials, FixedToken, TokenFile

OBJECTS = 120


async def test_many_objects_at_once_open_no_more_than_the_bounded_connections(node: Cluster) -> None:
    # A parent that is not there: all the writes of creation, and no work for the kernel.
    for number in range(OBJECTS):
        await node.apply(f"sf-{number}", parent={"device": "pci/0000:ff:00.0"})
    node.server.count_connections()
    node.start_agent(workers=OBJECTS)
    for number in range(OBJECTS):
        await node.until_object(
            lambda seen: says(seen, ConditionType.READY) == ("False", "ParentNotFound"), f"sf-{number}"
        )
    assert node.server.writes()["patch", "status"] == OBJECTS
    # kopf asks for every API group at once: those of a real server are many.
    discovery = CONNECTIONS if under_test.REAL else 2
    watch, this_test = 1, 1
    assert CONNECTIONS == 16
    assert 8 < node.server.most_connections <= CONNECTIONS + discovery + watch + this_test


async def test_a_rotated_token_is_carried_by_the_next_request(tmp_path: Path) -> None:
    carried: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        carried.append(request.headers.get("Authorization"))
        return web.json_response({})

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    file = tmp_path / "token"
    file.write_text("first\n")
    token = TokenFile(file)
    async with Credentials(url, token).session() as session:
        for text in ("first", "second"):
            file.write_text(f"{text}\n")
            token._read_at -= 60  # a minute later
            async with session.get(url) as response:
                assert response.status == 200
    await runner.cleanup()
    assert carried == ["Bearer first", "Bearer second"]


async def test_the_token_file_of_a_kubeconfig_is_what_the_agent_shows(root: Path) -> None:
    async with Cluster(root, token="s3cret") as node:
        (root / "token").write_text("s3cret\n")
        text = node.kubeconfig.read_text().replace("token: s3cret", f"tokenFile: {root}/token")
        node.kubeconfig.write_text(text)
        node.start_agent()
        await node.apply()
        await node.until_ready()


def test_the_pauses_between_tries_never_end_and_begin_anew_for_each_request() -> None:
    ceilings = RequestBackoff(chance=lambda: 1.0)
    first, second = (list(itertools.islice(ceilings, 1000)) for _ in range(2))
    assert len(first) == 1000
    assert first == second
    assert first[:7] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert max(first) == 30.0


async def test_kopf_is_told_of_the_endless_pauses_and_of_whole_seconds() -> None:
    settings = Watch(
        Credentials("http://unused", FixedToken()), NODE, WatchHandlers(print, print), metrics=AgentMetrics()
    )._settings()
    assert isinstance(settings.networking.error_backoffs, RequestBackoff)
    assert isinstance(settings.watching.server_timeout, int)


async def test_list_and_watch_ask_for_this_nodes_objects_alone_and_for_whole_seconds(node: Cluster) -> None:
    await node.apply()
    node.start_agent()
    await node.until_ready()
    await node.until(lambda: bool(node.server.asked("watch")), "a watch")
    asked = [*node.server.asked("list"), *node.server.asked("watch")]
    assert {each.query.get("fieldSelector") for each in asked} == {f"spec.nodeName={NODE}"}
    assert all(each.query["timeoutSeconds"].isdecimal() for each in node.server.asked("watch"))
    for verb in ("list", "watch"):
        assert not node.server.asked(verb, "customresourcedefinitions")


@pytest.mark.parametrize("fault", ["410 of the watch request", "ERROR event of 500", "ERROR event of 410", "cut"])
async def test_a_watch_that_ends_is_opened_again_and_the_agents_own_tasks_live_on(node: Cluster, fault: str) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    traffic = node.server.api.traffic
    watches = len(node.server.asked("watch"))

    def strike() -> None:
        if fault.startswith("410"):
            traffic.answer_next(1, 410, verb="watch", resource="subfunctions")
            traffic.drop_watches("subfunctions")
        elif fault == "cut":
            traffic.drop_watches("subfunctions")
        else:
            traffic.fail_watches(int(fault[-3:]), "subfunctions")

    node.server.call(strike)
    await node.apply("meanwhile")
    # The ledger is watched by the agent itself, whatever becomes of kopf.
    node.hand_out(node.records.read_all().items[ready.uid])
    await node.until_object(lambda seen: says(seen, ConditionType.IN_USE) == ("True", "InUse"), within=0.9)
    await node.until_ready("meanwhile")
    assert len(node.server.asked("watch")) > watches
    await node.delete("meanwhile")
    await node.until_gone("meanwhile")


async def test_an_api_server_that_refuses_for_a_while_loses_nothing(node: Cluster) -> None:
    node.start_agent()
    await node.apply("first")
    await node.until_ready("first")
    traffic = node.server.api.traffic
    for verb in ("patch", "list", "watch", "get"):
        node.server.call(functools.partial(traffic.answer_next, 3, 503, verb=verb, resource="subfunctions"))
    names = [f"sf-{number}" for number in range(6)]
    for name in names:
        await node.apply(name)
    for name in names:
        await node.until_ready(name, within=15)
