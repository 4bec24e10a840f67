"""What the controller's tests stand on: an API server, embedded or real (`SUBFUNCTION_TEST_APISERVER`)."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import hypothesis
import pytest_asyncio

from components import under_test
from components.under_test import AnyApiServer
from fleet.fleet import Fleet
from subfunction_simulator.apiserver.client import Client

# The quick run is the same each time; `--hypothesis-profile=deep` is for a person who looks for trouble.
hypothesis.settings.register_profile("quick", max_examples=60, derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=2000, database=None, deadline=None)
hypothesis.settings.load_profile("quick")


@pytest_asyncio.fixture
async def api_server() -> AsyncIterator[AnyApiServer]:
    async with under_test.server(bookmark_seconds=0.2) as server:
        yield server


@pytest_asyncio.fixture
async def api(api_server: AnyApiServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, api_server.url)


@pytest_asyncio.fixture
async def fleet(root: Path) -> AsyncIterator[Fleet]:
    """Nodes without machines; neither agents nor controller have been started."""
    async with Fleet(root) as made:
        yield made
