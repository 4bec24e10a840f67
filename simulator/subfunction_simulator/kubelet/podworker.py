"""One pod on a node waits for devices, is admitted, and has its containers started and started again."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from subfunction_simulator.kubelet import podstatus
from subfunction_simulator.kubelet.containers import Containers
from subfunction_simulator.kubelet.device_manager.plugincalls import StartFailed
from subfunction_simulator.kubelet.kubelet import Kubelet
from subfunction_simulator.kubelet.pods import Container, Pod, Rejected, Running
from subfunction_simulator.kubelet.retrying_client import RetryingClient
from subfunction_simulator.kubelet.settings import KubeletSettings

logger = logging.getLogger(__name__)


class PodWorker:
    """A worker brings one pod to where all its containers run, or to its failure, and keeps it there."""

    def __init__(
        self,
        kubelet: Kubelet,
        ask: RetryingClient,
        containers: Containers,
        settings: KubeletSettings,
        item: Mapping[str, Any],
    ) -> None:
        self.pod = Pod.of(item)
        self.path = f"/api/v1/namespaces/{self.pod.namespace}/pods/{self.pod.name}"
        self._kubelet = kubelet
        self._ask = ask
        self._containers = containers
        self._settings = settings
        self._is_new = not item.get("status", {}).get("containerStatuses")
        self._starts = {name: count + 1 for name, count in podstatus.restarts(item).items()}
        self._given: dict[str, Running] = {}
        self._health: dict[str, Any] = {}
        self.rejected: Rejected | None = None
        self.admitted = False

    async def admit(self) -> None:
        """Admit the pod, unless it is to wait for devices like one that no scheduler has bound."""
        if self._settings.scheduler and self._is_new and self._kubelet.missing(self.pod):
            return
        running = self._containers.running(self.pod)
        alive = {each.name for each in self.pod.containers if each.name in running and not _ends(each)}
        self.rejected = await self._kubelet.admit(self.pod, alive)
        self.admitted = True

    async def run(self) -> None:
        """Do all there is to be done for the pod, until it is over or this is cancelled."""
        if not self.admitted:
            await self._until_schedulable()
            await self.admit()
        if self.rejected is not None:
            logger.warning("pod %s/%s: %s", self.pod.namespace, self.pod.name, self.rejected.message)
            self._containers.end(self.pod)
            await self._ask.set_status(self.path, podstatus.describe_rejected(self.rejected))
            return
        while True:
            for container in self._due():
                await self._start(container)
            await self._tell()
            with contextlib.suppress(TimeoutError):
                await self._kubelet.until(self._has_news)

    async def _until_schedulable(self) -> None:
        waits_for: dict[str, int] = {}
        while missing := self._kubelet.missing(self.pod):
            if missing != waits_for:
                await self._ask.set_status(self.path, podstatus.describe_unschedulable(missing))
                waits_for = missing
            with contextlib.suppress(TimeoutError):
                await self._kubelet.until(lambda: not self._kubelet.missing(self.pod))

    def _due(self) -> list[Container]:
        """List the containers to start: those that do not run; one that has had its turn only with all the others."""
        running = self._containers.running(self.pod)
        return [each for each in self.pod.containers if each.name not in running and not (running and _ends(each))]

    async def _start(self, container: Container) -> None:
        said = ""
        while True:
            try:
                given = await self._kubelet.start_container(self.pod.uid, container.name)
                break
            except StartFailed as error:
                if str(error) != said:
                    said = str(error)
                    await self._tell({container.name: said})
            await asyncio.sleep(self._settings.restart_pause)
        restarts = self._starts.get(container.name, 0)
        self._starts[container.name] = restarts + 1
        self._given[container.name] = given
        self._containers.start(self.pod, container.name, given, restarts)

    async def _tell(self, waiting: Mapping[str, str] | None = None) -> None:
        running = self._containers.running(self.pod)
        if not waiting and self._given:
            await self._ask("PATCH", self.path, {"metadata": {"annotations": podstatus.annotations(self._given)}})
        self._health = self._read_health()
        await self._ask.set_status(
            self.path, podstatus.describe_started(self.pod, running, waiting or {}, self._health)
        )

    def _read_health(self) -> dict[str, Any]:
        return {each.name: self._kubelet.table.health(self.pod.uid, each.name) for each in self.pod.containers}

    def _has_news(self) -> bool:
        return bool(self._due()) or self._health != self._read_health()


def _ends(container: Container) -> bool:
    """Say whether a container runs to its end before others start."""
    return container.init and not container.restartable
