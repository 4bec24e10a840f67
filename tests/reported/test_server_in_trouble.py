"""An API server in trouble is asked ever less, by each agent at its own times; else it does not come back.

These take up to fifteen seconds, as pauses are what they are about.
"""

import asyncio
import functools
from typing import Final

import pytest

from rig.cluster import Cluster

OBJECTS: Final = 32
ENDLESS: Final = 100_000


def refuse(node: Cluster, verb: str, retry_after: int | None = None) -> None:
    traffic = node.server.api.traffic
    job = functools.partial(
        traffic.answer_next, ENDLESS, 503, verb=verb, resource="subfunctions", retry_after=retry_after
    )
    node.server.call(job)


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: each object is tried anew every two seconds, however many were refused for the same cause",
)
async def test_an_agent_whose_writes_are_refused_stops_to_write_for_all_its_objects(agent_node: Cluster) -> None:
    node = agent_node
    for number in range(OBJECTS):
        await node.apply(f"sf-{number}")
    refuse(node, "patch")
    node.start_agent()
    await asyncio.sleep(5.0)
    tries = len(node.server.asked("patch"))
    assert 0 < tries < 1.5 * OBJECTS
