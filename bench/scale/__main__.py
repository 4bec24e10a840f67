"""What a node costs as the cluster grows: the real agent on one node, a crowd of others, the real API server.

For each size: the real programs of one node start, the store is filled with the objects of the others, the crowd opens
its watches and makes some objects more, and then the one node gets its sub-functions, is left in peace beside changes
elsewhere, and its agent starts anew. By hand: 1,000 nodes take some minutes and 10 GB.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

from components.controlplane import ADMIN, ControlPlane
from node import RESOURCE, staged
from scale.cluster import Cluster, session_with
from scale.crowd import node_name
from scale.meter import Count, Meter
from scale.server import Load, Server, metered
from scale.store import Store
from subfunction_simulator.demo.processes import NODE, Processes, Stage

_CHANGES_A_SECOND: Final = 50
_LISTS: Final = 50
_SAMPLE: Final = 1000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One size. Of the one real node but where the name says `server` or `all`; seconds, KiB, MiB."""

    nodes: int
    objects: int
    sample_seconds: float
    """From the first of a thousand objects of other nodes (or of all, if fewer) to the last one's status."""
    sample_kib: float
    """What reached the node meanwhile."""
    ready_seconds: float
    allocatable_seconds: float
    ready_requests: float
    """From the first of its own objects to the last that is allocatable."""
    ready_kib: float
    """Both ways, meanwhile."""
    agent_seconds: float
    agent_mib: float
    peace_requests_a_minute: float
    peace_kib_a_minute: float
    """Both ways, while objects of other nodes change."""
    peace_seconds_a_minute: float
    restart_seconds: float
    """From the agent's start to the end of its first look at all."""
    restart_requests: float
    restart_kib: float
    list_milliseconds: float
    """A LIST of one node's objects, as the server answers it."""
    server_list_seconds: float
    server_seconds_an_object: float
    """Of the API server and etcd, for the four writes of an object's making."""
    server_seconds_a_change: float
    """Of both, for one write to an object, and for telling the one node's watch that it is of."""
    lists_refused: int
    """How many LISTs of other nodes the server could not answer, as they came up."""
    server_mib: float
    store_mib: float
    stored_mib: float


async def measured(nodes: int, objects: int) -> Row:
    """Measure one size on a control plane of its own."""
    async with contextlib.AsyncExitStack() as held:
        plane = held.enter_context(ControlPlane())
        await asyncio.to_thread(plane.install)
        meter = await held.enter_async_context(Meter(int(plane.url.rpartition(":")[2])))
        session = await held.enter_async_context(session_with(plane))
        cluster = Cluster(session, plane.url)
        listen = f"127.0.0.1:{_free_port()}"
        stage, processes = await held.enter_async_context(_node(plane, meter, listen))
        return await _Run(
            nodes,
            objects,
            plane,
            meter,
            cluster,
            f"http://{listen}",
            stage,
            processes,
            held,
            {"watching": 0, "ready": 0},
        ).row()


@dataclasses.dataclass(frozen=True, slots=True)
class _Spent:
    requests: float
    kib: float
    seconds: float

    def since(self, earlier: "_Spent") -> "_Spent":
        return _Spent(self.requests - earlier.requests, self.kib - earlier.kib, self.seconds - earlier.seconds)


