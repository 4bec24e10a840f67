"""What a test does at a worker's API server, and how it waits there."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rig.patience import Patience
from subfunction.kubelet import checkpoint
from subfunction_simulator.apiserver.client import Client
from worker import image
from worker.plugin import Plugin
from worker.podresources import pod_resources
from worker.sight import TELL, Sight
from worker.worker import NODE, Worker

PODS = "/api/v1/namespaces/default/pods"
PATIENCE = 40.0
"""Seconds: a real kubelet tries a container that may not start again after ten."""
_serials = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Container:
    """A container that tells what it sees; an init container then ends, unless it is a sidecar."""

    name: str = "main"
    limits: Mapping[str, int] = field(default_factory=dict)
    init: bool = False
    sidecar: bool = False

    def manifest(self) -> dict[str, Any]:
        """Give it as an API server takes it."""
        stays = "" if self.init and not self.sidecar else "trap 'exit 143' TERM; sleep 2147483647 & wait"
        return {
            "name": self.name,
            "image": image.BOX,
            "imagePullPolicy": "Never",
            "command": ["/bin/sh", "-c", f"{TELL}{stays}"],
            "resources": {"limits": {name: str(count) for name, count in self.limits.items()}},
            **({"restartPolicy": "Always"} if self.sidecar else {}),
        }


def pod_of(name: str, *containers: Container, node: str = NODE) -> dict[str, Any]:
    """Give the pod of these containers, bound to a node."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "initContainers": [each.manifest() for each in containers if each.init or each.sidecar],
            "containers": [each.manifest() for each in containers if not (each.init or each.sidecar)],
        },
    }


