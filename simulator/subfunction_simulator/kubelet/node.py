"""This module ties a stand-in kubelet to an API server: its Node, and the pods bound to it."""

import asyncio
import contextlib
from typing import Any

import aiohttp

from subfunction.process.session_sockets import SessionSockets
from subfunction_simulator.apiserver.client import Client
from subfunction_simulator.kubelet import podstatus
from subfunction_simulator.kubelet.access import Access
from subfunction_simulator.kubelet.containers import Containers
from subfunction_simulator.kubelet.kubelet import Kubelet
from subfunction_simulator.kubelet.podworkers import PodWorkers
from subfunction_simulator.kubelet.retrying_client import RetryingClient
from subfunction_simulator.kubelet.settings import KubeletSettings

_HEARTBEAT_SECONDS = 10.0
"""How often the devices are counted anew without a change: the grace of a resource ends unannounced."""
_LONGEST_LINE = 4 << 20
_MACHINE = {"cpu": "2", "memory": "8Gi", "pods": "110"}


async def run(settings: KubeletSettings, containers: Containers | None = None) -> None:
    """Be a node until cancelled; `containers` is another runtime than the one where nothing runs.

    Raises:
        SubFunctionError: no API server is named.
    """
    access = Access.of(settings)
    # Made before anything is served: reading certificates takes long enough to be noticed.
    tls = access.tls()
    kubelet, sockets = Kubelet(settings.root), SessionSockets()
    # As in a real one: until the pods are known, none is taken for ended.
    kubelet.sources_ready = False
    await kubelet.start()
    try:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        trusting = aiohttp.TCPConnector(limit=0, ssl=tls, socket_factory=sockets.make_socket)
        async with aiohttp.ClientSession(timeout=timeout, read_bufsize=_LONGEST_LINE, connector=trusting) as session:
            ask = RetryingClient(Client(session, access.url, access.token))
            async with asyncio.TaskGroup() as group:
                group.create_task(Node(kubelet, ask, settings.node_name).report())
                runtime = containers or Containers(settings.root / "pods")
                workers = PodWorkers(kubelet, ask, runtime, settings, group)
                group.create_task(workers.follow())
                group.create_task(workers.notice_ends())
    finally:
        await sockets.abort()
        await kubelet.stop()


class Node:
    """A kubelet keeps one Node object."""

    def __init__(self, kubelet: Kubelet, ask: RetryingClient, name: str) -> None:
        self._kubelet = kubelet
        self._ask = ask
        self._name = name
        self._sent: dict[str, dict[str, str]] = {}

    async def report(self) -> None:
        """Make the object if there is none, and keep its status as the devices are, until cancelled."""
        while True:
            counted = self._count()
            if counted != self._sent:
                await self._send(counted)
                self._sent = counted
            with contextlib.suppress(TimeoutError):
                await self._kubelet.until(lambda: self._count() != self._sent, timeout=_HEARTBEAT_SECONDS)

    def _count(self) -> dict[str, dict[str, str]]:
        capacity, allocatable = self._kubelet.capacity(), self._kubelet.allocatable()
        return {
            "capacity": _MACHINE | {name: str(count) for name, count in capacity.items()},
            "allocatable": _MACHINE | {name: str(count) for name, count in allocatable.items()},
        }

    async def _send(self, counted: dict[str, dict[str, str]]) -> None:
        path = f"/api/v1/nodes/{self._name}"
        answer = await self._ask("GET", path)
        if answer.code == 404:
            labels = {"kubernetes.io/hostname": self._name, "kubernetes.io/os": "linux"}
            made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self._name, "labels": labels}}
            answer = await self._ask("POST", "/api/v1/nodes", made)
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "the stand-in kubelet is posting ready status",
            "lastTransitionTime": podstatus.now(),
        }
        status: dict[str, Any] = {"conditions": [ready], "nodeInfo": {"kubeletVersion": "v1.36.2-stand-in"}}
        for part, counts in counted.items():
            # Once a device plugin's, always one: what is gone counts nothing, and is not taken out. What this kubelet
            # never knew of, since its checkpoint was lost, is left as the one before it counted.
            gone = {name: "0" for name in self._sent.get(part, {}) if name not in counts}
            status[part] = gone | counts
        await self._ask.set_status(path, status)
