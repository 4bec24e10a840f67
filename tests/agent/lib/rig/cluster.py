"""An agent before an API server, on a simulated kernel: the whole program in this process, the world in a thread."""

import asyncio
import contextlib
import dataclasses
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import aiohttp
import msgspec

from components import roles, under_test
from rig.patience import Patience
from rig.waiting import eventually
from subfunction.api.conditions import ConditionType
from subfunction.api.subfunction import FINALIZER, SubFunction
from subfunction.kubelet.checkpoint import UID_VARIABLE
from subfunction.kubelet.deviceplugin_pb2 import ContainerAllocateResponse, Device
from subfunction.process.metrics import AgentMetrics
from subfunction.state.ledger import LedgerEntry, open_ledger
from subfunction.state.records import Record, open_records
from subfunction.state.resource_names import open_resource_names
from subfunction_operator.agent import main, wiring
from subfunction_operator.agent.agent import Agent
from subfunction_operator.agent.api.client import SubFunctionClient as ApiClient
from subfunction_operator.agent.model.hooks import LoggingHooks, StepHooks
from subfunction_operator.agent.offer.artifact_store import ArtifactStore
from subfunction_operator.agent.settings import Settings
from subfunction_simulator.apiserver.traffic import Asked
from subfunction_simulator.kernel import SimulatedKernel, Timing, Topology
from subfunction_simulator.kernel.server import running
from subfunction_simulator.kubelet.kubelet import Kubelet
from subfunction_simulator.kubelet.pods import Pod

NODE: Final = "worker-1"
COLLECTION: Final = "/apis/subfunction.dev/v1alpha1/subfunctions"
WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})

GRANTED: Final = {
    client: {(verb, resource) for verb, _, resource in roles.granted(*files)}
    for client, files in {"subfunction-agent": roles.AGENT, "subfunction-controller": roles.CONTROLLER}.items()
}
"""What the chart lets each program ask."""

T = TypeVar("T")