class Bench:
    """Makes pods and plugins, and takes them away at the end."""

    def __init__(self, worker: Worker, api: Client) -> None:
        self.worker = worker
        self.api = api
        self.resource = f"example.com/nic{next(_serials)}"
        """A resource of the test's own: the kubelet remembers one for five minutes."""
        self._plugins: list[Plugin] = []

    @property
    def folder(self) -> Any:
        """The kubelet's folder for device plugins."""
        return self.worker.root / "device-plugins"

    # Plugins.

    async def plug(self, *healthy: str, resource: str = "", preferred: tuple[str, ...] | None = None) -> Plugin:
        """Start a plugin, register it, and wait until its devices are counted."""
        plugin = self.plugin(resource)
        plugin.preferred = preferred
        await plugin.serve()
        await plugin.list(healthy)
        await plugin.register()
        await self.listed(*healthy, resource=plugin.resource)
        await self.counted(len(healthy), resource=plugin.resource)
        return plugin

    def plugin(self, resource: str = "") -> Plugin:
        """Make a plugin that neither serves nor is registered."""
        plugin = Plugin(self.folder, resource or self.resource)
        self._plugins.append(plugin)
        return plugin

    async def listed(self, *healthy: str, resource: str = "") -> None:
        """Wait until the kubelet has noted a list's healthy devices: the Node may have counted them long before."""
        path = self.folder / checkpoint.CHECKPOINT

        def noted() -> bool:
            try:
                told = json.loads(path.read_bytes())["Data"]["RegisteredDevices"]
            except FileNotFoundError:
                return False
            return sorted(told.get(resource or self.resource) or ()) == sorted(healthy)

        await eventually(noted, f"{healthy} are not noted")

    async def counted(self, count: int | None, *, of: int | None = None, resource: str = "") -> None:
        """Wait until the Node says so many are allocatable, of as many in all unless `of` says otherwise."""
        name = resource or self.resource
        wanted = [None if each is None else str(each) for each in (count, count if of is None else of)]

        def as_wanted(node: Any) -> bool:
            status = node.get("status", {})
            return [status.get(part, {}).get(name) for part in ("allocatable", "capacity")] == wanted

        await self.until(f"/api/v1/nodes/{NODE}", as_wanted, f"{wanted} of {name}")

    # Pods.

    async def create(self, *containers: Container) -> Any:
        """Create a pod bound to the node; one container with one device, unless others are named."""
        whole = containers or (Container(limits={self.resource: 1}),)
        answer = await self.api("POST", PODS, pod_of(f"pod-{next(_serials)}", *whole))
        assert answer.code == 201, answer.body
        return answer.body

    async def run(self, *containers: Container) -> Any:
        """Create a pod and wait until it runs."""
        return await self.running(await self.create(*containers))

    async def run_as_a_controller(self, *containers: Container) -> Any:
        """Create pods until one is admitted: while a plugin registers anew, the Node counts devices that are not there.

        A real scheduler sends pods in that second too, and each of them fails for good.
        """
        patience = Patience(PATIENCE)
        while True:
            pod = await self.create(*containers)
            seen = await self.until(_path(pod), lambda pod: _over(pod) or _runs(pod, 0), "decided")
            if not _over(seen):
                return seen
            assert "no healthy devices present" in seen["status"]["message"]
            assert not patience.spent(), f"not within {patience.told()}: {seen['status']['message']}"

    async def running(self, pod: Any, *, restarts: int = 0) -> Any:
        """Wait until all containers of a pod run, each restarted so many times at least."""

        return await self.until(_path(pod), lambda pod: _runs(pod, restarts), f"running, restarted {restarts} times")

    async def failed(self, pod: Any) -> Any:
        """Wait until a pod is Failed; its status."""
        seen = await self.until(_path(pod), lambda pod: pod.get("status", {}).get("phase") == "Failed", "Failed")
        return seen["status"]

    async def waits(self, pod: Any, container: str = "main") -> Any:
        """Wait until a container waits with a message; what it waits for."""

        def waiting(seen: Any) -> Any:
            return state_of(seen, container).get("waiting", {})

        seen = await self.until(_path(pod), lambda pod: waiting(pod).get("message"), f"{container} waiting")
        return waiting(seen)

    async def sight(self, pod: Any, container: str = "main", *, start: int = 0) -> Sight:
        """Give what a container saw when it was started; the first time, or after so many restarts."""
        found: list[Sight] = []

        async def told() -> bool:
            if sight := self.worker.sight(pod, container, start):
                found.append(sight)
            return bool(found)

        await patiently(told, lambda: f"{container} has told nothing of start {start}")
        return found[-1]

    async def delete(self, pod: Any) -> None:
        """Delete a pod and wait until its object is gone: its kubelet says when it has ended."""
        await self.api("DELETE", _path(pod))
        await self.gone(pod)

    async def gone(self, pod: Any) -> None:
        """Wait until a pod's object is gone."""

        async def gone() -> bool:
            return (await self.api("GET", _path(pod))).code == 404

        await patiently(gone, lambda: f"{pod['metadata']['name']} is still there")

    async def get(self, pod: Any) -> Any:
        """Read a pod again."""
        return (await self.api("GET", _path(pod))).body

    async def until(self, path: str, condition: Callable[[Any], object], what: str) -> Any:
        """Read an object until it is as wanted."""
        seen: list[Any] = [None]

        async def reached() -> bool:
            answer = await self.api("GET", path)
            seen.append(answer.body)
            return answer.code == 200 and bool(condition(answer.body))

        await patiently(reached, lambda: f"{path} is not {what}: {seen[-1] and seen[-1].get('status')}")
        return seen[-1]

    # The kubelet.

    def holdings(self) -> dict[str, set[str]]:
        """Read from the checkpoint who holds what: uids of pods, by device id."""
        held: dict[str, set[str]] = {}
        for each in checkpoint.read_checkpoint(self.folder / checkpoint.CHECKPOINT):
            if each.resource == self.resource:
                held.setdefault(each.device_id, set()).add(each.pod_uid)
        return held

    async def restart_kubelet(self) -> None:
        """Restart it, and wait until it listens."""
        await self.worker.stop_kubelet()
        await self.start_kubelet()

    async def start_kubelet(self) -> None:
        """Start it, and wait until it listens."""
        before = self._socket()
        await self.worker.start_kubelet()
        await eventually(lambda: self._socket() not in {None, before}, "the kubelet does not listen")

    async def settled(self, pod: Any) -> None:
        """Wait until a restarted kubelet has taken up a pod."""

        async def known() -> bool:
            return pod["metadata"]["name"] in {each.name for each in await pod_resources(self.worker.root)}

        await patiently(known, lambda: f"{pod['metadata']['name']} is not known")

    def _socket(self) -> tuple[int, int] | None:
        path = self.folder / "kubelet.sock"
        return (path.stat().st_ino, path.stat().st_ctime_ns) if path.exists() else None

    async def delete_all(self) -> list[Any]:
        """Delete every pod, and give them."""
        pods: list[Any] = (await self.api("GET", PODS)).body["items"]
        for pod in pods:
            await self.api("DELETE", _path(pod), {"gracePeriodSeconds": 0 if _over(pod) else 1})
        return pods

    async def end(self) -> None:
        """Take pods and plugins away; the pods end while others begin."""
        await self.delete_all()
        for plugin in self._plugins:
            await plugin.stop()


def state_of(pod: Any, container: str) -> Any:
    """Give the state of a container, empty before it has one."""
    return status_of(pod, container).get("state", {})


def status_of(pod: Any, container: str) -> Any:
    """Give the status of a container, empty before it has one."""
    status = pod.get("status", {})
    statuses = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    return next((each for each in statuses if each["name"] == container), {})


async def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait for what nobody announces to a test."""

    async def reached() -> bool:
        return bool(condition())

    await patiently(reached, lambda: what)


async def patiently(reached: Callable[[], Awaitable[bool]], otherwise: Callable[[], str]) -> None:
    """Look again and again."""
    patience = Patience(PATIENCE)
    while not await reached():
        assert not patience.spent(), f"not within {patience.told()}: {otherwise()}"
        await asyncio.sleep(0.02)


def ids(sights: Iterable[Sight], resource: str) -> list[str]:
    """Give what the containers were told that they have."""
    return [sight.env[resource.partition("/")[2].upper()] for sight in sights]


def _runs(pod: Any, restarts: int) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return bool(statuses) and all("running" in each["state"] and each["restartCount"] >= restarts for each in statuses)


def _over(pod: Any) -> bool:
    return pod["status"].get("phase") in {"Failed", "Succeeded"}


def _path(pod: Any) -> str:
    return f"{PODS}/{pod['metadata']['name']}"
