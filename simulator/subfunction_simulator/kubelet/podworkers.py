"""The pods bound to a node: admitted, started, and let go.

Two more parts are played here, small ones. A scheduler's: a pod stays Pending for as long as the node lacks a device
that it asks for. A container runtime's: nothing runs, and what a container would see is written down, into
`<root>/pods/<namespace>_<name>/<container>.json`, and in short into an annotation of the pod.
"""

import asyncio
import contextlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from subfunction_simulator.kubelet import podstatus
from subfunction_simulator.kubelet.insist import FIRST_PAUSE, LONGEST_PAUSE, Insistent
from subfunction_simulator.kubelet.kubelet import Kubelet, StartFailed
from subfunction_simulator.kubelet.pods import Pod, Running
from subfunction_simulator.kubelet.settings import KubeletSettings

logger = logging.getLogger(__name__)

_PODS = "/api/v1/pods"
_WATCH_SECONDS = 3600.0
_OVER = frozenset({"Failed", "Succeeded"})


class PodWorkers:
    """One task a pod, each in the group."""

    def __init__(self, kubelet: Kubelet, ask: Insistent, settings: KubeletSettings, group: asyncio.TaskGroup) -> None:
        self._kubelet = kubelet
        self._ask = ask
        self._selector = f"spec.nodeName={settings.node_name}"
        self._folder = settings.root / "pods"
        self._restart_pause = settings.restart_pause
        self._group = group
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
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        if metadata.get("deletionTimestamp"):
            self._end(uid)
            # A real API server keeps the object until its kubelet says that the pod has stopped.
            await self._ask("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
        elif uid not in self._workers and phase not in _OVER:
            pod = Pod.of(item)
            work = self._resume(pod) if phase == "Running" else self._work(pod, path)
            self._workers[uid] = self._group.create_task(work, name=f"pod {pod.namespace}/{pod.name}")

    def _end(self, uid: str) -> None:
        if (worker := self._workers.pop(uid, None)) is not None:
            worker.cancel()
        if (pod := self._kubelet.pods.get(uid)) is not None:
            self._kubelet.remove(uid)
            shutil.rmtree(self._folder_of(pod), ignore_errors=True)

    async def _resume(self, pod: Pod) -> None:
        self._kubelet.adopt(pod)

    async def _work(self, pod: Pod, path: str) -> None:
        """Bring one pod to where all its containers run, or to its failure."""
        waits_for: dict[str, int] = {}
        while missing := self._kubelet.missing(pod):
            if missing != waits_for:
                await self._ask.set_status(path, podstatus.unschedulable(missing))
                waits_for = missing
            with contextlib.suppress(TimeoutError):
                await self._kubelet.until(lambda: not self._kubelet.missing(pod))
        if (why := await self._kubelet.admit(pod)) is not None:
            logger.warning("pod %s/%s: %s", pod.namespace, pod.name, why.message)
            await self._ask.set_status(path, podstatus.rejected(why))
            return
        given: dict[str, Running] = {}
        for container in pod.containers:
            given[container.name] = await self._start(pod, path, container.name, given)
            self._write(pod, container.name, given[container.name])
        await self._ask("PATCH", path, {"metadata": {"annotations": podstatus.annotations(given)}})
        await self._ask.set_status(path, podstatus.started(pod, given, {}))

    async def _start(self, pod: Pod, path: str, container: str, given: Mapping[str, Running]) -> Running:
        said = ""
        while True:
            try:
                return await self._kubelet.start_container(pod.uid, container)
            except StartFailed as error:
                if str(error) != said:
                    said = str(error)
                    await self._ask.set_status(path, podstatus.started(pod, given, {container: said}))
            await asyncio.sleep(self._restart_pause)

    def _write(self, pod: Pod, container: str, given: Running) -> None:
        folder = self._folder_of(pod)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(podstatus.content(given), indent=1)
        (folder / f"{container}.json").write_text(f"{text}\n", encoding="utf-8")

    def _folder_of(self, pod: Pod) -> Path:
        return self._folder / f"{pod.namespace}_{pod.name}"
