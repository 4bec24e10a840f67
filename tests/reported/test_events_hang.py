"""Events that cannot be posted keep no other work waiting: they are news for people, and may be lost."""

import asyncio
from typing import Any, Final

import pytest

from rig.cluster import NODE, Cluster, is_ready
from rig.waiting import eventually
from subfunction.errors import ApiUnavailable
from subfunction.process.metrics import AgentMetrics
from subfunction_operator.agent import wiring
from subfunction_operator.agent.api.client import SubFunctionClient
from subfunction_operator.agent.model.hooks import LoggingHooks

NAMES: Final = ("red", "green", "blue")


class WithoutEvents(SubFunctionClient):
    """An API server that leaves Events unanswered, as where their etcd, one of their own, is down."""

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str = "application/json",
        parameters: dict[str, str] | None = None,
    ) -> Any:
        if path.endswith("/events"):
            await asyncio.sleep(30.0)
            raise ApiUnavailable(f"{method} {path}: no answer")
        return await super().request(method, path, body, kind, parameters)


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="issue H: a worker waits up to 30 s for each Event that it posts"
)
async def test_the_next_object_is_ready_while_the_event_of_the_one_before_hangs(agent_node: Cluster) -> None:
    node = agent_node
    server = WithoutEvents(node.session, node.server.url, NODE)
    agent = wiring.build_agent(node.settings(), server, LoggingHooks(), AgentMetrics())
    for name in NAMES:
        await node.apply(name)
    await agent.relist()
    working = asyncio.create_task(agent.queue.run(agent.reconcile, 1))
    try:
        await eventually(
            lambda: working.done() or all(is_ready(each) for each in agent.cache.list()), "all are ready", within=1.0
        )
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        agent.dispatcher.stop()
