"""One kubelet, two to choose from: the stand-in, or the real one with containers that run.

`SUBFUNCTION_TEST_KUBELET=real` asks the real one (`make test-kubelet`): what these tests say is what we rely on, so
both must say yes.
"""

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from components.controlplane import ADMIN
from subfunction_simulator.apiserver import ApiServer
from subfunction_simulator.apiserver.client import Client
from worker.bench import Bench
from worker.real import RealNode, RealWorker, real_node
from worker.standin import StandIn
from worker.worker import Worker

REAL = os.environ.get("SUBFUNCTION_TEST_KUBELET", "standin") == "real"
collect_ignore = [] if REAL else ["real"]


@pytest.fixture(scope="session")
def node() -> Iterator[RealNode | None]:
    """The real node of this process, or none."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(real_node()) if REAL else None


@pytest.fixture
async def worker(node: RealNode | None) -> AsyncIterator[Worker]:
    async with contextlib.AsyncExitStack() as stack:
        if node is not None:
            connector = aiohttp.TCPConnector(ssl=node.plane.tls())
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            yield RealWorker(node, Client(session, node.plane.url, ADMIN))
            return
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sfk-")))
        server = await stack.enter_async_context(ApiServer())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        stand_in = StandIn(root, server, Client(session, server.url))
        await stand_in.start_kubelet()
        stack.push_async_callback(stand_in.stop_kubelet)
        yield stand_in


@pytest.fixture
async def bench(worker: Worker) -> AsyncIterator[Bench]:
    bench = Bench(worker, worker.api)
    yield bench
    await bench.end()