class Server:
    """The API server in a loop and thread of its own, so that nothing of the agent's can hold it up.

    The embedded one, or, behind a relay, a real one: `components.under_test` says which.
    """

    def __init__(self, *, token: str | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._kernels: list[contextlib.AbstractAsyncContextManager[Path]] = []
        self._counting: Future[None] | None = None
        self.most_connections = 0
        self._thread = threading.Thread(target=self._loop.run_forever, name="api-server", daemon=True)
        self._thread.start()
        self.api = under_test.server(token=token, bookmark_seconds=5.0)
        self._run(self.api.start())

    def _run(self, job: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(10)

    def serve(self, kernel: SimulatedKernel) -> Path:
        """Serve a kernel from here too: who asks it may stand still meanwhile."""
        context = running(kernel)
        path = self._run(context.__aenter__())  # entered in another loop than this one
        self._kernels.append(context)
        return path

    def count_connections(self) -> None:
        """Keep the greatest number of connections that are open at once."""

        async def counting() -> None:
            while True:
                runner = self.api._runner
                if runner is not None and runner.server is not None:
                    self.most_connections = max(self.most_connections, len(runner.server.connections))
                await asyncio.sleep(0.002)

        self._counting = asyncio.run_coroutine_threadsafe(counting(), self._loop)

    def call(self, job: Callable[[], T]) -> T:
        """Do something in the server's own thread."""

        async def called() -> T:
            return job()

        return self._run(called())

    @property
    def url(self) -> str:
        return self.api.url

    def stop(self) -> None:
        self._run(self.api.stop())

    def start(self) -> None:
        self._run(self.api.start())

    def restart(self) -> None:
        """End it and start it anew over what it stored (a real one takes seconds): it remembers no old revision."""
        asyncio.run_coroutine_threadsafe(under_test.restart(self.api), self._loop).result(60)

    def close(self) -> None:
        asked = self.call(lambda: frozenset(self.api.traffic.clients))
        if self._counting is not None:
            self._counting.cancel()
        self.stop()
        for context in self._kernels:
            self._run(context.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
        assert beyond_their_roles(asked) == set(), "the chart's roles lack this"

    def writes(self, resource: str = "subfunctions") -> dict[tuple[str, str], int]:
        """Count the writes of all clients, by verb and subresource."""
        counts = self.call(lambda: Counter(self.api.traffic.counts))
        return {(verb, sub): n for (verb, kind, sub), n in counts.items() if kind == resource and verb in WRITES}

    def asked(self, verb: str, resource: str = "subfunctions") -> list[Asked]:
        requests = self.call(lambda: list(self.api.traffic.requests))
        return [asked for asked in requests if (asked.verb, asked.resource) == (verb, resource)]


def beyond_their_roles(asked: Iterable[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """What our programs asked and the chart's roles do not grant; paths are open to all."""
    return {
        (client, verb, resource)
        for client, verb, resource in asked
        if client in GRANTED and not resource.startswith("/") and (verb, resource) not in GRANTED[client]
    }


class Cluster:
    """One node's worth of everything; `async with` it, then `start_agent`."""

    def __init__(self, root: Path, topology: Topology | None = None, *, token: str | None = None) -> None:
        self.root = root
        self._token = token
        (root / "kernel").mkdir()
        self.kernel = SimulatedKernel(root / "kernel", topology, Timing(attach=0.002, detach=0.002, in_seconds=True))
        self.server = Server(token=token)
        self.records = open_records(root / "devices")
        self.ledger = open_ledger(root / "allocations")
        self.resources = open_resource_names(root / "state")
        self.papers = ArtifactStore(root / "cdi", root / "devinfo" / "dp")
        self.kubelet = Kubelet(root / "kubelet")
        self._stack = contextlib.AsyncExitStack()
        self._agent: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._stack.callback(self.server.close)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        connector = aiohttp.TCPConnector(limit=1)  # so that the agent's own can be told from it
        self.session = await self._stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, headers=headers)
        )
        self.netlink = self.server.serve(self.kernel)
        await self.kubelet.start()
        self._stack.push_async_callback(self.kubelet.stop)
        self._stack.push_async_callback(self.stop_agent)
        self.kubeconfig = self.root / "kubeconfig"
        self.kubeconfig.write_text(self.server.api.kubeconfig())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # --- the agent ---

    def settings(self, **changes: Any) -> Settings:
        given: dict[str, Any] = {
            "node_name": NODE,
            "kubeconfig": self.kubeconfig,
            "records": self.records.path,
            "ledger": self.ledger.path,
            "state": self.resources.path,
            "kubelet_root": self.root / "kubelet",
            "kubelet_folder": self.kubelet.folder,
            "sysfs": self.root / "kernel" / "sys",
            "netlink": str(self.netlink),
            "boot_id": self.root / "kernel" / "boot_id",
            "cdi_folder": self.papers.cdi,
            "device_info_folder": self.papers.device_info,
            "usage_interval": 0.05,
            "resource_domains": ("subfunction.dev", "example.com"),
            **changes,
        }
        return Settings(**given)

    def command(self, **changes: Any) -> list[str]:
        """Give the command line that starts the agent as a program, every setting told."""
        settings = self.settings(**changes)
        told = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
        flags = [
            f"--{name.replace('_', '-')}={each}"
            for name, value in told.items()
            for each in (value if isinstance(value, tuple) else (value,))
            if each is not None
        ]
        return [sys.executable, "-m", "subfunction_operator", "agent", *flags]

    def start_agent(self, hooks: StepHooks | None = None, **changes: Any) -> None:
        self._agent = asyncio.create_task(main.run(self.settings(**changes), hooks))

    async def stop_agent(self) -> None:
        task, self._agent = self._agent, None
        if task is None:
            return
        assert not task.done() or task.exception() is None, f"the agent ended: {task.exception()}"
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def agent_ends(self) -> None:
        """Wait for the agent to end by itself, and raise what ended it."""
        task, self._agent = self._agent, None
        assert task is not None
        await asyncio.wait_for(task, 10)

    def bare_agent(self) -> Agent:
        """Give the agent's core alone, with nothing that wakes it."""
        settings = self.settings()
        server = ApiClient(self.session, self.server.url, NODE)
        return wiring.build_agent(settings, server, LoggingHooks(), AgentMetrics())

    # --- people ---

    async def request(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        data = None if body is None else msgspec.json.encode(body)
        async with self.session.request(
            method, f"{self.server.url}{path}", data=data, headers={"Content-Type": kind}
        ) as response:
            answer = await response.json()
            assert response.status < 300, answer
            return answer

    async def apply(self, name: str = "blue", **spec: Any) -> SubFunction:
        given = {"nodeName": NODE, "flavour": "mlx5", "parent": {"device": "pci/0000:03:00.0"}, **spec}
        body = {
            "apiVersion": "subfunction.dev/v1alpha1",
            "kind": "SubFunction",
            "metadata": {"name": name},
            "spec": given,
        }
        return SubFunction.of(await self.request("POST", COLLECTION, body))

    async def change(self, name: str = "blue", **spec: Any) -> SubFunction:
        return await self.patch(name, {"spec": spec})

    async def patch(self, name: str, body: Any) -> SubFunction:
        merge = "application/merge-patch+json"
        return SubFunction.of(await self.request("PATCH", f"{COLLECTION}/{name}", body, merge))

    async def delete(self, name: str = "blue") -> None:
        await self.request("DELETE", f"{COLLECTION}/{name}")

    async def get(self, name: str = "blue") -> SubFunction | None:
        async with self.session.get(f"{self.server.url}{COLLECTION}/{name}") as response:
            return SubFunction.of(await response.json()) if response.status == 200 else None

    async def events(self, name: str = "blue") -> list[tuple[str, str, str]]:
        found = await self.request("GET", "/api/v1/namespaces/default/events")
        return [
            (event["type"], event["reason"], event["message"])
            for event in found["items"]
            if event["involvedObject"]["name"] == name
        ]

    async def until_events(self, name: str = "blue", *, within: float = 30.0) -> list[tuple[str, str, str]]:
        """Give the Events of an object once there is one: it is posted after the status."""
        patience = Patience(within)
        while not (found := await self.events(name)):
            assert not patience.spent(), f"no Event about {name} within {patience.told()}"
            await asyncio.sleep(0.01)
        return found

    async def force_gone(self, name: str = "blue") -> None:
        """Delete an object and take every finalizer off, as a person in a hurry does."""
        await self.delete(name)
        # The agent may let go of it first.
        merge = {"Content-Type": "application/merge-patch+json"}
        body = b'{"metadata": {"finalizers": null}}'
        async with self.session.patch(f"{self.server.url}{COLLECTION}/{name}", data=body, headers=merge) as answer:
            assert answer.status in (200, 404), await answer.text()

    # --- waiting ---

    async def until(self, condition: Callable[[], bool], what: str, *, within: float = 30.0) -> None:
        def reached() -> bool:
            self.agent_lives()
            return condition()

        await eventually(reached, what, within=within)

    def agent_lives(self) -> None:
        if self._agent is not None and self._agent.done():
            self._agent.result()

    async def until_object(
        self, good: Callable[[SubFunction], bool], name: str = "blue", *, within: float = 30.0
    ) -> SubFunction:
        patience = Patience(within)
        while True:
            found = await self.get(name)
            if found is not None and good(found):
                return found
            self.agent_lives()
            assert not patience.spent(), f"not within {patience.told()}; the last seen: {found}"
            await asyncio.sleep(0.01)

    async def until_ready(self, name: str = "blue", *, within: float = 30.0) -> SubFunction:
        return await self.until_object(is_ready, name, within=within)

    async def until_gone(self, name: str = "blue", *, within: float = 30.0) -> None:
        patience = Patience(within)
        while await self.get(name) is not None:
            self.agent_lives()
            assert not patience.spent(), f"{name} is still there after {patience.told()}: {await self.get(name)}"
            await asyncio.sleep(0.01)

    def numbers(self, device: str = "0000:03:00.0") -> list[int]:
        nic = next(nic for handle, nic in self.kernel.hardware.instances.items() if handle.device == device)
        return sorted(port.sub_function.number for port in list(nic.ports.values()) if port.sub_function is not None)

    # --- pods ---

    def give(self, pod: Pod, record: Record) -> None:
        """Let the kubelet have given a device to a pod's first container."""
        self.kubelet.pods[pod.uid] = pod
        answer = ContainerAllocateResponse(envs={UID_VARIABLE: record.uid})
        self.kubelet.table.replace(record.resource, [Device(ID=record.device_id, health="Healthy")])
        self.kubelet.table.record(pod.uid, pod.containers[0].name, record.resource, [record.device_id], answer)
        self.kubelet._write()

    def take_back(self, pod: Pod) -> None:
        """Let the pod have ended, and the kubelet know of it."""
        self.kubelet.remove(pod.uid)
        self.kubelet.table.forget_pods_but(each.uid for each in self.kubelet.active_pods())
        self.kubelet._write()

    def hand_out(self, record: Record) -> None:
        self.ledger.write(
            record.uid,
            LedgerEntry(uid=record.uid, resource=record.resource, device_id=record.device_id, at=time.time()),
        )


def is_ready(found: SubFunction) -> bool:
    return says(found, ConditionType.READY) == ("True", "Ready")


def says(found: SubFunction, kind: ConditionType) -> tuple[str, str] | None:
    """Give status and reason of a condition."""
    condition = found.status.condition(kind)
    return None if condition is None else (condition.status, str(condition.reason))


def held(found: SubFunction) -> bool:
    return FINALIZER in found.metadata.finalizers


@contextlib.asynccontextmanager
async def cluster(root: Path, topology: Topology | None = None) -> AsyncIterator[Cluster]:
    async with Cluster(root, topology) as made:
        yield made


async def quiet(node: Cluster, seconds: float = 0.25) -> None:
    """Let pass what would be a write if there were one to come."""
    await asyncio.sleep(seconds)
    node.agent_lives()
