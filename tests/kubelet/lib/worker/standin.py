"""The stand-in kubelet as a test has it, at an embedded API server."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from subfunction_simulator.apiserver import ApiServer
from subfunction_simulator.apiserver.client import Client
from subfunction_simulator.kubelet.node import run
from subfunction_simulator.kubelet.settings import KubeletSettings
from worker.sight import Sight
from worker.worker import NODE


class StandIn:
    """A node without containers: what one would see is a file."""

    def __init__(self, root: Path, server: ApiServer, api: Client) -> None:
        self.root = root / "kubelet"
        self.api = api
        self.kubeconfig = root / "kubeconfig"
        self.kubeconfig.write_text(server.kubeconfig())
        # No scheduler plays before the real kubelet either.
        self._settings = KubeletSettings(
            root=self.root, node_name=NODE, server=server.url, restart_pause=0.05, scheduler=False
        )
        self._task: asyncio.Task[None] | None = None

    async def start_kubelet(self) -> None:
        """Start it."""
        self._task = asyncio.create_task(run(self._settings))

    async def stop_kubelet(self) -> None:
        """End it; what is written of the containers stays."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def kill_container(self, pod: Any, container: str) -> None:
        """Let a container end."""
        self._file(pod, container).unlink()

    def sight(self, pod: Any, container: str, start: int) -> Sight | None:
        """Read a container's file."""
        try:
            told = json.loads(self._file(pod, container).read_text())
        except FileNotFoundError:
            return None
        return Sight.of_stand_in(told) if told["restarts"] == start else None

    def _file(self, pod: Any, container: str) -> Path:
        metadata = pod["metadata"]
        return self.root / "pods" / f"{metadata['namespace']}_{metadata['name']}" / f"{container}.json"


@contextlib.asynccontextmanager
async def standing_in() -> AsyncIterator[StandIn]:
    """Give one that has been started, with an API server and a folder of its own."""
    async with contextlib.AsyncExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sfs-")))
        server = await stack.enter_async_context(ApiServer())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        stand_in = StandIn(root, server, Client(session, server.url))
        await stand_in.start_kubelet()
        stack.push_async_callback(stand_in.stop_kubelet)
        yield stand_in
