"""The programs, started from the image as a kubelet would: read-only root, no capability, no folder but those named."""

import functools
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.image.build import version
from tests.image.container import Containers
from tests.image.manifest import Manifest, manifests

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
    """Starts the programs as containers with what the chart gives them of the node, and no more.

    But for two things: a kubeconfig stands for the pod's token, and who asks the API server has the host's network,
    since that server listens on the host's loopback.
    """

    def __init__(self, containers: Containers, root: Path, bench: Bench) -> None:
        self._containers = containers
        self._kubeconfig = bench.worker.kubeconfig
        self._root = root
        (root / "helm").mkdir()
        self._values = {
            "records": root / "run" / "devices",
            "ledger": root / "run" / "allocations",
            "state": root / "state",
            "kubeletRoot": bench.worker.root,
            "kubeletFolder": bench.folder,
            "agent.cdiFolder": root / "cdi",
            "agent.deviceInfoFolder": root / "devinfo",
            # Other tests of this machine may listen there.
            "agent.listen": "",
            "controller.listen": "",
        }

    @functools.cached_property
    def _manifests(self) -> dict[str, Manifest]:
        return manifests(self._root / "helm", self._values, self._root / "kernel")

    def __call__(self, module: str, arguments: Sequence[str]) -> list[str]:
        if module == "subfunction_operator":
            return self.line(arguments[0], arguments)
        return self.line("device-plugin", arguments)

    def line(self, name: str, arguments: Sequence[str]) -> list[str]:
        """Give the line that starts a component; its arguments come first, then what its pod's environment says."""
        of = self._manifests[name]
        asks = name != "device-plugin"
        assert tuple(arguments[: len(of.command) - 1]) == of.command[1:]
        return self._containers.line(
            name, [of.command[0], *arguments], user=of.user, network=asks, environment=of.environment,
            writes=of.writes, reads=(*of.reads, *([self._kubeconfig] if asks else [])), scratch=of.scratch,
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
    async with hosting(tmp_path, bench, Pods(containers, tmp_path, bench)) as host:
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
    pods = Pods(containers, tmp_path, bench)
    async with hosting(tmp_path, bench, pods) as host:
        host.start_agent()
        log = tmp_path / "controller.log"
        line = pods.line("controller", ["controller", "--kubeconfig", str(bench.worker.kubeconfig)])
        controller = Guarded(line, log)
        try:
            assert (await bench.api("POST", POOLS, POOL)).code == 201
            await bench.until(f"{POOLS}/fast", lambda pool: pool.get("status", {}).get("ready") == 1, "ready")
            os.kill(controller.pid, signal.SIGTERM)
            await eventually(controller.ended, "the controller does not end")
            assert "Traceback" not in log.read_text()
            await bench.api("DELETE", f"{POOLS}/fast")
        finally:
            controller.kill()
