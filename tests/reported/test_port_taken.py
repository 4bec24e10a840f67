"""A port that a process of the host has already: metrics are lost, and the node's work is not."""

import socket

import pytest

from rig.cluster import Cluster
from subfunction.errors import CannotListen


@pytest.mark.xfail(
    strict=True,
    raises=CannotListen,
    reason="issue H: an agent that cannot serve its metrics does not work at all",
)
async def test_the_agent_works_though_the_port_of_its_metrics_is_taken(agent_node: Cluster) -> None:
    node = agent_node
    with socket.create_server(("127.0.0.1", 0)) as taken:
        node.start_agent(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        await node.apply()
        try:
            await node.until_ready()
        except CannotListen:
            node._agent = None
            raise
