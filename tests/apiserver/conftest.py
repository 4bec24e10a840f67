"""One API server, two to choose from: the embedded one for each test, or a real one, emptied for each test.

`SUBFUNCTION_TEST_APISERVER=real` asks the real one (`make test-apiserver`): what these tests say is what we rely on, so
both must say yes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from components import under_test
from components.judge import Judge
from components.under_test import AnyApiServer
from subfunction_simulator.apiserver.client import Answer, Client


@pytest_asyncio.fixture
async def api_server() -> AsyncIterator[AnyApiServer]:
    async with under_test.server(bookmark_seconds=0.05) as server:
        yield server


@pytest_asyncio.fixture
async def api(api_server: AnyApiServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, api_server.url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def judge() -> AsyncIterator[Judge]:
    async with under_test.server() as server, aiohttp.ClientSession() as session:
        yield Judge(Client(session, server.url))


@pytest.fixture
def make(api: Client) -> Callable[..., Awaitable[Answer]]:
    """Make a SubFunction by its name and what of its spec differs."""

    async def create(name: str, **spec: Any) -> Answer:
        whole = {"nodeName": "n1", "flavour": "mlx5", "parent": {"device": "pci/0000:05:00.0"}, **spec}
        body = {
            "apiVersion": "subfunction.dev/v1alpha1",
            "kind": "SubFunction",
            "metadata": {"name": name},
            "spec": whole,
        }
        answer = await api("POST", "/apis/subfunction.dev/v1alpha1/subfunctions", body)
        assert answer.code == 201, answer.body
        return answer

    return create
