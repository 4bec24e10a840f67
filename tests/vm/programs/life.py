"""Runs inside the machine: one device of a flavour is made, killed at every step, taken up again, and removed.

The programs' own code on the real kernel; what came of it is told by iproute2 and by sysfs, as JSON. Which spec it has
stands in the environment (`SPEC`, JSON).
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from subfunction.api import SubFunction
from subfunction.claims import PortClaim
from subfunction.kernel.sysfs import SysfsTree
from subfunction.kernel.transport import KernelTransport
from subfunction.ledger import ledger
from subfunction.records import boot_id, mismatch, records
from subfunction_operator.execute import Executor
from subfunction_operator.holders import Holders, Kubelet
from subfunction_operator.look import Others
from subfunction_operator.node import Node
from subfunction_operator.observation import Desired, Policy
from subfunction_operator.observe import Observer
from subfunction_operator.outcome import Outcome
from subfunction_operator.paperfolders import PaperFolders
from subfunction_operator.reconcile import Reconciler
from subfunction_operator.step import Effect

ROOT = Path("/run/life")
DEVICES = Path("/sys/bus/pci/devices")
UID = "11111111-2222-3333-4444-555555555555"
SPEC: dict[str, Any] = json.loads(os.environ["SPEC"])


class Killer:
    """The seam: counts what is about to happen and what has, and ends the process at one of these moments."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.moments: list[str] = []

    def about_to(self, uid: str, step: Effect) -> None:
        self._moment(f"about to {type(step).__name__}")

    def done(self, uid: str, step: Effect) -> None:
        self._moment(f"done {type(step).__name__}")

    def _moment(self, moment: str) -> None:
        if len(self.moments) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.moments.append(moment)


def wanted(*, deleting: bool) -> Desired:
    metadata: dict[str, Any] = {"name": "blue", "uid": UID, "generation": 1}
    if deleting:
        metadata["deletionTimestamp"] = "2026-11-22T00:00:00Z"
    return Desired.of(SubFunction.of({"metadata": metadata, "spec": {"nodeName": "vm", **SPEC}}))


async def _settled(desired: Desired, seam: Killer) -> Outcome:
    sysfs = SysfsTree()
    folder = records(ROOT / "devices")
    holders = Holders(ledger(ROOT / "allocations"), Kubelet(ROOT / "kubelet", ROOT / "kubelet" / "device-plugins"))
    papers = PaperFolders(ROOT / "cdi", ROOT / "devinfo")
    papers.sweep(folder)
    observer = Observer(sysfs, folder, papers, holders, boot_id())
    node = Node(KernelTransport(), Reconciler(observer, Executor(sysfs, folder, papers, seam), Policy()), 30, 30)
    return await node.settle(desired, lambda _: Others())


def run(desired: Desired, kill_at: int | None = None) -> dict[str, Any]:
    """Run once in a process of its own, as a restarted agent would; None for `error` when it rests."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(here)
        seam = Killer(kill_at)
        outcome = asyncio.run(_settled(desired, seam))
        told = {"error": outcome.error and str(outcome.error), "decision": repr(outcome.decision)}
        os.write(there, json.dumps({**told, "moments": seam.moments}).encode())
        os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), **(json.loads(answer) if answer else {})}


def judged() -> dict[str, Any]:
    """Look with other eyes than ours: iproute2 for ports and vDPA devices, the witness for the record."""
    shown = _told("devlink", "-j", "port", "show")
    ports = {name: port for name, port in shown["port"].items() if port.get("flavour") in {"pcisf", "pcivf"}}
    folder = records(ROOT / "devices")
    record = folder.read(UID)
    return {
        "ports": ports,
        "state": record and record.state,
        "number": record.claim.number if record and isinstance(record.claim, PortClaim) else None,
        "device": record and record.device_id,
        "nodes": [
            [node.container_path, Path(node.host_path).is_char_device()] for node in (record.nodes if record else ())
        ],
        "mismatch": record and mismatch(record.witness, SysfsTree()),
        "files": sorted(path.name for path in folder.path.glob("*")) if folder.path.is_dir() else [],
        "auxiliary": _names("/sys/bus/auxiliary/devices"),
        "vdpa": {name: _driver(f"/sys/bus/vdpa/devices/{name}") for name in _told("vdpa", "-j", "dev", "show")["dev"]},
        "mediated": _names("/sys/bus/mdev/devices"),
        "functions": {str(link.resolve().name): _driver(str(link)) for link in DEVICES.glob("*/virtfn*")},
    }


def _told(*command: str) -> dict[str, Any]:
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout or "{}")
    return {"dev": {}, "port": {}, **answer}


def _names(path: str) -> list[str]:
    return sorted(each.name for each in Path(path).iterdir()) if Path(path).is_dir() else []


def _driver(path: str) -> str | None:
    link = Path(path, "driver")
    return link.resolve().name if link.exists() else None


def main() -> None:
    clean = judged()
    made = run(wanted(deleting=False))
    whole = judged()
    again = run(wanted(deleting=False))
    removed = run(wanted(deleting=True))
    gone = judged()
    kills: list[list[Any]] = []
    for moment in range(len(made["moments"])):
        killed = run(wanted(deleting=False), moment)
        taken_up = run(wanted(deleting=False))
        after = judged()
        kills.append(["create", made["moments"][moment], killed["code"], taken_up, after])
        run(wanted(deleting=True))
    for moment in range(len(removed["moments"])):
        run(wanted(deleting=False))
        killed = run(wanted(deleting=True), moment)
        taken_up = run(wanted(deleting=True))
        kills.append(["delete", removed["moments"][moment], killed["code"], taken_up, judged()])
    story = {
        "clean": clean,
        "made": made,
        "whole": whole,
        "again": again,
        "removed": removed,
        "gone": gone,
        "kills": kills,
    }
    sys.stdout.write(json.dumps(story))


if __name__ == "__main__":
    main()
