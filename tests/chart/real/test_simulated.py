"""`kernel=simulated`, container by container as the chart has it: environment, mounts, capabilities, the pod's token.

What stands around each process is what Helm renders, read back. The cluster is the real API server, the kubelet a
stand-in; only container runtime, image and network are missing.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from components import accounts
from components.controlplane import ControlPlane
from components.helm import CHART, NAMESPACE, Helm
from components.machine import KUBELET_ROOT, Machine
from harness.errors import CommandFailed
from rig.waiting import eventually
from subfunction_simulator.kubelet.kubelet import Kubelet

NODE: Final = "worker-1"
RESOURCE: Final = "subfunction.dev/mlx5"
GROUP: Final = "/apis/subfunction.dev/v1alpha1"
VALUES: Final = ("--set", "kernel=simulated,agent.listen=,devicePlugin.listen=,agent.surveyInterval=0.2")


@pytest.fixture
async def machine(plane: ControlPlane) -> AsyncIterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="op") as folder:
        machine = Machine(Path(folder), plane, NODE)
        yield machine
        for name in reversed(machine.running.copy()):
            await asyncio.to_thread(machine.stop, name)


def start(machine: Machine, daemon: Any) -> None:
    """Start a DaemonSet's container, with the token that its pod on this node would have."""
    spec, projected = daemon["spec"]["template"]["spec"], {}
    if account := spec.get("serviceAccountName"):
        projected = {
            "token": accounts.pod_token(machine.plane, NAMESPACE, account, NODE).encode(),
            "ca.crt": machine.plane.authority.read_bytes(),
            "namespace": NAMESPACE.encode(),
        }
    machine.start(daemon["metadata"]["name"], spec, projected)


async def test_a_sub_function_becomes_ready_and_is_offered_to_the_kubelet(
    helm: Helm, plane: ControlPlane, machine: Machine, sub_function: Any
) -> None:
    helm("install", "subfunction", str(CHART), *VALUES)
    plane.until_served()
    daemons = [each for each in helm.rendered(*VALUES) if each["kind"] == "DaemonSet"]
    kubelet = Kubelet(machine.path(KUBELET_ROOT), watcher_pause=0.1)
    await kubelet.start()
    try:
        kernel = next(each for each in daemons if each["metadata"]["name"] == "subfunction-simulated-kernel")
        start(machine, kernel)
        served = machine.path("/run/subfunction/simulated/netlink.sock")
        await eventually(lambda: machine.lives() or served.exists(), "the kernel is served", within=30)
        for each in daemons:
            if each is not kernel:
                start(machine, each)
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
