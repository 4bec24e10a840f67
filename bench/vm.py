"""Figures on the real mlx5 driver in the VM: the agent, beside `devlink -b` doing the same by hand.

QEMU without KVM, and the firmware of the card is emulated there: each figure is large, and only their ratio says
something. The API server is on the host.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from harness.machine import HOST, Machine, Process
from harness.mlx5 import Mlx5
from harness.snapshot import build_snapshot
from harness.topology import MLX5
from node import RESOURCE, manifest
from subfunction_simulator.apiserver.server import ApiServer
from subfunction_simulator.demo.cluster import NODES, SUB_FUNCTIONS, Cluster, condition
from subfunction_simulator.demo.processes import NODE

PARENT = "pci/0000:05:00.0"
ROOM = 128
"""What the parent has room for."""
FIRST = 1
NO_MAC = "00:00:00:00:00:00"


async def by_agent(machine: Machine, objects: int) -> dict[str, float]:
    """Apply, wait until all are Ready and allocatable, delete, wait until all are gone."""
    async with ApiServer() as server:
        kubeconfig = server.kubeconfig().replace("127.0.0.1", HOST)
        await asyncio.to_thread((machine.place.share / "kubeconfig").write_text, kubeconfig)
        where = ["--kubeconfig", "/run/share/kubeconfig", "--node-name", NODE]
        programs: dict[str, tuple[str, list[str]]] = {
            "kubelet": ("subfunction_simulator", ["kubelet", "--root", "/var/lib/kubelet", *where]),
            "agent": ("subfunction_operator", ["agent", *where, "--usage-interval", "1"]),
            "plugin": ("subfunction_deviceplugin", ["--resend-wanted", "0.5"]),
        }
        processes = {
            name: await asyncio.to_thread(machine.spawn, module=module, args=args, name=name)
            for name, (module, args) in programs.items()
        }
        async with aiohttp.ClientSession() as session:
            figures = await _applied(Cluster(session, server.url), server, objects, machine, processes)
        for process in processes.values():
            await asyncio.to_thread(process.signal, 15)
            await asyncio.to_thread(process.wait)
    return figures


def resident(machine: Machine, process: Process) -> float:
    """Read a process's resident memory in MiB, of which a fork of the warm interpreter shares a part."""
    return int(machine.run(f"grep VmRSS /proc/{process.pid}/status").stdout.split()[1]) / 1024


async def _applied(
    cluster: Cluster, server: ApiServer, objects: int, machine: Machine, processes: dict[str, Process]
) -> dict[str, float]:
    ready: set[str] = set()
    gone: set[str] = set()
    offered: list[str | None] = [None]

    async def follow_objects() -> None:
        async for kind, item in cluster.watch(SUB_FUNCTIONS):
            if kind == "DELETED":
                gone.add(item["metadata"]["name"])
            elif condition(item, "Ready").get("status") == "True":
                ready.add(item["metadata"]["name"])

    async def follow_node() -> None:
        async for _, item in cluster.watch(NODES):
            offered[0] = item.get("status", {}).get("allocatable", {}).get(RESOURCE)

    followers = [asyncio.create_task(follow_objects()), asyncio.create_task(follow_node())]
    await until(lambda: len(server.traffic.streams) >= 4)
    await asyncio.sleep(2)
    began = time.perf_counter()
    for index in range(objects):
        await cluster.apply(SUB_FUNCTIONS, manifest(f"bench-{index:04}", parent=PARENT))
    await until(lambda: len(ready) == objects)
    figures = {"ready": time.perf_counter() - began}
    await until(lambda: offered[0] == str(objects))
    figures["allocatable"] = time.perf_counter() - began
    for name in ("agent", "plugin"):
        figures[f"{name} MiB"] = await asyncio.to_thread(resident, machine, processes[name])
    began = time.perf_counter()
    for index in range(objects):
        await cluster.delete(SUB_FUNCTIONS, f"bench-{index:04}")
    await until(lambda: len(gone) == objects)
    figures["gone"] = time.perf_counter() - began
    for follower in followers:
        follower.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    return figures


