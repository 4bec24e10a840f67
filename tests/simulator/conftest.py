"""An embedded API server for each test, and a client of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from subfunction_simulator.apiserver import ApiServer
from subfunction_simulator.apiserver.client import Answer, Client


@pytest_asyncio.fixture
async def api_server() -> AsyncIterator[ApiServer]:
    async with ApiServer(bookmark_seconds=0.05) as server:
        yield server


@pytest_asyncio.fixture
async def api(api_server: ApiServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, api_server.url)


@pytest.fixture
def make(api: Client) -> Callable[..., Awaitable[Answer]]:
    """Make a SubFunction by its name and what of its spec differs."""

    async def create(name: str, **spec: Any) -> Answer:
        whole = {"nodeName": "n1", "flavour": "mlx5", "parent": {"device": "pci/0000:05:00.0"}, **spec}
        body = {"metadata": {"name": name}, "spec": whole}
        answer = await api("POST", "/apis/subfunction.dev/v1alpha1/subfunctions", body)
        assert answer.code == 201, answer.body
        return answer

    return create
