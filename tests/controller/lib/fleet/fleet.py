"""A cluster of nodes on an API server, the controller in this process, and agents that do as they are told."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from fleet.model import OTHER, PARENT, parent
from rig.cluster import COLLECTION, Cluster
from subfunction.api.node import NodeStatus
from subfunction.api.pool import SubFunctionPool
from subfunction.api.subfunction import FINALIZER, SubFunction
from subfunction_operator.controller import main
from subfunction_operator.controller.settings import ControllerSettings
from subfunction_operator.kube.credentials import Credentials
from subfunction_simulator.kernel import Topology

GROUP: Final = "/apis/subfunction.dev/v1alpha1"
POOLS: Final = f"{GROUP}/subfunctionpools"
NODES: Final = "/api/v1/nodes"
MERGE: Final = "application/merge-patch+json"
NOW: Final = "2026-11-22T10:00:00Z"


class Fleet(Cluster):
    """Nodes without machines; `async with` it, then `start_controller`."""

    def __init__(self, root: Path, topology: Topology | None = None, *, token: str | None = None) -> None:
        super().__init__(root, topology, token=token)
        self._controllers: list[asyncio.Task[None]] = []
        self._agents: asyncio.Task[None] | None = None
        self.faithful: set[str] | None = None
        """The nodes whose agents work; None: all."""
        self.in_use: set[str] = set()
        """The names of the sub-functions that a pod holds."""
        self.broken: set[str] = set()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._stack.push_async_callback(self.stop_all)
        return self

    async def stop_all(self) -> None:
        if self._agents is not None:
            await cancelled(self._agents)
        for task in self._controllers:
            await cancelled(task)

    # --- the controller ---

    def controller_settings(self, **changes: Any) -> ControllerSettings:
        # Quick, but for the Lease: on a loaded machine a renewal may take a while.
        quick: dict[str, Any] = {"lease_retry": 0.1, "gone_grace": 0.2, "status_interval": 0.05}
        return ControllerSettings(**{"kubeconfig": self.kubeconfig, "lease_namespace": "default", **quick, **changes})

    def start_controller(self, *, identity: str = "one", **changes: Any) -> asyncio.Task[None]:
        """Start the whole program, Lease and all."""
        return self._started(main.run(self.controller_settings(identity=identity, **changes)))

    def start_work(self, *, identity: str = "one", **changes: Any) -> asyncio.Task[None]:
        """Start what a controller does while it has the Lease."""
        return self._started(self._work(identity, self.controller_settings(**changes)))

    async def _work(self, identity: str, settings: ControllerSettings) -> None:
        credentials = await Credentials.load(self.kubeconfig, client="subfunction-controller")
        await main.work(settings, credentials, lambda: True, identity, main.Telemetry())

    def _started(self, job: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(job)
        self._controllers.append(task)
        return task

    def agent_lives(self) -> None:
        super().agent_lives()
        self.controllers_live()

    # --- nodes ---

    async def add_node(
        self, name: str = "n1", *, labels: dict[str, str] | None = None, status: NodeStatus | None = None
    ) -> None:
        """Let a node join, and its agent say what it can do: two parents with room for four."""
        await self.add_machine(name, {"nic": "yes"} if labels is None else labels)
        await self.tell(name, status or NodeStatus(parents=(parent(PARENT), parent(OTHER))))

    async def add_machine(self, name: str, labels: dict[str, str]) -> None:
        """Let a node join whose agent has said nothing yet."""
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": NOW, "lastTransitionTime": NOW}
        metadata = {"name": name, "labels": labels}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"conditions": [ready]}}
        await self.request("POST", NODES, body)

    async def tell(self, name: str, status: NodeStatus) -> None:
        """Let a node's agent say what it can do."""
        path = f"{GROUP}/subfunctionnodes"
        async with self.session.get(f"{self.server.url}{path}/{name}") as answer:
            is_new = answer.status == 404
        if is_new:
            head = {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunctionNode", "metadata": {"name": name}}
            await self.request("POST", path, head)
        await self.request("PATCH", f"{path}/{name}/status", {"status": msgspec.to_builtins(status)}, MERGE)

    async def change_node(self, name: str, body: Any, below: str = "") -> None:
        await self.request("PATCH", f"{NODES}/{name}{below}", body, MERGE)

    async def remove_node(self, name: str = "n1") -> None:
        """Delete a Node, and what the garbage collector would with it."""
        await self.request("DELETE", f"{NODES}/{name}")
        await self.request("DELETE", f"{GROUP}/subfunctionnodes/{name}")

    # --- pools ---

    async def apply_pool(self, name: str = "fast", **spec: Any) -> SubFunctionPool:
        body = {
            "apiVersion": "subfunction.dev/v1alpha1",
            "kind": "SubFunctionPool",
            "metadata": {"name": name},
            "spec": {"template": {"spec": {"flavour": "mlx5"}}, **spec},
        }
        return SubFunctionPool.of(await self.request("POST", POOLS, body))

    async def change_pool(self, name: str = "fast", **spec: Any) -> SubFunctionPool:
        return SubFunctionPool.of(await self.request("PATCH", f"{POOLS}/{name}", {"spec": spec}, MERGE))

    async def scale(self, replicas: int, name: str = "fast") -> None:
        await self.request("PATCH", f"{POOLS}/{name}/scale", {"spec": {"replicas": replicas}}, MERGE)

    async def pool(self, name: str = "fast") -> SubFunctionPool:
        return SubFunctionPool.of(await self.request("GET", f"{POOLS}/{name}"))

    async def until_pool(
        self, good: Callable[[SubFunctionPool], bool], name: str = "fast", *, within: float = 15.0
    ) -> SubFunctionPool:
        deadline = time.monotonic() + within
        while not good(found := await self.pool(name)):
            self.controllers_live()
            assert time.monotonic() < deadline, f"not within {within} s; the last seen: {found}"
            await asyncio.sleep(0.02)
        return found

    async def until_settled(self, name: str = "fast", *, within: float = 15.0) -> SubFunctionPool:
        """Wait until all that should be is there, as the template says, and told."""
        return await self.until_pool(settled, name, within=within)

    # --- sub-functions ---

    async def all(self) -> dict[str, SubFunction]:
        found = await self.request("GET", COLLECTION)
        return {item["metadata"]["name"]: SubFunction.of(item) for item in found["items"]}

    async def until_all(
        self, good: Callable[[dict[str, SubFunction]], bool], *, within: float = 15.0
    ) -> dict[str, SubFunction]:
        deadline = time.monotonic() + within
        while not good(found := await self.all()):
            self.controllers_live()
            assert time.monotonic() < deadline, f"not within {within} s; the last seen: {found}"
            await asyncio.sleep(0.02)
        return found

    async def until_quiet(self, seconds: float = 0.6) -> None:
        """Wait until nothing has been written for a while."""
        last, since = self.server.writes(), time.monotonic()
        while time.monotonic() - since < seconds:
            await asyncio.sleep(0.05)
            if (now := self.server.writes()) != last:
                last, since = now, time.monotonic()

    def controllers_live(self) -> None:
        for task in self._controllers:
            if task.done() and not task.cancelled():
                task.result()

    # --- agents ---

    def start_agents(self) -> None:
        self._agents = asyncio.create_task(self._act())

    async def _act(self) -> None:
        while True:
            with contextlib.suppress(OSError, AssertionError, TimeoutError):
                for found in (await self.all()).values():
                    if found.spec.node_name and (self.faithful is None or found.spec.node_name in self.faithful):
                        await self._served(found)
            await asyncio.sleep(0.02)

    async def _served(self, found: SubFunction) -> None:
        path = f"{COLLECTION}/{found.name}"
        held_by_pod = found.name in self.in_use
        if found.deleting and found.has_finalizer and not held_by_pod:
            await self._patch(path, {"metadata": {"finalizers": None}})
            return
        if not found.has_finalizer and not found.deleting:
            await self._patch(path, {"metadata": {"finalizers": [FINALIZER]}})
        good = not found.deleting and found.name not in self.broken
        said = {"Placed": True, "Ready": good, "InUse": held_by_pod}
        status = {
            "observedGeneration": found.metadata.generation,
            "phase": "Ready" if good else "Failed" if found.name in self.broken else "Draining",
            "parent": found.spec.parent.device,
            "conditions": [
                {
                    "type": kind,
                    "status": str(true),
                    "reason": kind if true else "ProbeFailed",
                    "message": "",
                    "lastTransitionTime": NOW,
                }
                for kind, true in said.items()
            ],
        }
        known = {each.type: each.status for each in found.status.conditions}
        if known != {kind: str(true) for kind, true in said.items()} or (
            found.status.observed_generation != found.metadata.generation
        ):
            await self._patch(f"{path}/status", {"status": status})

    async def _patch(self, path: str, body: Any) -> None:
        data = msgspec.json.encode(body)
        async with self.session.patch(f"{self.server.url}{path}", data=data, headers={"Content-Type": MERGE}) as answer:
            await answer.read()


def settled(found: SubFunctionPool) -> bool:
    status = found.status
    counts = {status.desired, status.current, status.ready, status.updated}
    return status.observed_generation == found.metadata.generation and len(counts) == 1 and bool(status.conditions)


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
