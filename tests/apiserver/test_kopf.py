"""kopf, as the agent uses it, against the embedded API server: its watch, its finalizer, its back-off."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import kopf

from components.under_test import AnyApiServer
from subfunction_simulator.apiserver.client import Answer, Client

ALL = "/apis/subfunction.dev/v1alpha1/subfunctions"
SELECTOR = ("subfunction.dev", "v1alpha1", "subfunctions")
Make = Callable[..., Awaitable[Answer]]


@asynccontextmanager
async def _operator(server: AnyApiServer) -> AsyncIterator[None]:
    """An operator of node n1 that writes `phase`; in a thread, for kopf ends all tasks of its loop."""
    registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
    settings.watching.field_selectors[SELECTOR] = "spec.nodeName=n1"
    settings.watching.server_timeout = 60
    settings.persistence.finalizer = "subfunction.dev/test"
    settings.networking.error_backoffs = [0.05] * 20
    settings.process.ultimate_exiting_timeout = None

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=server.url)

    @kopf.on.create(*SELECTOR, registry=registry)
    @kopf.on.resume(*SELECTOR, registry=registry)
    async def ready(patch: kopf.Patch, **_: Any) -> None:
        patch.status["phase"] = "Ready"

    @kopf.on.delete(*SELECTOR, registry=registry)
    async def gone(**_: Any) -> None:
        pass

    stop = threading.Event()
    operator = kopf.operator(registry=registry, settings=settings, clusterwide=True, standalone=True, stop_flag=stop)
    running = asyncio.create_task(asyncio.to_thread(asyncio.run, operator))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await running


async def test_an_operator_handles_its_own_nodes_objects_from_creation_to_deletion(
    api: Client, api_server: AnyApiServer, make: Make
) -> None:
    async with api.watch(ALL) as events:
        await make("foreign", nodeName="n2")
        await make("own", nodeName="n1")
        api_server.traffic.answer_next(1, 500, verb="patch", resource="subfunctions")
        async with _operator(api_server):
            own: dict[str, Any] = {}
            while own.get("status", {}).get("phase") != "Ready":
                kind, obj = await events.next()
                own = obj if obj["metadata"]["name"] == "own" else own
            assert own["metadata"]["finalizers"] == ["subfunction.dev/test"]
            await api("DELETE", f"{ALL}/own")
            while kind != "DELETED":
                kind, obj = await events.next()
            assert obj["metadata"]["name"] == "own"
    foreign = (await api("GET", f"{ALL}/foreign")).body
    assert "finalizers" not in foreign["metadata"]
    assert "status" not in foreign
    asked = [ask for ask in api_server.traffic.requests if ask.resource == "subfunctions"]
    followed = [ask.query.get("fieldSelector") for ask in asked if ask.verb in ("list", "watch")]
    assert followed.count("spec.nodeName=n1") == len(followed) - 1  # the one watch without is this test's own
