"""The kubelet takes up the pods bound to its node, and lets them go.

Two more parts are played here, small ones. A scheduler's, unless told not to: a pod stays Pending for as long as the
node lacks a device that it asks for. A container runtime's: nothing runs, and what a container would see is written
down (`containers.py`), and in short into an annotation of the pod.
"""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from asyncinotify import Inotify, Mask

from subfunction_simulator.kubelet.containers import Containers
from subfunction_simulator.kubelet.kubelet import Kubelet
from subfunction_simulator.kubelet.podworker import PodWorker
from subfunction_simulator.kubelet.retrying_client import FIRST_PAUSE, LONGEST_PAUSE, RetryingClient
from subfunction_simulator.kubelet.settings import KubeletSettings

logger = logging.getLogger(__name__)

_PODS = "/api/v1/pods"
_WATCH_SECONDS = 3600.0
_OVER = frozenset({"Failed", "Succeeded"})


class PodWorkers:
    """Each pod has one task in the group."""

    def __init__(
        self,
        kubelet: Kubelet,
        ask: RetryingClient,
        containers: Containers,
        settings: KubeletSettings,
        group: asyncio.TaskGroup,
    ) -> None:
        self._kubelet = kubelet
        self._ask = ask
        self._settings = settings
        self._selector = f"spec.nodeName={settings.node_name}"
        self._containers = containers
        self._group = group
        self._inotify = Inotify()
        self._workers: dict[str, asyncio.Task[None]] = {}

    async def follow(self) -> None:
        """Take up pods as they are bound here and let them go as they are deleted, until cancelled."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._watch(await self._list())
                pause = FIRST_PAUSE
            except (aiohttp.ClientError, EOFError, TimeoutError) as error:
                logger.debug("the watch of pods ended: %r", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def notice_ends(self) -> None:
        """Wake what waits when a container's file goes, until cancelled."""
        with self._inotify as inotify:
            async for event in inotify:
                if Mask.DELETE in event.mask:
                    self._kubelet.look()

    async def _list(self) -> str:
        answer = await self._ask("GET", _PODS, fieldSelector=self._selector)
        if answer.code != 200:
            raise aiohttp.ClientError(f"pods cannot be listed: {answer.message}")
        found = {item["metadata"]["uid"]: item for item in answer.body["items"]}
        for uid in self._workers.keys() - found.keys():
            self._end(uid)
        for item in found.values():
            await self._see(item)
        self._kubelet.sources_ready = True
        version: str = answer.metadata["resourceVersion"]
        return version

    async def _watch(self, version: str) -> None:
        query = {"fieldSelector": self._selector, "resourceVersion": version}
        async with self._ask.client.watch(_PODS, **query) as events:
            while True:
                kind, item = await events.next(seconds=_WATCH_SECONDS)
                match kind:
                    case "ADDED" | "MODIFIED":
                        await self._see(item)
                    case "DELETED":
                        self._end(item["metadata"]["uid"])
                    case "ERROR":
                        return

    async def _see(self, item: Mapping[str, Any]) -> None:
        metadata, phase = item["metadata"], item.get("status", {}).get("phase")
        uid = metadata["uid"]
        if metadata.get("deletionTimestamp"):
            self._end(uid)
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
            # A real API server keeps the object until its kubelet says that the pod has stopped.
            await self._ask("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
        elif uid not in self._workers and phase not in _OVER:
            await self._take_up(item)

    async def _take_up(self, item: Mapping[str, Any]) -> None:
        worker = PodWorker(self._kubelet, self._ask, self._containers, self._settings, item)
        self._watch_folder(self._containers.of(worker.pod))
        # As in a real one: pods are admitted in their order, and their containers started beside each other.
        await worker.admit()
        self._workers[worker.pod.uid] = self._group.create_task(worker.run(), name=f"pod {worker.path}")

    def _watch_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._inotify.add_watch(folder, Mask.DELETE | Mask.ONLYDIR)

    def _end(self, uid: str) -> None:
        if (worker := self._workers.pop(uid, None)) is not None:
            worker.cancel()
        if (pod := self._kubelet.pods.get(uid)) is not None:
            self._kubelet.remove(uid)
            self._containers.end(pod)
