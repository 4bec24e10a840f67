"""`kernel=simulated`, container by container as the chart has it: environment, mounts, capabilities, the pod's token.

What stands around each process is what Helm renders, read back. The cluster is the real API server, the kubelet a
stand-in; only container runtime, image and network are missing.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from components import accounts
from components.controlplane import ControlPlane
from components.helm import CHART, NAMESPACE, Helm
from components.workload import Workload
from harness.errors import CommandFailed
from rig.confinement import Confinement
from rig.waiting import eventually
from subfunction_simulator.kubelet.kubelet import Kubelet

NODE: Final = "worker-1"
RESOURCE: Final = "subfunction.dev/mlx5"
GROUP: Final = "/apis/subfunction.dev/v1alpha1"
KUBELET_ROOT: Final = "/var/lib/kubelet"
VALUES: Final = ("--set", "kernel=simulated,agent.listen=,devicePlugin.listen=,agent.surveyInterval=0.2")


class Machine:
    """A node's file system below a folder, and the containers that run on it."""

    def __init__(self, root: Path, plane: ControlPlane) -> None:
        self.root = root
        self.plane = plane
        self.running: dict[str, subprocess.Popen[str]] = {}

    def path(self, host: str) -> Path:
        """Where the node has a path of its own; the kubelet's folder has a short one, for its sockets' names."""
        if host.startswith(KUBELET_ROOT):
            return self.root / "k" / host.removeprefix(KUBELET_ROOT).lstrip("/")
        return self.root / "h" / host.lstrip("/")

    def start(self, workload: Workload) -> None:
        """Start a DaemonSet's container on this node."""
        name = workload.name
        assert workload.container["securityContext"]["capabilities"]["drop"] == ["ALL"]

        def folder(volume: Any) -> Path:
            if "hostPath" in volume:
                found = self.path(volume["hostPath"]["path"])
            elif "projected" in volume:
                found = self._token(workload.account)
            else:
                found = self.root / name / volume["name"]
            found.mkdir(parents=True, exist_ok=True)
            return found

        confinement = Confinement(
            reads=(),
            writes=(),
            others=tuple(workload.mounts(folder)),
            keeps=workload.capabilities,
            # In a cluster the agent has a network of its own here; this host's is the only way to the API server.
            host_network=name == "agent",
        )
        variables = workload.environment(NODE)
        if name == "agent":
            host, port = self.plane.url.removeprefix("https://").split(":")
            variables |= {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        program, *words = workload.command
        command = confinement.command(str(Path(sys.executable).with_name(program)), *words)
        with (self.root / f"{name}.log").open("w") as log:
            environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"} | variables
            self.running[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True)

    def _token(self, account: str) -> Path:
        folder = self.root / "token"
        folder.mkdir()
        (folder / "token").write_text(accounts.pod_token(self.plane, NAMESPACE, account, NODE))
        (folder / "ca.crt").write_bytes(self.plane.authority.read_bytes())
        (folder / "namespace").write_text(NAMESPACE)
        return folder

    def lives(self) -> bool:
        """Make sure that all still run; false, so that it can be asked beside something else."""
        for name, process in self.running.items():
            assert process.poll() is None, (self.root / f"{name}.log").read_text()[-3000:]
        return False


@pytest.fixture
async def machine(plane: ControlPlane) -> AsyncIterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="op") as folder:
        machine = Machine(Path(folder), plane)
        yield machine
        for process in reversed(machine.running.values()):
            process.terminate()
            await asyncio.to_thread(process.wait, 20)


async def test_a_sub_function_becomes_ready_and_is_offered_to_the_kubelet(
    helm: Helm, plane: ControlPlane, machine: Machine, sub_function: Any
) -> None:
    helm("install", "subfunction", str(CHART), *VALUES)
    plane.until_served()
    daemons = [Workload(each) for each in helm.rendered(*VALUES) if each["kind"] == "DaemonSet"]
    kubelet = Kubelet(machine.path(KUBELET_ROOT), watcher_pause=0.1)
    await kubelet.start()
    try:
        kernel = next(each for each in daemons if each.name == "simulated-kernel")
        machine.start(kernel)
        served = machine.path("/run/subfunction/simulated/netlink.sock")
        await eventually(lambda: machine.lives() or served.exists(), "the kernel is served", within=30)
        for each in daemons:
            if each is not kernel:
                machine.start(each)
        plane.request("POST", f"{GROUP}/subfunctions", sub_function)
        await eventually(lambda: _ready(plane, machine), "it is ready", within=60)
        await eventually(lambda: kubelet.table.allocatable().get(RESOURCE) == 1, "it is offered", within=60)
        plane.request("DELETE", f"{GROUP}/subfunctions/blue")
        await eventually(lambda: _gone(plane, machine), "it is gone", within=60)
        surveyed = plane.request("GET", f"{GROUP}/subfunctionnodes/{NODE}")
        assert surveyed["status"]["parentCount"] == 3
    finally:
        await kubelet.stop()


def _ready(plane: ControlPlane, machine: Machine) -> bool:
    machine.lives()
    found = plane.request("GET", f"{GROUP}/subfunctions/blue")
    return any(
        each["type"] == "Ready" and each["status"] == "True" for each in found.get("status", {}).get("conditions", ())
    )


def _gone(plane: ControlPlane, machine: Machine) -> bool:
    machine.lives()
    with contextlib.suppress(CommandFailed):
        plane.request("GET", f"{GROUP}/subfunctions/blue")
        return False
    return True
