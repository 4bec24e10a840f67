"""What a cluster costs the controller: memory, CPU and seconds until it has looked at everything once.

The server is the embedded one in a process of its own, its store filled directly with what agents would have written.
Its JSON is Python's, so seconds are mostly its own; CPU and memory are the controller's.
"""

import argparse
import asyncio
import gc
import multiprocessing
import os
import sys
import tempfile
import time
import uuid
from multiprocessing.synchronize import Event as Bell
from pathlib import Path
from typing import Any

import msgspec

from subfunction.api.conditions import ConditionType
from subfunction.api.node import FlavourCapability, NodeStatus, ParentStatus
from subfunction.api.subfunction import FINALIZER, Flavour
from subfunction.process.metrics import AgentMetrics
from subfunction_operator.controller.model.names import subfunction_name
from subfunction_operator.kube.credentials import Credentials
from subfunction_simulator.apiserver import ApiServer
from subfunction_simulator.apiserver.kinds.catalogue import NODES
from subfunction_simulator.apiserver.objects import JsonObject

GROUP, VERSION = "subfunction.dev", "v1alpha1"
NOW = "2026-11-22T10:00:00Z"
PARENTS = ("pci/0000:03:00.0", "pci/0000:82:00.0")
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure once, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--each", type=int, default=64, help="sub-functions of each of a node's two parents")
    parser.add_argument("--kopf", action="store_true", help="how kopf's watch, as the agent has it, would bear it")
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    served, done = context.Event(), context.Event()
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        server = context.Process(target=serve, args=(kubeconfig, given.nodes, given.each, served, done))
        server.start()
        try:
            served.wait()
            print(f"{given.nodes} nodes, {2 * given.nodes * given.each} SubFunctions", flush=True)
            asyncio.run(measured(kubeconfig, done, 2 * given.nodes * given.each, kopf=given.kopf))
        finally:
            server.kill()
            server.join()


async def measured(kubeconfig: Path, done: Bell, objects: int, *, kopf: bool) -> None:
    """Run the controller (or kopf) against the server, and print what it took."""
    command = [str(Path(sys.executable).with_name("subfunction-operator")), "controller"]
    if kopf:
        command = [sys.executable, __file__, "--watch-with-kopf"]
    environment = {**os.environ, "BENCH_OBJECTS": str(objects), "SUBFUNCTION_KUBECONFIG": str(kubeconfig)}
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        if kopf:
            await process.stdout.readline()
        else:
            while not done.is_set():
                assert process.returncode is None, "the controller ended"
                await asyncio.sleep(0.05)
        seconds = time.monotonic() - began
        print(f"looked at everything after {seconds:.1f} s, {cpu(process.pid):.1f} s of CPU", flush=True)
        await asyncio.sleep(15)
        print(f"at rest {memory(process.pid, 'VmRSS')} MiB, at most {memory(process.pid, 'VmHWM')} MiB", flush=True)
        before = cpu(process.pid)
        await asyncio.sleep(10)
        print(f"{(cpu(process.pid) - before) * 100:.0f} ms of CPU a second at rest", flush=True)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def cpu(pid: int) -> float:
    """Give the seconds of CPU that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int, which: str) -> int:
    """Give a process's memory in MiB: `VmRSS` now, `VmHWM` at most."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) // 1024


def serve(kubeconfig: Path, nodes: int, each: int, served: Bell, done: Bell) -> None:
    """Be the server, until killed."""
    asyncio.run(_serve(kubeconfig, nodes, each, served, done))


async def _serve(kubeconfig: Path, nodes: int, each: int, served: Bell, done: Bell) -> None:
    # A collection walks all those objects, and nobody is answered for seconds.
    gc.disable()
    async with ApiServer() as server:
        fill(server, nodes, each)
        await asyncio.to_thread(kubeconfig.write_text, server.kubeconfig())
        served.set()
        while not server.traffic.counts["patch", "subfunctionpools", "status"]:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.05)
        done.set()
        await asyncio.Event().wait()


