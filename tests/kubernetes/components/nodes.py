"""Nodes of a cluster without machines to spare: stand-in kubelets in one thread, before a real API server.

On a bare node what a pod runs is written down. On one with a machine the chart's containers run.
"""

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from components import accounts
from components.controlplane import ADMIN, ControlPlane
from components.machine import KUBELET_ROOT, Machine
from harness.errors import CommandFailed
from rig.waiting import until
from subfunction_simulator.kubelet.containers import Containers
from subfunction_simulator.kubelet.node import run
from subfunction_simulator.kubelet.pods import Pod, Running
from subfunction_simulator.kubelet.settings import KubeletSettings

_NODES: Final = "/api/v1/nodes"
_OURS: Final = "subfunction-"
_KERNEL: Final = "subfunction-simulator"
_SOCKET: Final = "/run/subfunction/simulated/netlink.sock"


class Nodes:
    """The nodes of one control plane; `with` it. All calls block."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self._plane = plane
        self._folder = folder
        self._kubeconfig = folder / "kubelets"
        self._kubeconfig.write_text(plane.kubeconfig(ADMIN))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kubelets", daemon=True)
        self._kubelets: dict[str, asyncio.Task[None]] = {}
        self._booted: list[tuple[KubeletSettings, Containers | None]] = []
        self.machines: dict[str, Machine] = {}

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all kubelets, and what runs on machines."""
        for name in list(self._kubelets):
            self.stop(name)
        for machine in self.machines.values():
            machine.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def join(self, name: str, *, system: str = "linux", taints: Sequence[Mapping[str, str]] = ()) -> None:
        """Make a Node whose kubelet is not there yet."""
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": system}
        self._plane.request("POST", _NODES, {"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}})

    def boot(self, name: str, kernel: Any = None) -> None:
        """Start a node's kubelet; `kernel` is the pod's spec of the simulated kernel, for a node with a machine."""
        root = self._folder / str(len(self._booted))
        containers: Containers | None = None
        if kernel is not None:
            root.mkdir()
            machine = self.machines[name] = Machine(root, self._plane, name)
            machine.start("kernel", kernel, {})
            until(lambda: machine.lives() or machine.path(_SOCKET).exists(), f"{name} has a kernel", within=120)
            containers = _Processes(machine)
            root = machine.path(KUBELET_ROOT)
        settings = KubeletSettings(root=root, node_name=name, kubeconfig=self._kubeconfig, restart_pause=0.2)
        self._booted.append((settings, containers))
        self._start(settings, containers)

    def restart(self, name: str) -> None:
        """Start a node's kubelet again, which makes the Node object if there is none; all that runs goes on."""
        self.stop(name)
        self._start(*next(each for each in self._booted[::-1] if each[0].node_name == name))

    def stop(self, name: str) -> None:
        """End a node's kubelet; what it started goes on."""
        self._do(self._ended(name))

    def unplug(self, name: str) -> None:
        """End a node, machine and all."""
        self.stop(name)
        self.machines.pop(name).kill()

    def live(self) -> bool:
        """Make sure that all kubelets do; false, so that it can be asked beside something else."""
        for kubelet in self._kubelets.values():
            if kubelet.done():
                kubelet.result()
        return False

    def _start(self, settings: KubeletSettings, containers: Containers | None) -> None:
        self._do(self._started(settings, containers))

    def _do(self, job: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(job, self._loop).result(30)

    async def _started(self, settings: KubeletSettings, containers: Containers | None) -> None:
        self._kubelets[settings.node_name] = asyncio.create_task(run(settings, containers))

    async def _ended(self, name: str) -> None:
        kubelet = self._kubelets.pop(name)
        kubelet.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await kubelet


class _Processes(Containers):
    """A machine's container runtime."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine.path(KUBELET_ROOT) / "pods")
        self._machine = machine

    def start(self, pod: Pod, container: str, given: Running, restarts: int) -> None:
        """Let a container run: as a process, where it is the chart's and not the machine itself."""
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        try:
            item = self._machine.plane.request("GET", path)
        except CommandFailed as error:
            if error.code != 404:
                raise
            return
        command = item["spec"]["containers"][0].get("command", [""])
        super().start(pod, container, given, restarts)
        if command[0].startswith(_OURS) and command[0] != _KERNEL:
            process = self._machine.start(pod.name, item["spec"], projected(self._machine.plane, item))
            ended = self.of(pod) / f"{container}.json"
            threading.Thread(target=_ends_with, args=(process, ended), daemon=True).start()

    def end(self, pod: Pod) -> None:
        """End all containers of a pod."""
        self._machine.stop(pod.name)
        super().end(pod)


def _ends_with(process: subprocess.Popen[str], file: Path) -> None:
    process.wait()
    file.unlink(missing_ok=True)


def projected(plane: ControlPlane, pod: Any) -> dict[str, bytes]:
    """Give the files of a pod's projected volume as its kubelet fetches them; none where it has no such volume."""
    files: dict[str, bytes] = {}
    namespace = pod["metadata"]["namespace"]
    sources = [each for volume in pod["spec"]["volumes"] for each in volume.get("projected", {}).get("sources", ())]
    for source in sources:
        match source:
            case {"serviceAccountToken": {"path": path, "expirationSeconds": seconds}}:
                files[path] = accounts.mounted_token(plane, pod, seconds)["token"].encode()
            case {"configMap": {"name": name, "items": items}}:
                data = plane.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}")["data"]
                files |= {item["path"]: data[item["key"]].encode() for item in items}
            case {"downwardAPI": {"items": [{"path": path, "fieldRef": {"fieldPath": "metadata.namespace"}}]}}:
                files[path] = namespace.encode()
            case _:
                raise AssertionError(source)
    return files
