"""The kubelet deals with devices: registration, admission, container starts, the checkpoint, PodResources.

It verifies nothing itself: what a plugin answers is what a container gets.
"""

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from pathlib import Path

import grpc

from subfunction.kubelet.checkpoint import CHECKPOINT
from subfunction.kubelet.deviceplugin_pb2_grpc import add_RegistrationServicer_to_server
from subfunction.kubelet.podresources_pb2_grpc import add_PodResourcesListerServicer_to_server
from subfunction_simulator.kubelet.device_manager import checkpoint
from subfunction_simulator.kubelet.device_manager.container import merge
from subfunction_simulator.kubelet.device_manager.devices import DeviceTable, Unavailable
from subfunction_simulator.kubelet.device_manager.plugincalls import PluginCalls, StartFailed, words
from subfunction_simulator.kubelet.device_manager.plugins import Registration
from subfunction_simulator.kubelet.device_manager.podresources import PodResourcesLister
from subfunction_simulator.kubelet.device_manager.watcher import PluginWatcher
from subfunction_simulator.kubelet.pods import Pod, Rejected, Running

logger = logging.getLogger(__name__)


class Kubelet:
    """A node's kubelet stands under `root`, with sockets in `device-plugins/` and `pod-resources/`.

    Args:
        root: where a real one has `/var/lib/kubelet`.
        clock: counts the five minutes that a resource outlives its plugin, in seconds.
        chance: chooses among devices.
        watcher_pause: seconds between two looks of the plugin watcher.
        called: whether it can be called; the kubelets up to 1.36 can, and call their folder deprecated.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
        watcher_pause: float = 1.0,
        called: bool = True,
    ) -> None:
        self._registry = root / "plugins_registry"
        self._watcher_pause = watcher_pause
        self._called = called
        self._watching: asyncio.Task[None] | None = None
        self.folder = root / "device-plugins"
        self.pod_resources = root / "pod-resources" / "kubelet.sock"
        self.pods: dict[str, Pod] = {}
        self.sources_ready = True
        """False while it is not known yet which pods there are: none is then taken for ended."""
        self._ended: set[str] = set()
        self._clock = clock
        self._chance = chance or random.Random()  # noqa: S311 - which device is taken is no secret
        self._admission = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._notices: set[asyncio.Task[None]] = set()
        self._servers: list[grpc.aio.Server] = []
        self._begin()

    async def start(self) -> None:
        """Remember what the checkpoint says, remove every socket, and listen."""
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.pod_resources.parent.mkdir(parents=True, exist_ok=True)
        self.table.restore(*checkpoint.read(self.folder / CHECKPOINT))
        for path in self.folder.iterdir():
            if path.is_socket():
                path.unlink(missing_ok=True)
        resources = grpc.aio.server()
        add_PodResourcesListerServicer_to_server(
            PodResourcesLister(self.active_pods, self._forget_ended, self.table), resources
        )
        self.pod_resources.unlink(missing_ok=True)
        resources.add_insecure_port(f"unix:{self.pod_resources}")
        self._servers = [resources]
        if self._called:
            registration = grpc.aio.server()
            add_RegistrationServicer_to_server(self.registration, registration)
            registration.add_insecure_port(f"unix:{self.folder / 'kubelet.sock'}")
            self._servers.append(registration)
        for server in self._servers:
            await server.start()
        self._registry.mkdir(mode=0o750, exist_ok=True)
        watcher = PluginWatcher(
            self._registry, self.registration.connect, self.registration.disconnect, pause=self._watcher_pause
        )
        self._watching = asyncio.create_task(watcher.run(), name="plugin watcher")

    async def stop(self) -> None:
        """Go down: streams end and sockets go; pods, their containers and the checkpoint stay."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None
        await self.registration.close()
        for server in self._servers:
            await server.stop(None)
        self._servers = []

    async def restart(self) -> None:
        """Go down and come up again, with nothing remembered but the checkpoint and the pods that run."""
        await self.stop()
        self._begin()
        await self.start()

    async def admit(self, pod: Pod, running: Collection[str] = ()) -> Rejected | None:
        """Allocate for each container of a pod, one pod at a time; None means that the pod is admitted.

        A kubelet that restarted admits its old pods again, and leaves out the containers that it found `running`: what
        has ended, also an init container that had its turn, is looked at like a new one's.
        """
        async with self._admission:
            self.pods[pod.uid] = pod
            self._calls.admits(pod.uid)
            try:
                for container in pod.containers:
                    if self.sources_ready or container.name not in running:
                        await self._calls.allocate(pod, container)
            except (Unavailable, grpc.aio.AioRpcError) as error:
                self._ended.add(pod.uid)
                message = f"Pod was rejected: Allocate failed due to {words(error)}, which is unexpected"
                return Rejected("UnexpectedAdmissionError", message)
            finally:
                self._notify()
            return self._unfit(pod)

    async def start_container(self, pod_uid: str, name: str) -> Running:
        """Start (or restart) a container: PreStartContainer, then what Allocate once answered, replayed.

        Allocate is called again only if the answer was lost.

        Raises:
            StartFailed: a plugin said no, or is not there.
        """
        pod = self.pods[pod_uid]
        container = pod.container(name)
        known = [resource for resource, count in container.limits.items() if count and self.table.knows(resource)]
        try:
            for resource in known:
                await self._calls.pre_start(pod_uid, container, resource)
            if not all(self._calls.find_held(pod_uid, name, resource) for resource in known):
                async with self._admission:
                    await self._calls.allocate(pod, container)
        except (Unavailable, grpc.aio.AioRpcError) as error:
            raise StartFailed(words(error)) from error
        return merge(container, self.table.of_container(pod_uid, name))

    def remove(self, pod_uid: str) -> None:
        """End a pod, and tell neither a plugin nor the checkpoint (see `DeviceTable.forget_pods_but`)."""
        self._ended.add(pod_uid)
        self._notify()

    def look(self) -> None:
        """Let those who wait look again."""
        self._notify()

    def missing(self, pod: Pod) -> dict[str, int]:
        """Count the devices that a pod would lack now, by resource: what a scheduler looks at."""
        active = {each.uid for each in self.active_pods()}
        used: defaultdict[str, set[str]] = defaultdict(set)
        for held in self.table.allocations:
            if held.pod_uid in active:
                used[held.resource] |= held.ids
        free = {name: count - len(used[name]) for name, count in self.allocatable().items()}
        return {name: count - free.get(name, 0) for name, count in pod.wants().items() if count > free.get(name, 0)}

    def active_pods(self) -> list[Pod]:
        """Give the pods that are not over."""
        return [pod for uid, pod in self.pods.items() if uid not in self._ended]

    def capacity(self) -> dict[str, int]:
        """Count devices for the node's status; a resource leaves it here when its plugin is long gone."""
        if self.table.expire():
            self._write()
        return self.table.capacity()

    def allocatable(self) -> dict[str, int]:
        """Count healthy devices for the node's status."""
        return self.table.allocatable()

    async def until(self, condition: Callable[[], bool], *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Wait for a change after which `condition` holds.

        Raises:
            TimeoutError: it did not come to hold within `timeout` seconds.
        """
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)

    def _forget_ended(self) -> None:
        if self.sources_ready:
            self.table.forget_pods_but(each.uid for each in self.active_pods())

    def _begin(self) -> None:
        self.table = DeviceTable(self._clock, self._chance)
        self.registration = Registration(self.folder, self.table, self._on_list, self._notify)
        self._calls = PluginCalls(self.table, self.registration, self._forget_ended, self._write)

    def _on_list(self) -> None:
        self._write()
        self._notify()

    def _write(self) -> None:
        healthy = {name: entry.healthy for name, entry in self.table.resources.items()}
        checkpoint.write(self.folder / CHECKPOINT, self.table.allocations, healthy)

    def _notify(self) -> None:
        async def tell() -> None:
            async with self._changed:
                self._changed.notify_all()

        task = asyncio.create_task(tell())
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    def _unfit(self, pod: Pod) -> Rejected | None:
        """Count what pods ask for, whatever they hold: done last, and of use where allocations were forgotten."""
        others = [each for each in self.active_pods() if each.uid != pod.uid]
        for resource, requested in pod.wants().items():
            used = sum(each.wants()[resource] for each in others)
            has = max(self.allocatable().get(resource, 0), len(self.table.list_allocated(resource)))
            if self.table.knows(resource) and used + requested > has:
                self._ended.add(pod.uid)
                text = f"{resource}, requested: {requested}, used: {used}, capacity: {has}"
                return Rejected(f"OutOf{resource}", f"Pod was rejected: Node didn't have enough resource: {text}")
        return None
