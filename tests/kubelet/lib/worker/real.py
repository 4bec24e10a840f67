"""A whole node of real programs: etcd, API server, kubelet, containerd, and containers that really run."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from components import binaries
from components.controlplane import ControlPlane
from harness.wait import until
from subfunction_simulator.apiserver.client import Client
from worker.enclosure import Enclosure, enclosed
from worker.kubelet import Kubelet
from worker.runtime import Runtime
from worker.sight import Sight


class RealNode:
    """The programs of one run, shared by its tests."""

    def __init__(self, plane: ControlPlane, enclosure: Enclosure, runtime: Runtime) -> None:
        self.plane = plane
        self.runtime = runtime
        self.kubeconfig = enclosure.run / "kubeconfig"
        self.kubeconfig.write_text(plane.kubeconfig())
        self.kubelet = Kubelet(enclosure, binaries.build().kubelet, runtime.socket, self.kubeconfig)

    def wait(self) -> None:
        """Wait until the Node is ready for pods."""

        def ready() -> bool:
            nodes = self.plane.request("GET", "/api/v1/nodes")["items"]
            conditions = [each for node in nodes for each in node["status"].get("conditions", ())]
            return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)

        self.kubelet.until_ready()
        until(ready, bool, 60)


@contextlib.contextmanager
def real_node() -> Iterator[RealNode]:
    """Start everything; nothing of it is left afterwards."""
    with ControlPlane(binaries.build()) as plane, enclosed() as enclosure:
        plane.install()
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        plane.request("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        runtime = Runtime(enclosure)
        try:
            runtime.prepare()
            node = RealNode(plane, enclosure, runtime)
            node.kubelet.start()
            try:
                node.wait()
                yield node
            finally:
                node.kubelet.stop()
        finally:
            runtime.end()


class RealWorker:
    """The real node as a test has it."""

    def __init__(self, node: RealNode, api: Client) -> None:
        self.root = node.kubelet.root
        self.kubeconfig = node.kubeconfig
        self.api = api
        self._node = node

    async def start_kubelet(self) -> None:
        """Start the kubelet."""
        await asyncio.to_thread(self._node.kubelet.start)

    async def stop_kubelet(self) -> None:
        """End the kubelet."""
        await asyncio.to_thread(self._node.kubelet.stop)

    async def kill_container(self, pod: Any, container: str) -> None:
        """Kill a container's process."""
        statuses = [*pod["status"].get("initContainerStatuses", ()), *pod["status"]["containerStatuses"]]
        [wanted] = [each["containerID"] for each in statuses if each["name"] == container]
        await asyncio.to_thread(self._node.runtime.kill, wanted.removeprefix("containerd://"))

    def sight(self, pod: Any, container: str, start: int) -> Sight | None:
        """Read a container's log."""
        metadata = pod["metadata"]
        folder = f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"
        log = self._node.kubelet.logs / folder / container / f"{start}.log"
        return Sight.of_log(log.read_text()) if log.exists() else None
