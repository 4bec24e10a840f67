"""An embedded API server for each test, and a client of it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from subfunction_simulator.apiserver import ApiServer
from subfunction_simulator.apiserver.client import Client


@pytest_asyncio.fixture
async def api_server() -> AsyncIterator[ApiServer]:
    async with ApiServer(bookmark_seconds=0.05) as server:
        yield server


@pytest_asyncio.fixture
async def api(api_server: ApiServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, api_server.url)