@dataclasses.dataclass(frozen=True, slots=True)
class _Run:
    nodes: int
    objects: int
    plane: ControlPlane
    meter: Meter
    cluster: Cluster
    agent: str
    stage: Stage
    processes: Processes
    held: contextlib.AsyncExitStack
    crowd: dict[str, int]
    """What the crowd said last of how far it is."""

    async def row(self) -> Row:
        server = Server(self.cluster.session, self.plane.url, self.plane.store_url)
        pattern = await self._a_real_object()
        names = [node_name(number) for number in range(1, self.nodes)]
        others = [(f"sf-{slot:03}-{name}", name) for slot in range(self.objects) for name in names]
        sample = others[:_SAMPLE]
        # Filled under its eyes, the server reads each object twice, and keeps all as news of the last minutes.
        await asyncio.to_thread(self.plane.stop_server)
        await Store(self.cluster.session, self.plane.store_url).fill(pattern, others[_SAMPLE:])
        await asyncio.to_thread(self.plane.start_server)
        await self.cluster.until_listed()
        await self._start_crowd(pattern["status"])
        empty, before, began = await server.load(), await self._spent(), time.perf_counter()
        await self.cluster.fill(sample)
        await self._until(lambda: self.crowd["ready"] >= len(sample), f"{len(sample)} objects have a status")
        sample_seconds, full = time.perf_counter() - began, await server.load()
        sampled = (await self._spent()).since(before)

        before, began = await self._spent(), time.perf_counter()
        await self.cluster.fill([(f"mine-{slot:03}", NODE) for slot in range(self.objects)])
        await self._until_ready()
        ready = time.perf_counter() - began
        await self._until_allocatable(self.objects)
        allocatable, made = time.perf_counter() - began, (await self._spent()).since(before)
        mib = self.processes.memory("agent")

        quiet, before = await server.load(), await self._spent()
        changes = await self._changed_elsewhere([name for name, _ in others[:: max(1, len(others) // 500)]])
        peace, changed = (await self._spent()).since(before), await server.load()
        restart, restarted = await self._restarted()
        listing, server_list = await self._listed(server)
        last = await server.load()
        return Row(
            nodes=self.nodes,
            objects=self.objects,
            sample_seconds=sample_seconds,
            sample_kib=sampled.kib,
            ready_seconds=ready,
            allocatable_seconds=allocatable,
            ready_requests=made.requests,
            ready_kib=made.kib,
            agent_seconds=made.seconds,
            agent_mib=mib,
            peace_requests_a_minute=peace.requests,
            peace_kib_a_minute=peace.kib,
            peace_seconds_a_minute=peace.seconds,
            restart_seconds=restart,
            restart_requests=restarted.requests,
            restart_kib=restarted.kib,
            list_milliseconds=listing * 1000,
            server_list_seconds=server_list,
            server_seconds_an_object=_used(empty, full) / max(1, len(sample)),
            server_seconds_a_change=_used(quiet, changed) / max(1, changes),
            lists_refused=self.crowd["refused"],
            server_mib=last.mib,
            store_mib=last.store_mib,
            stored_mib=last.stored_mib,
        )

    async def _spent(self) -> _Spent:
        """What the node's agent has asked and used since its start."""
        asked = await metered(self.cluster.session, self.agent, "subfunction_api_requests_total")
        return _Spent(asked, _kib(self.meter.count), self.processes.processor_seconds("agent"))

    async def _a_real_object(self) -> dict[str, Any]:
        """Have the agent make one, and give it as it is stored."""
        await self.cluster.fill([("pattern", NODE)])
        await self._until_ready()
        pattern = await Store(self.cluster.session, self.plane.store_url).read("pattern")
        await self.cluster.delete("pattern")
        await self._until_allocatable(0)
        return pattern

    async def _start_crowd(self, status: dict[str, Any]) -> None:
        path = self.stage.root / "status.json"
        path.write_text(json.dumps(status))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "scale.crowd", "--server", self.plane.url, "--authority", str(self.plane.authority),
            "--token", ADMIN, "--status", str(path), "--nodes", str(self.nodes - 1), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.held.callback(_ended, process)

        async def hear() -> None:
            assert process.stdout is not None
            async for line in process.stdout:
                self.crowd.update(json.loads(line))
            raise SystemExit(f"the crowd ended with {await process.wait()}; what it said stands above")

        hearing = asyncio.create_task(hear())
        self.held.callback(hearing.cancel)
        await self._until(lambda: self.crowd["watching"] == self.nodes - 1, "the crowd watches")

    async def _changed_elsewhere(self, names: list[str]) -> int:
        """Change objects of other nodes for a minute; give how often."""
        end, turn = time.perf_counter() + 60, 0
        while time.perf_counter() < end:
            if names:
                await self.cluster.annotate(names[turn % len(names)], str(turn))
                turn += 1
            await asyncio.sleep(1 / _CHANGES_A_SECOND)
        return turn

    async def _restarted(self) -> tuple[float, _Spent]:
        """Start the agent anew; it has looked at all when, connected again, it has been silent for two seconds."""
        await self.processes.restart("agent")
        passed, began = self.meter.count, time.perf_counter()
        last, still = passed, began
        while last.connections == passed.connections or time.perf_counter() - still < 2:
            self.processes.check()
            await asyncio.sleep(0.02)
            if (now := self.meter.count) != last:
                last, still = now, time.perf_counter()
        # The process is a new one, and the way to the server is not.
        since = await self._spent()
        return still - began, dataclasses.replace(since, kib=_kib(last) - _kib(passed))

    async def _listed(self, server: Server) -> tuple[float, float]:
        before, began = await server.load(), time.perf_counter()
        for _ in range(_LISTS):
            await self.cluster.list(NODE)
        took, after = (time.perf_counter() - began) / _LISTS, await server.load()
        return took, (after.seconds - before.seconds) / _LISTS

    async def _until_ready(self) -> None:
        while True:
            items = await self.cluster.list(NODE)
            conditions = [condition for item in items for condition in item.get("status", {}).get("conditions", ())]
            ready = sum(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
            if items and ready == len(items):
                return
            self.processes.check()
            await asyncio.sleep(0.1)

    async def _until_allocatable(self, number: int) -> None:
        while (await self.cluster.allocatable(NODE)).get(RESOURCE) != str(number):
            self.processes.check()
            await asyncio.sleep(0.05)

    async def _until(self, so: Callable[[], bool], what: str) -> None:
        told = time.perf_counter()
        while not so():
            self.processes.check()
            if time.perf_counter() - told > 60:
                print(f"  ... until {what}: {self.crowd}", file=sys.stderr, flush=True)
                told = time.perf_counter()
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def _node(plane: ControlPlane, meter: Meter, listen: str) -> AsyncIterator[tuple[Stage, Processes]]:
    """Run the real programs of one node; the agent's way to the API server, and no other's, leads through the meter."""
    async with staged() as (stage, processes):
        stage.kubeconfig.write_text(plane.kubeconfig(server=f"https://127.0.0.1:{meter.port}"), encoding="utf-8")
        direct = stage.root / "kubeconfig-kubelet"
        direct.write_text(plane.kubeconfig(), encoding="utf-8")
        await processes.start(
            "kubelet", [str(direct) if each == str(stage.kubeconfig) else each for each in stage.kubelet_command()]
        )
        # The demo's agent looks every second for who holds what; here it keeps to its defaults.
        ours = stage.agent_command()[: -len(("--usage-interval", "1", "--survey-interval", "1"))]
        await processes.start("agent", [*ours, "--listen", listen])
        await processes.start("device plugin", stage.plugin_command())
        yield stage, processes


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _ended(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _used(before: Load, after: Load) -> float:
    return after.seconds - before.seconds + after.store_seconds - before.store_seconds


def _kib(count: Count) -> float:
    return (count.to_server + count.from_server) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 1000], help="the sizes, one run each")
    parser.add_argument("--objects", type=int, default=128, help="how many SubFunctions on each node")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    # `timeout` and CI end a program so; what was started is ended in its order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows = []
    for nodes in options.nodes:
        row = dataclasses.asdict(asyncio.run(measured(nodes, options.objects)))
        rows.append(row)
        print(json.dumps({name: round(value, 4) for name, value in row.items()}), flush=True)
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
