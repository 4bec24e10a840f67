"""The rest of a node: a simulated kernel, and agent and device plugin as the programs they are.

The device nodes of the simulated kernel are character devices made with mknod where that is allowed, with the numbers
that the kernel would have given; no driver is behind them, so opening one in a container says ENXIO.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from harness.process import Guarded
from subfunction.kernel.address import Handle
from subfunction.state.records import Record, open_records
from subfunction_deviceplugin.endpoint import SOCKET_PREFIX
from subfunction_simulator.kernel import SimulatedKernel, Timing
from subfunction_simulator.kernel.server import running
from worker.bench import Bench, eventually
from worker.worker import NODE

COLLECTION = "/apis/subfunction.dev/v1alpha1/subfunctions"
RESOURCE = "subfunction.dev/mlx5"
PARENT = Handle("pci", "0000:03:00.0")
_LOG_LINES = 40


Launch = Callable[[str, Sequence[str]], list[str]]
"""Gives the command that runs a program (named by its module) with arguments."""


def from_here(module: str, arguments: Sequence[str]) -> list[str]:
    """Give the command that runs it as it is installed here."""
    return [sys.executable, "-m", module, *arguments]


class Host:
    """One node's kernel and programs; `bench` has its kubelet."""

    def __init__(self, root: Path, bench: Bench, kernel: SimulatedKernel, launch: Launch = from_here) -> None:
        self.bench = bench
        self._launch = launch
        self.kernel = kernel
        self.records = open_records(root / "run" / "devices")
        self._root = root
        self._programs: list[Guarded] = []

    # Programs.

    def start_agent(self) -> Guarded:
        """Start the agent."""
        worker, simulated = self.bench.worker, self.kernel.root
        return self._start(
            "subfunction_operator", "agent", "--node-name", NODE, "--kubeconfig", str(worker.kubeconfig),
            "--netlink", str(simulated / "netlink.sock"), "--devices", str(simulated / "dev"), "--usage-interval", "1",
        )  # fmt: skip

    def start_plugin(self) -> Guarded:
        """Start the device plugin."""
        return self._start("subfunction_deviceplugin", "--resend-wanted", "0.5")

    def sockets(self) -> list[Path]:
        """List the sockets at which instances of the device plugin listen."""
        return [path for path in self.bench.worker.root.rglob(f"{SOCKET_PREFIX}*.sock") if path.is_socket()]

    async def end(self, program: Guarded) -> None:
        """Tell a program to stop, and wait."""
        os.kill(program.pid, signal.SIGTERM)
        await eventually(program.ended, "the program does not end")
        program.kill()
        self._programs.remove(program)

    def told(self) -> str:
        """Say what a failure is understood by: which programs ended by themselves, the records, and the logs' ends."""
        programs, records = self._programs, self.records.read_all().items.values()
        lines = [
            f"{sum(program.ended() for program in programs)} of {len(programs)} programs have ended",
            *(f"{each.name}: {each.state}, {each.health}, device {each.device_id or 'none'}" for each in records),
        ]
        for log in sorted(self._root.glob("*.log")):
            lines += [f"{log.name}:", *log.read_text(errors="replace").splitlines()[-_LOG_LINES:]]
        return "\n".join(lines)

    def end_all(self) -> None:
        """End whatever still runs."""
        while self._programs:
            self._programs.pop().kill()

    def _start(self, module: str, *arguments: str) -> Guarded:
        run, simulated = self._root / "run", self.kernel.root
        folders = {
            "kubelet-root": self.bench.worker.root,
            "kubelet-folder": self.bench.folder,
            "records": run / "devices",
            "ledger": run / "allocations",
            "state": self._root / "state",
            "sysfs": simulated / "sys",
            "boot-id": simulated / "boot_id",
        }
        flags = [part for name, path in folders.items() for part in (f"--{name}", str(path))]
        program = Guarded(self._launch(module, [*arguments, *flags]), self._root / f"{module}.log")
        self._programs.append(program)
        return program

    # Objects.

    async def create(self, name: str, **spec: Any) -> None:
        """Create a sub-function."""
        whole = {"nodeName": NODE, "flavour": "mlx5", "parent": {"device": str(PARENT)}, **spec}
        body = {
            "apiVersion": "subfunction.dev/v1alpha1",
            "kind": "SubFunction",
            "metadata": {"name": name},
            "spec": whole,
        }
        answer = await self.bench.api("POST", COLLECTION, body)
        assert answer.code == 201, answer.body

    async def offered(self, *names: str) -> dict[str, Record]:
        """Wait until these sub-functions are on offer and the kubelet counts as many; their records."""
        found: dict[str, Record] = {}

        def ready() -> bool:
            found.clear()
            found.update({each.name: each for each in self.records.read_all().items.values() if each.health.healthy})
            return set(names) <= found.keys()

        await eventually(ready, f"not all of {names} are on offer")
        await self.counted(len(found))
        return found

    async def counted(self, count: int, *, of: int | None = None) -> None:
        """Wait until the kubelet counts so many."""
        await self.bench.counted(count, of=of, resource=RESOURCE)

    async def remove_objects(self) -> None:
        """Take the objects away, without anybody's leave."""
        for item in (await self.bench.api("GET", COLLECTION)).body["items"]:
            path = f"{COLLECTION}/{item['metadata']['name']}"
            await self.bench.api("DELETE", path)
            await self.bench.api.merge(path, {"metadata": {"finalizers": None}})


@contextlib.asynccontextmanager
async def hosting(root: Path, bench: Bench, launch: Launch = from_here) -> AsyncIterator[Host]:
    """Give a host whose kernel runs; its programs end before the kernel, and its objects are gone."""
    (root / "kernel").mkdir()
    kernel = SimulatedKernel(root / "kernel", None, Timing(attach=0.005, detach=0.005, in_seconds=True))
    host = Host(root, bench, kernel, launch)
    async with running(kernel):
        try:
            yield host
        finally:
            # pytest shows it beside a test that failed, and nowhere else.
            sys.stdout.write(f"{host.told()}\n")
            # The next test's devices have the same names: no pod may hold one of them any more.
            for pod in await bench.delete_all():
                await bench.gone(pod)
            await asyncio.to_thread(host.end_all)
            await host.remove_objects()
