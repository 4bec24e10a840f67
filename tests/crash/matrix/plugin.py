"""A pod's life under fire: the device plugin is killed around each write of its ledger, and started again.

The agent is there all the while, and so are its records; the judge reads the ledger as JSON, the kubelet's table and
the object's conditions.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Final

from matrix.actor import PATIENCE, Actor, Late, until
from matrix.flavours import FLAVOURS
from matrix.judge import Judge
from matrix.life import settled
from matrix.moments import Order, Orders, Reaper, hear_of_files
from matrix.stage import Stage, staged
from matrix.trial import Ordeal, Point
from matrix.zygote import Zygote
from subfunction_deviceplugin import main as device_plugin
from subfunction_deviceplugin.settings import Settings
from subfunction_simulator.kubelet.device_manager.plugincalls import StartFailed
from subfunction_simulator.kubelet.pods import Container, Pod

RESOURCE: Final = "subfunction.dev/mlx5"
_OPERATIONS: Final = ("admitted", "started", "ended")
_POLL: Final = 0.01


@dataclasses.dataclass(frozen=True, slots=True)
class DevicePlugin:
    """A device plugin to start, and where its orders are."""

    settings: Settings
    orders: Orders

    def run(self) -> None:
        """Be the device plugin until the end."""
        hear_of_files(Reaper(self.orders).moment, {self.settings.ledger: "promise"})
        asyncio.run(self._served())

    async def _served(self) -> None:
        await device_plugin.run(self.settings, asyncio.Event())


@dataclasses.dataclass(frozen=True, slots=True)
class PodLife:
    """The story of a pod that is given a device, and gives it back."""

    points: tuple[Point, ...] = ()
    name: str = "device-plugin"
    operations: tuple[str, ...] = _OPERATIONS
    waits: tuple[tuple[str, str], ...] = ()

    def disturbed(self, points: tuple[Point, ...]) -> "PodLife":
        """Give the same life, disturbed at these points."""
        return PodLife(points)

    async def lived(self, zygote: Zygote) -> list[Ordeal]:
        """Live it, up to the first operation that goes wrong."""
        ordeals: list[Ordeal] = []
        async with _scene(zygote) as scene:
            for operation in _OPERATIONS:
                point = next((point for point in self.points if point.operation == operation), None)
                ordeals.append(await scene.held(operation, point))
                if ordeals[-1].complaints:
                    break
            else:
                complaints = await scene.cleared()
                ordeals[-1] = dataclasses.replace(ordeals[-1], complaints=tuple(complaints))
        return ordeals


@contextlib.asynccontextmanager
async def _scene(zygote: Zygote) -> "AsyncIterator[_Scene]":
    async with staged(FLAVOURS["mlx5"], zygote) as stage:
        settings = Settings(
            records=stage.settings.records,
            ledger=stage.settings.ledger,
            state=stage.settings.state,
            sysfs=stage.settings.sysfs,
            boot_id=stage.settings.boot_id,
            kubelet_root=stage.cluster.kubelet.folder.parent,
            kubelet_folder=stage.cluster.kubelet.folder,
            coalesce=0.01,
            resend_wanted=0.1,
            resend_held=0.1,  # the kubelet notes that a pod has ended only when a list comes
        )
        actor = Actor(zygote, stage.cluster.root, "plugin", lambda orders: DevicePlugin(settings, orders).run)
        judge = Judge(FLAVOURS["mlx5"], stage)
        await stage.agent_ready()
        created = judge.flavour.operations[0]
        await stage.ask(created.spec)
        scene = _Scene(stage, judge, actor)
        try:
            if complaints := await settled(judge, created):
                raise Late("; ".join(complaints))
            actor.start()
            await scene.offered()
            yield scene
        finally:
            with contextlib.suppress(Late):
                actor.kill()


@dataclasses.dataclass(slots=True)
class _Scene:
    stage: Stage
    judge: Judge
    plugin: Actor
    pods: Iterator[int] = dataclasses.field(default_factory=itertools.count)
    pod: str = ""

    async def offered(self) -> None:
        kubelet = self.stage.cluster.kubelet
        await until(lambda: kubelet.allocatable().get(RESOURCE) == 1, "the kubelet has the device")

    async def held(self, operation: str, point: Point | None) -> Ordeal:
        plugin, killed, seconds = self.plugin, False, 0.0
        before = len(plugin.moments)
        try:
            if point is not None:
                plugin.orders.give(Order(point.moment, point.nth))
            done = await self._tried(operation)
            began = time.monotonic()
            if point is not None:
                await plugin.killed()
                killed, began = True, time.monotonic()
                plugin.start()
                await self.offered()
                done = done or await self._tried(operation)
            complaints = [] if done else [f"the pod could not be {operation}"]
            complaints += await self._settled(operation)
            seconds = time.monotonic() - began
        except Late as late:
            complaints = [str(late), *await self._complaints(operation)]
        if complaints:
            complaints.append(await plugin.last_words())
        moments = tuple(plugin.moments[before:])
        return Ordeal("device-plugin", operation, point, killed, seconds, tuple(complaints), moments)

    async def _tried(self, operation: str) -> bool:
        """Do what the kubelet does; a plugin that dies meanwhile is an answer too."""
        kubelet = self.stage.cluster.kubelet
        if operation == "admitted":
            self.pod = f"uid-pod-{next(self.pods)}"
            container = Container("c", {RESOURCE: 1})
            return await kubelet.admit(Pod(self.pod, "default", self.pod, (container,))) is None
        if operation == "started":
            try:
                await kubelet.start_container(self.pod, "c")
            except StartFailed:
                return False
            return True
        kubelet.remove(self.pod)
        return True

    async def _settled(self, operation: str) -> list[str]:
        deadline = time.monotonic() + PATIENCE
        while complaints := await self._complaints(operation):
            if time.monotonic() > deadline:
                return complaints
            await asyncio.sleep(_POLL)
        await self.plugin.quiet()
        return await self._complaints(operation)

    async def _complaints(self, operation: str) -> list[str]:
        """Compare the ledger with record, kubelet and object."""
        found = await self.stage.object()
        if found is None:
            return ["the object is gone"]
        uid, device = found["metadata"]["uid"], (found["status"].get("device") or {}).get("id")
        folder = self.stage.settings.ledger
        promises = {}
        for path in sorted(folder.glob("*.json")):
            # The plugin may remove an entry that it found ended while we read.
            with contextlib.suppress(FileNotFoundError):
                promises[path.name] = json.loads(path.read_text(encoding="utf-8"))
        held = operation != "ended"
        wanted = [(f"{uid}.json", uid, device, True)] if held else []
        said = [(name, each["uid"], each["deviceId"], each["seenInCheckpoint"]) for name, each in promises.items()]
        complaints = [] if said == wanted else [f"the ledger says {said}, and not {wanted}"]
        in_use = [each["status"] for each in found["status"]["conditions"] if each["type"] == "InUse"]
        if in_use != [str(held)]:
            complaints.append(f"InUse is {in_use}")
        if self.stage.cluster.kubelet.allocatable().get(RESOURCE) != 1:
            complaints.append("the kubelet has lost the device")
        return complaints

    async def cleared(self) -> list[str]:
        """Delete the object: nothing that was promised on the way may hold it."""
        deleted = self.judge.flavour.operations[-1]
        await self.stage.ask(deleted.spec)
        return await settled(self.judge, deleted)