def fill(server: ApiServer, nodes: int, each: int) -> None:
    """Put a settled pool on many nodes straight into the store, as their agents and the controller would have."""
    catalogue, store = server._catalogue, server._store  # noqa: SLF001  # by the front door it would take an hour
    members, pools, inventories = (
        catalogue.find(GROUP, VERSION, plural) for plural in ("subfunctions", "subfunctionpools", "subfunctionnodes")
    )
    assert members is not None
    assert pools is not None
    assert inventories is not None
    pool = stored("SubFunctionPool", "fast") | {
        "spec": {
            "replicas": each,
            "per": "Parent",
            "updateStrategy": {"type": "RollingUpdate", "maxUnavailable": 1},
            "template": {"spec": {"flavour": "mlx5"}},
        }
    }
    store.put(pools, ("", "fast"), pool)
    flavours = tuple(FlavourCapability(name=flavour, possible=True) for flavour in Flavour)
    parents = tuple(ParentStatus(device=device, capacity=each, flavours=flavours) for device in PARENTS)
    status = msgspec.to_builtins(NodeStatus(parents=parents))
    for number in range(nodes):
        node = f"worker-{number:04}.cluster.example.com"
        store.put(NODES, ("", node), stored("Node", node) | {"status": {"conditions": [condition("Ready")]}})
        store.put(inventories, ("", node), stored("SubFunctionNode", node) | {"status": status})
        for device in PARENTS:
            for slot in range(each):
                name = subfunction_name("fast", node, device, slot)
                store.put(members, ("", name), sub_function(name, node, device, slot, pool))
    # Nobody watched yet: the history need not be kept.
    server.forget_history()


def stored(kind: str, name: str) -> JsonObject:
    """Give the head of an object as it stands in a store."""
    version = "v1" if kind == "Node" else f"{GROUP}/{VERSION}"
    metadata = {"name": name, "uid": str(uuid.uuid4()), "creationTimestamp": NOW, "generation": 1}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def condition(kind: str) -> JsonObject:
    """Give a condition that is true."""
    of = {"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": NOW}
    return {**of, "observedGeneration": 1}


def sub_function(name: str, node: str, device: str, slot: int, pool: JsonObject) -> JsonObject:
    """Give a sub-function that is ready, as a real server stores it: some 4 kB with its managed fields."""
    body = stored("SubFunction", name)
    owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "SubFunctionPool", "name": "fast", "controller": True}
    fields: JsonObject = {
        f"f:{word}": {} for word in ("flavour", "nodeName", "observedGeneration", "phase", "parent", "number")
    }
    body["metadata"] |= {
        "labels": {"subfunction.dev/pool": "fast"},
        "finalizers": [FINALIZER],
        "ownerReferences": [owner | {"uid": pool["metadata"]["uid"], "blockOwnerDeletion": True}],
        "managedFields": [
            {
                "manager": manager,
                "operation": "Update",
                "time": NOW,
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:a": fields},
            }
            for manager in ("controller", "agent", "agent-status")
        ],
    }
    status = {
        "observedGeneration": 1,
        "phase": "Ready",
        "conditions": [condition(kind) for kind in ConditionType if kind is not ConditionType.IN_USE],
        "parent": device,
        "number": slot + 1,
        "port": 32768 + slot,
        "macAddress": f"02:53:46:00:00:{slot:02x}",
        "device": {
            "id": f"mlx5_core.sf.{slot}",
            "bus": "auxiliary",
            "netdev": f"enp3s0f0s{slot}",
            "rdma": f"mlx5_{slot}",
        },
        "representor": f"enp3s0f0npf0sf{slot}",
        "numaNode": 0,
    }
    return body | {"spec": {"flavour": "mlx5", "nodeName": node, "parent": {"device": device}}, "status": status}


async def watch_with_kopf() -> None:
    """Hear of every object as an agent does, but of all nodes, and say when that is done."""
    from subfunction_operator.agent.api.watch import Watch, WatchHandlers  # noqa: PLC0415  # the controller's own process knows no kopf

    heard, wanted = 0, int(os.environ["BENCH_OBJECTS"])
    every = asyncio.Event()

    def delivered(found: Any, deleted: bool) -> None:  # noqa: FBT001  # kopf's side calls it so
        del found, deleted
        nonlocal heard
        heard += 1
        if heard == wanted:
            every.set()

    credentials = await Credentials.load(Path(os.environ["SUBFUNCTION_KUBECONFIG"]))
    watch = Watch(credentials, "unused", WatchHandlers(delivered, lambda: None), metrics=AgentMetrics())
    watch._settings = lambda: _everywhere(type(watch)._settings(watch))  # type: ignore[method-assign]  # noqa: SLF001
    with watch:
        await every.wait()
        print("done", flush=True)
        await asyncio.Event().wait()


def _everywhere(settings: Any) -> Any:
    settings.watching.field_selectors.clear()
    return settings


if __name__ == "__main__":
    if "--watch-with-kopf" in sys.argv:
        asyncio.run(watch_with_kopf())
    else:
        main()
