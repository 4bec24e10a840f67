"""One kubelet, two to choose from: the stand-in, or the real one with containers that run.

`SUBFUNCTION_TEST_KUBELET=real` asks the real one (`make test-kubelet`): what these tests say is what we rely on, so
both must say yes.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from components.controlplane import ADMIN
from subfunction_operator.kube.credentials import Credentials, FixedToken
from subfunction_simulator.apiserver.client import Client
from worker.bench import Bench
from worker.real import RealNode, RealWorker, real_node
from worker.standin import standing_in
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
            credentials = Credentials(node.plane.url, FixedToken(), node.plane.tls())
            session = await stack.enter_async_context(credentials.session())
            yield RealWorker(node, Client(session, node.plane.url, ADMIN))
            return
        yield await stack.enter_async_context(standing_in())


@pytest.fixture
async def bench(worker: Worker) -> AsyncIterator[Bench]:
    bench = Bench(worker, worker.api)
    yield bench
    await bench.end()
