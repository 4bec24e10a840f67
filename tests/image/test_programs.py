"""The programs, started from the image as a kubelet would: read-only root, no capability, no folder but those named."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.image.build import version
from tests.image.container import Containers

from worker.bench import Bench, Container
from worker.host import COLLECTION, RESOURCE, Host, hosting
from worker.standin import standing_in

PROGRAMS = ("subfunction-operator", "subfunction-device-plugin", "subfunction-simulator")


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_says_its_version_and_its_help_to_nobody(containers: Containers, program: str) -> None:
    told = containers.run(program, "--version")
    assert (told.returncode, told.stdout, told.stderr) == (0, f"{version()}\n", "")
    helped = containers.run(program, "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert f"Usage: {program}" in helped.stdout


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
