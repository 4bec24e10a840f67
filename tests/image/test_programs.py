"""The programs, started from the image as a kubelet would: read-only root, no capability, no folder but those named."""

import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.image.build import version
from tests.image.container import NOBODY, Containers

from harness.process import Guarded
from worker.bench import Bench, Container, eventually
from worker.host import COLLECTION, RESOURCE, Host, hosting
from worker.standin import standing_in

PROGRAMS = ("subfunction-operator", "subfunction-device-plugin", "subfunction-simulator")
COMMANDS = (
    ("subfunction-operator", "agent"),
    ("subfunction-operator", "controller"),
    ("subfunction-device-plugin",),
    ("subfunction-simulator", "kernel"),
)
POOLS = "/apis/subfunction.dev/v1alpha1/subfunctionpools"
POOL = {
    "apiVersion": "subfunction.dev/v1alpha1",
    "kind": "SubFunctionPool",
    "metadata": {"name": "fast"},
    "spec": {
        "parents": [{"selector": {"driver": "mlx5_core"}}],
        "replicas": 1,
        "per": "Node",
        "template": {"spec": {"flavour": "mlx5"}},
    },
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_says_its_version_and_its_help_to_nobody(containers: Containers, program: str) -> None:
    told = containers.run(program, "--version")
    assert (told.returncode, told.stdout, told.stderr) == (0, f"{version()}\n", "")
    helped = containers.run(program, "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert f"Usage: {program}" in helped.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_of_the_chart_is_there(containers: Containers, command: tuple[str, ...]) -> None:
    told = containers.run(*command, "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert f"Usage: {' '.join(command)}" in told.stdout


def test_what_is_started_without_a_command_says_what_there_is(containers: Containers) -> None:
    told = containers.run(*containers.image.configuration()["config"]["Cmd"])
    assert told.returncode == 0
    assert "agent" in told.stdout


def test_its_root_cannot_be_written(containers: Containers) -> None:
    told = containers.run("touch", "/opt/subfunction/x", user=0)
    assert "Read-only file system" in told.stderr


class Pods:
    """Starts agent and device plugin as two containers, each with no more of the node than its DaemonSet mounts."""

    def __init__(self, containers: Containers, root: Path, kubelet: Path) -> None:
        self._containers = containers
        self._root = root
        self._kubelet = kubelet

    def __call__(self, module: str, arguments: Sequence[str]) -> list[str]:
        root, kubelet = self._root, self._kubelet
        devices, ledger, state = (root / name for name in ("run/devices", "run/allocations", "state"))
        for folder in (devices, ledger, state):
            folder.mkdir(parents=True, exist_ok=True)
        if module == "subfunction_operator":
            return self._containers.line(
                "agent", ["subfunction-operator", *arguments], network=True,
                writes=(devices, state, root / "kernel"), reads=(ledger, kubelet.parent),
            )  # fmt: skip
        return self._containers.line(
            "plugin", ["subfunction-device-plugin", *arguments],
            writes=(ledger, kubelet), reads=(devices, state, root / "kernel"),
        )  # fmt: skip


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with standing_in() as worker:
        bench = Bench(worker, worker.api)
        yield bench
        await bench.end()


@pytest.fixture
def removed(containers: Containers) -> Iterator[None]:
    yield
    containers.remove_all()


@pytest.mark.usefixtures("removed")
async def test_agent_and_plugin_give_a_pod_its_device_and_end_when_told(
    containers: Containers, bench: Bench, tmp_path: Path
) -> None:
    async with hosting(tmp_path, bench, Pods(containers, tmp_path, bench.worker.root)) as host:
        programs = [host.start_agent(), host.start_plugin()]
        await host.create("blue")
        record = (await host.offered("blue"))["blue"]
        pod = await bench.run(Container(limits={RESOURCE: 1}))
        assert (await bench.sight(pod)).env["SUBFUNCTION_UID"] == record.uid

        def told(found: Any) -> bool:
            return bool(found["status"].get("allocatedTo", {}).get("name") == pod["metadata"]["name"])

        await bench.until(f"{COLLECTION}/blue", told, "allocated")
        for program in programs:
            await host.end(program)
        assert_ended_well(host, tmp_path)


def assert_ended_well(host: Host, root: Path) -> None:
    """As the first process of a container, where a signal that nobody handles is not heard."""
    assert host.sockets() == []
    logs = [(root / f"{module}.log").read_text() for module in ("subfunction_operator", "subfunction_deviceplugin")]
    assert all("Traceback" not in log for log in logs), logs


@pytest.mark.usefixtures("removed")
async def test_the_controller_fills_a_pool_as_nobody_and_ends_when_told(
    containers: Containers, bench: Bench, tmp_path: Path
) -> None:
    async with hosting(tmp_path, bench, Pods(containers, tmp_path, bench.worker.root)) as host:
        host.start_agent()
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_bytes(bench.worker.kubeconfig.read_bytes())
        line = ["subfunction-operator", "controller", "--kubeconfig", str(kubeconfig)]
        log = tmp_path / "controller.log"
        controller = Guarded(containers.line("controller", line, user=NOBODY, network=True, reads=(kubeconfig,)), log)
        try:
            assert (await bench.api("POST", POOLS, POOL)).code == 201
            await bench.until(f"{POOLS}/fast", lambda pool: pool.get("status", {}).get("ready") == 1, "ready")
            os.kill(controller.pid, signal.SIGTERM)
            await eventually(controller.ended, "the controller does not end")
            assert "Traceback" not in log.read_text()
            await bench.api("DELETE", f"{POOLS}/fast")
        finally:
            controller.kill()
