"""The demo runs five programs as processes, each in a session of its own, and ends them in the order of their use."""

import asyncio
import contextlib
import ctypes
import dataclasses
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from asyncinotify import Inotify, Mask

from subfunction.errors import SubFunctionError

NODE: Final = "worker-1"
_END_SECONDS: Final = 5.0


class DidNotStartError(SubFunctionError):
    """One of the programs ended before the story did."""


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """A stage is the folder of one demo, and knows what lies where in it."""

    root: Path

    @property
    def kernel(self) -> Path:
        """Give the simulated kernel's folder."""
        return self.root / "kernel"

    @property
    def kubelet(self) -> Path:
        """Give the stand-in kubelet's folder."""
        return self.root / "kubelet"

    @property
    def kubeconfig(self) -> Path:
        """Give the path of the kubeconfig that leads to the API server."""
        return self.root / "kubeconfig"

    @property
    def netlink(self) -> Path:
        """Give the path of the simulated kernel's socket."""
        return self.kernel / "netlink.sock"

    def kernel_command(self) -> list[str]:
        """Serve the simulated kernel."""
        return ["subfunction_simulator", "kernel", "--root", str(self.kernel)]

    def apiserver_command(self, port: int) -> list[str]:
        """Serve the API."""
        return ["subfunction_simulator", "apiserver", "--port", str(port), "--kubeconfig", str(self.kubeconfig)]

    def kubelet_command(self) -> list[str]:
        """Play the kubelet."""
        where = ["--root", str(self.kubelet), "--kubeconfig", str(self.kubeconfig)]
        return ["subfunction_simulator", "kubelet", "--node-name", NODE, *where]

    def agent_command(self) -> list[str]:
        """Run the agent, as it runs on a node but for the kernel it speaks to."""
        kernel = ["--netlink", str(self.netlink), "--sysfs", str(self.kernel / "sys")]
        place = ["--devices", str(self.kernel / "dev"), "--boot-id", str(self.kernel / "boot_id")]
        where = ["--kubeconfig", str(self.kubeconfig), *self._kubelet()]
        # A demo should not wait until the end of a pod is noticed, or until the node is looked at.
        return [
            "subfunction_operator",
            "agent",
            "--node-name",
            NODE,
            *where,
            *kernel,
            *place,
            *self._folders(),
            "--cdi-folder",
            str(self.root / "run" / "cdi"),
            "--device-info-folder",
            str(self.root / "run" / "devinfo"),
            "--usage-interval",
            "1",
            "--survey-interval",
            "1",
        ]

    def plugin_command(self) -> list[str]:
        """Run the device plugin, as it runs on a node but for the folders."""
        kernel = ["--sysfs", str(self.kernel / "sys"), "--boot-id", str(self.kernel / "boot_id")]
        # As above: how soon a pod's end is noticed.
        return ["subfunction_deviceplugin", *kernel, *self._kubelet(), *self._folders(), "--resend-wanted", "0.5"]

    def _kubelet(self) -> list[str]:
        return ["--kubelet-root", str(self.kubelet), "--kubelet-folder", str(self.kubelet / "device-plugins")]

    def _folders(self) -> list[str]:
        run = self.root / "run"
        return [
            "--records",
            str(run / "devices"),
            "--ledger",
            str(run / "allocations"),
            "--state",
            str(self.root / "state"),
        ]


class Processes:
    """The demo's processes stand in the order they were started."""

    def __init__(self, stage: Stage, *, verbose: bool) -> None:
        self._stage = stage
        self._verbose = verbose
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._commands: dict[str, list[str]] = {}

    async def start(self, name: str, command: list[str]) -> None:
        """Start a program of the project; what it prints goes to a file that is shown if it fails."""
        self._commands[name] = command
        log = await asyncio.to_thread(self._log(name).open, "ab")
        with log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=None if self._verbose else log,
                stderr=None if self._verbose else log,
                # Ctrl-C is for the demo, which ends the others in their order.
                start_new_session=True,
                # A demo that is killed outright must not leave five programs behind.
                preexec_fn=_end_with_parent,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def check(self) -> None:
        """Make sure that all are still there.

        Raises:
            DidNotStartError: one is not; with the last of what it said.
        """
        for name, process in self._processes.items():
            if process.returncode is not None:
                said = self._log(name).read_text(errors="replace").strip().splitlines()[-15:]
                raise DidNotStartError(f"the {name} ended with code {process.returncode}:\n" + "\n".join(said))

    async def revive(self) -> list[str]:
        """Start anew what has ended, as a kubelet would its container; the names of those."""
        ended = [name for name, process in self._processes.items() if process.returncode is not None]
        for name in ended:
            await self.start(name, self._commands[name])
        return ended

    def memory(self, name: str) -> float:
        """Give the resident memory of a program, in MiB."""
        status = Path(f"/proc/{self._processes[name].pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def processor_seconds(self, name: str) -> float:
        """Give the processor time that a program has used, in seconds (proc(5), `utime` and `stime`)."""
        fields = Path(f"/proc/{self._processes[name].pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def restart(self, name: str) -> None:
        """End one program and start it anew."""
        process = self._processes[name]
        process.send_signal(signal.SIGTERM)
        await process.wait()
        await self.start(name, self._commands[name])

    async def end(self) -> None:
        """End them, the last one first: politely, then not."""
        for process in reversed(self._processes.values()):
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                async with asyncio.timeout(_END_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    def _log(self, name: str) -> Path:
        return self._stage.root / f"{name.replace(' ', '-')}.log"


def _end_with_parent() -> None:
    """Have the kernel end this process with its parent: prctl(PR_SET_PDEATHSIG, SIGTERM), linux/prctl.h."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


@contextlib.asynccontextmanager
async def run_programs(stage: Stage, port: int, *, verbose: bool) -> AsyncIterator[Processes]:
    """Start all five and end them, whatever happens in between."""
    processes = Processes(stage, verbose=verbose)
    try:
        await processes.start("simulated kernel", stage.kernel_command())
        await processes.start("API server", stage.apiserver_command(port))
        await _appears(processes, stage.kubeconfig)
        await processes.start("kubelet", stage.kubelet_command())
        await _appears(processes, stage.netlink)
        await processes.start("agent", stage.agent_command())
        await processes.start("device plugin", stage.plugin_command())
        yield processes
    finally:
        # Ended in a task of their own: a second Ctrl-C must not leave one behind.
        await asyncio.shield(asyncio.ensure_future(processes.end()))


async def _appears(processes: Processes, path: Path) -> None:
    folder = path.parent
    folder.mkdir(exist_ok=True)
    with Inotify() as inotify:
        inotify.add_watch(folder, Mask.CREATE | Mask.MOVED_TO)
        while not os.path.exists(path):  # noqa: ASYNC240, PTH110  # a look at a local folder
            processes.check()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await inotify.get()