def by_devlink(machine: Machine, mlx5: Mlx5, objects: int) -> dict[str, float]:
    """Do the same with devlink's batch mode: one process a stage, and a look between two."""

    def batch(lines: list[str]) -> None:
        (machine.place.share / "batch").write_text("\n".join(lines) + "\n", encoding="ascii")
        machine.run("devlink -b /run/share/batch", timeout=300)

    began = time.perf_counter()
    numbers = range(FIRST, FIRST + objects)
    batch([f"port add {PARENT} flavour pcisf pfnum 0 sfnum {number}" for number in numbers])
    ports = {port["sfnum"]: handle for handle, port in mlx5.ports("pcisf").items()}
    mac = "02:53:46:00:{:02x}:{:02x}"
    batch(
        [
            f"port function set {ports[number]} hw_addr {mac.format(number >> 8, number & 255)} state active"
            for number in numbers
        ]
    )
    attached(mlx5, objects, "attached")
    nested = [next(iter(port["function"]["nested_devlink"])) for port in mlx5.ports("pcisf").values()]
    setting = "name {} value true cmode driverinit"
    for name in ("enable_roce", "enable_eth", "enable_rdma"):
        batch([f"dev param set {instance} {setting.format(name)}" for instance in nested])
    batch([f"dev reload {instance}" for instance in nested])
    made = time.perf_counter() - began
    began = time.perf_counter()
    # As the agent does: the driver keeps an address for the next sub-function of a slot.
    batch([f"port function set {handle} hw_addr {NO_MAC} state inactive" for handle in ports.values()])
    attached(mlx5, objects, "detached")
    batch([f"port del {handle}" for handle in ports.values()])
    return {"ready": made, "gone": time.perf_counter() - began}


def attached(mlx5: Mlx5, objects: int, opstate: str) -> None:
    """Wait until all ports say so."""
    while True:
        ports = mlx5.ports("pcisf").values()
        there = opstate == "detached" or all("nested_devlink" in port["function"] for port in ports)
        if there and [port["function"]["opstate"] for port in ports] == [opstate] * objects:
            return
        time.sleep(0.05)


async def until(so: Callable[[], bool], seconds: float = 600) -> None:
    """Wait until something is so."""
    deadline = time.perf_counter() + seconds
    while not so():
        if time.perf_counter() > deadline:
            raise SystemExit(f"waited {seconds:g} s in vain")
        await asyncio.sleep(0.01)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 100], help="how many SubFunctions, one run each")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    if max(options.objects) > ROOM:
        parser.error(f"a parent has room for {ROOM} sub-functions")
    every: list[dict[str, Any]] = []
    print("objects   by            ready s   allocatable s   gone s   agent MiB   plugin MiB")
    for objects in options.objects:
        with build_snapshot(MLX5).restore() as machine:
            machine.run("mount -t tmpfs tmpfs /var/lib", check=False)
            mlx5 = Mlx5(machine)
            mlx5.reset("switchdev")
            hand = by_devlink(machine, mlx5, objects)
            print(f"{objects:7}   devlink -b   {hand['ready']:8.2f}   {'':13}   {hand['gone']:6.2f}", flush=True)
            mlx5.reset("switchdev")
            agent = asyncio.run(by_agent(machine, objects))
            memory = f"{agent['agent MiB']:9.0f}   {agent['plugin MiB']:10.0f}"
            print(
                f"{objects:7}   agent        {agent['ready']:8.2f}   {agent['allocatable']:13.2f}"
                f"   {agent['gone']:6.2f}   {memory}",
                flush=True,
            )
            every.append({"objects": objects, "devlink": hand, "agent": agent})
    if options.json:
        options.json.write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
