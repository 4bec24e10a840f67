"""Figures on the simulated kernel: from apply to Ready and to allocatable, API writes an object, memory.

Every program is the real one, as processes; the API server and the stand-in kubelet run here, so that they can count.
Prints a table, and with `--json FILE` writes the same as JSON. A figure is no test: nothing here fails for being slow.
"""

import argparse
import asyncio
import dataclasses
import json
import platform
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import aiohttp

from node import RESOURCE, manifest, staged
from subfunction_simulator.apiserver.server import ApiServer
from subfunction_simulator.demo.cluster import SUB_FUNCTIONS, Cluster, condition
from subfunction_simulator.demo.processes import Processes
from subfunction_simulator.kubelet.kubelet import Kubelet

WRITES = ("create", "update", "patch", "delete")


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """What one run of `objects` SubFunctions took; seconds, requests, MiB."""

    objects: int
    ready: float
    allocatable: float
    gone: float
    writes: dict[str, float]
    agent_mib: float
    plugin_mib: float


async def measured(objects: int) -> Figures:
    """Make, offer and remove `objects` sub-functions of one parent, on a node of its own."""
    async with ApiServer() as server, staged() as (stage, processes):
        stage.kubeconfig.write_text(server.kubeconfig(), encoding="utf-8")
        kubelet = Kubelet(stage.kubelet)
        await kubelet.start()
        try:
            await processes.start("agent", stage.agent_command())
            await processes.start("device plugin", stage.plugin_command())
            async with aiohttp.ClientSession() as session:
                return await _run(objects, server, Cluster(session, server.url), kubelet, processes)
        finally:
            await kubelet.stop()


async def _run(objects: int, server: ApiServer, cluster: Cluster, kubelet: Kubelet, processes: Processes) -> Figures:
    ready: set[str] = set()
    gone: set[str] = set()

    async def follow() -> None:
        async for kind, item in cluster.watch(SUB_FUNCTIONS):
            name = item["metadata"]["name"]
            if kind == "DELETED":
                gone.add(name)
            elif condition(item, "Ready").get("status") == "True":
                ready.add(name)

    async with asyncio.TaskGroup() as group:
        follower = group.create_task(follow())
        # The programs' own start is not what is measured: their watches are open first.
        await until(lambda: len(server.traffic.streams) >= 2, "the agent watches", processes)
        await asyncio.sleep(0.5)
        before = Counter(server.traffic.counts)
        began = time.perf_counter()
        names = [f"bench-{index:04}" for index in range(objects)]
        for name in names:
            refusal = await cluster.apply(SUB_FUNCTIONS, manifest(name))
            if refusal is not None:
                raise SystemExit(refusal.message)
        made = len(names)
        await until(lambda: len(ready) == made, "all are Ready", processes)
        ready_after = time.perf_counter() - began
        await until(lambda: kubelet.allocatable().get(RESOURCE) == made, "all are allocatable", processes)
        allocatable_after = time.perf_counter() - began
        await asyncio.sleep(1)
        writes = writes_of(server.traffic.counts - before, made)
        memory = {name: processes.memory(name) for name in ("agent", "device plugin")}
        began = time.perf_counter()
        for name in names:
            await cluster.delete(SUB_FUNCTIONS, name)
        await until(lambda: len(gone) == made, "all are gone", processes)
        gone_after = time.perf_counter() - began
        follower.cancel()
    return Figures(
        objects, ready_after, allocatable_after, gone_after, writes, memory["agent"], memory["device plugin"]
    )


def writes_of(counts: Counter[tuple[str, str, str]], objects: int) -> dict[str, float]:
    """Count the agent's writes an object: our own creations are not among them."""
    counts = counts - Counter({("create", "subfunctions", ""): objects})
    return {
        "/".join(part for part in (resource, subresource) if part): number / objects
        for (verb, resource, subresource), number in sorted(counts.items())
        if verb in WRITES
    }


async def until(so: Callable[[], bool], what: str, processes: Processes, seconds: float = 300) -> None:
    """Wait until something is so; look every 2 ms, which is the error of each figure."""
    deadline = time.perf_counter() + seconds
    while not so():
        processes.check()
        if time.perf_counter() > deadline:
            raise SystemExit(f"waited {seconds:g} s in vain until {what}")
        await asyncio.sleep(0.002)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 100], help="how many SubFunctions, one run each")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    print(f"simulated kernel, {platform.python_implementation()} {platform.python_version()}, {platform.machine()}")
    print("objects   Ready s   allocatable s   gone s   agent MiB   plugin MiB   API writes an object")
    every = []
    for objects in options.objects:
        figures = asyncio.run(measured(objects))
        every.append(dataclasses.asdict(figures))
        writes = ", ".join(f"{name} {number:.2f}" for name, number in figures.writes.items())
        print(
            f"{figures.objects:7}   {figures.ready:7.2f}   {figures.allocatable:13.2f}   {figures.gone:6.2f}"
            f"   {figures.agent_mib:9.0f}   {figures.plugin_mib:10.0f}   {writes}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
