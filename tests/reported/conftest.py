"""What the reported faults are shown on: the nodes of the suites that stand beside this one."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.deviceplugin.conftest import Node

from rig.cluster import Cluster


@pytest.fixture
async def agent_node(root: Path) -> AsyncIterator[Cluster]:
    """A node with everything, the agent not yet started."""
    async with Cluster(root) as made:
        yield made


@pytest.fixture
async def plugin_node(root: Path) -> AsyncIterator[Node]:
    """A node with records and a kubelet, the device plugin not yet started."""
    made = Node(root)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(made.stop)
        yield made
