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

from subfunction.api.subfunction import SubFunction
from subfunction.kernel.netlink.transport import KernelTransport
from subfunction.kernel.sysfs import SysfsTree
from subfunction.state.claims import PortClaim
from subfunction.state.ledger import open_ledger
from subfunction.state.records import find_mismatch, open_records, read_boot_id
from subfunction_operator.agent.execute.executor import Executor
from subfunction_operator.agent.model.decision import ReconcileResult
from subfunction_operator.agent.model.observation import Desired, NodePolicy
from subfunction_operator.agent.model.query import Reserved
from subfunction_operator.agent.model.steps import Effect
from subfunction_operator.agent.observe.observer import Observer
from subfunction_operator.agent.observe.usage import Kubelet, UsageReader
from subfunction_operator.agent.offer.artifact_store import ArtifactStore
from subfunction_operator.agent.reconcile.dispatcher import KernelDispatcher
from subfunction_operator.agent.reconcile.reconciler import Reconciler

ROOT = Path("/run/life")
DEVICES = Path("/sys/bus/pci/devices")
UID = "11111111-2222-3333-4444-555555555555"
SPEC: dict[str, Any] = json.loads(os.environ["SPEC"])
USED = os.environ.get("USED", "")
"""The parent whose first slot another tool has used before each creation; empty for none."""


class Killer:
    """The seam: counts what is about to happen and what has, and ends the process at one of these moments."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.moments: list[str] = []

    def before(self, uid: str, step: Effect) -> None:
        self._moment(f"about to {type(step).__name__}")

    def after(self, uid: str, step: Effect) -> None:
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


async def _settled(desired: Desired, hooks: Killer) -> ReconcileResult:
    sysfs = SysfsTree()
    folder = open_records(ROOT / "devices")
    holders = UsageReader(
        open_ledger(ROOT / "allocations"), Kubelet(ROOT / "kubelet", ROOT / "kubelet" / "device-plugins")
    )
    artifacts = ArtifactStore(ROOT / "cdi", ROOT / "devinfo")
    artifacts.remove_orphans(folder)
    observer = Observer(sysfs, folder, artifacts, holders, read_boot_id())
    reconciler = Reconciler(observer, Executor(sysfs, folder, artifacts, hooks), NodePolicy())
    # One call goes all the way, however slow the machine is.
    node = KernelDispatcher(KernelTransport(), reconciler, kernel_deadline=60, attach_deadline=60, patience=120)
    return await node.run_until_settled(desired, lambda _: Reserved())


def run(desired: Desired, kill_at: int | None = None) -> dict[str, Any]:
    """Run once in a process of its own, as a restarted agent would; None for `error` when it rests."""
    if USED and not desired.deleting and not judged()["ports"]:
        use_slot(USED)
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(here)
        hooks = Killer(kill_at)
        result = asyncio.run(_settled(desired, hooks))
        told = {"error": result.error and str(result.error), "decision": repr(result.decision)}
        os.write(there, json.dumps({**told, "moments": hooks.moments}).encode())
        os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), **(json.loads(answer) if answer else {})}


def use_slot(parent: str) -> None:
    """Leave another's address in the parent's first slot: the driver keeps it for the slot's next owner."""
    added = subprocess.run(
        ["devlink", "port", "add", parent, "flavour", "pcisf", "pfnum", "0", "sfnum", "900"],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    handle = added.stdout.partition(": ")[0]
    subprocess.run(["devlink", "port", "function", "set", handle, "hw_addr", "00:aa:bb:cc:dd:ee"], check=True)
    subprocess.run(["devlink", "port", "del", handle], check=True)


def judged() -> dict[str, Any]:
    """Look with other eyes than ours: iproute2 for ports and vDPA devices, the witness for the record."""
    shown = _told("devlink", "-j", "port", "show")
    ports = {name: port for name, port in shown["port"].items() if port.get("flavour") in {"pcisf", "pcivf"}}
    folder = open_records(ROOT / "devices")
    record = folder.read(UID)
    return {
        "ports": ports,
        "state": record and record.state,
        "number": record.claim.number if record and isinstance(record.claim, PortClaim) else None,
        "device": record and record.device_id,
        "nodes": [
            [node.container_path, Path(node.host_path).is_char_device()] for node in (record.nodes if record else ())
        ],
        "mismatch": record and find_mismatch(record.witness, SysfsTree()),
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
