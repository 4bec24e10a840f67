"""A virtual machine: booted or restored, asked to run things, and gone when we are done.

The guest sees the host at 10.0.2.2 (the host's loopback), and a folder of the host at `/run/share`.
"""

import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness import checkout
from harness.channel import Channel, ChannelClosed
from harness.console import Console
from harness.errors import CommandFailed, HarnessError, MachineDied
from harness.host import require_tool
from harness.image import Image
from harness.process import Guarded
from harness.qmp import Monitor
from harness.result import Result
from harness.topology import Topology, Workplace

HOST = "10.0.2.2"
SHARE = "/run/share"
MOUNT = f"mkdir -p {SHARE} && mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share {SHARE}"
SOURCES = "/src"
SLACK = 15.0
"""Seconds the guest gets beyond a request's own deadline before it counts as hung."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process in the guest that runs in the background; its log can be read on the host."""

    machine: "Machine"
    pid: int
    log: Path

    def signal(self, number: int) -> bool:
        """Signal it and its children; says whether it was still there."""
        return bool(self.machine.request({"op": "signal", "pid": self.pid, "signal": number}, 5)["code"] == 0)

    def alive(self) -> bool:
        """Whether it is still there."""
        return self.signal(0)

    def wait(self, timeout: float = 10) -> None:
        """Wait until it has ended.

        Raises:
            HarnessError: it has not, in `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while self.alive():
            if time.monotonic() > deadline:
                raise HarnessError(f"process {self.pid} has not ended in {timeout:.0f} s ({self.log})")
            time.sleep(0.02)


class Machine:
    """One QEMU. A context manager: leaving it kills the machine and removes its folder."""

    def __init__(self, image: Image, topology: Topology | None = None, state: Path | None = None) -> None:
        """Start QEMU: cold, or from a saved state; `wait` says when it can be used."""
        self.image = image
        self.topology = topology or Topology()
        self.place = Workplace.make()
        self.console = Console(self.place.console)
        self._channel: Channel | None = None
        incoming = [] if state is None else ["-incoming", f"exec:exec cat '{state}'"]
        qemu = require_tool("qemu-system-x86_64")
        command = [qemu, *self.topology.options(), *self.place.options(image, self.topology.kernel_line), *incoming]
        self._qemu = Guarded(command, self.place.stderr)

    @classmethod
    def boot(cls, image: Image, topology: Topology | None = None, timeout: float = 180) -> Self:
        """Boot a machine from cold; it has no sources yet, and can be saved.

        Raises:
            MachineDied: it did not come up.
        """
        return cls(image, topology)._started(timeout, restored=False)

    @classmethod
    def restore(cls, image: Image, state: Path, topology: Topology | None = None, timeout: float = 60) -> Self:
        """Bring a saved machine back, with the project's sources as they are now.

        Raises:
            MachineDied: it did not come up.
        """
        return cls(image, topology, state)._started(timeout, restored=True)

    def _started(self, timeout: float, *, restored: bool) -> Self:
        try:
            deadline = time.monotonic() + timeout
            if restored:
                self._resume(deadline)
            self._channel = self._connect(deadline)
            self.run(["true"], timeout=deadline - time.monotonic())
            if restored:
                self._settle()
                self._plug(deadline)
        except BaseException:
            self.stop()
            raise
        return self

    def _resume(self, deadline: float) -> None:
        monitor = self._monitor(deadline)
        try:
            while monitor.execute("query-status")["status"] == "inmigrate":
                self._tick(deadline, "the saved state was not read")
            monitor.execute("cont")
        finally:
            monitor.close()

    def _settle(self) -> None:
        """Set the clock, mount the share, unpack the sources."""
        checkout.pack(self.place.share / "sources.tar")
        self.run(f"date -s @{time.time():.0f} && {MOUNT} && tar -C {SOURCES} -xf {SHARE}/sources.tar", timeout=60)

    def _plug(self, deadline: float) -> None:
        """Plug in the cards whose state cannot be saved, and press the slot's button twice: it waits 5 s for that."""
        for card in self.topology.cards:
            if not card.virtual_functions:
                continue
            monitor = self._monitor(deadline)
            try:
                monitor.execute("device_add", **card.device())
            finally:
                monitor.close()
            (address,) = card.addresses()
            self.run(
                f"until [ -e /sys/bus/pci/devices/{address} ]; do echo 1 > /sys/bus/pci/slots/{card.bus}/power; "
                "sleep 0.05; done 2>/dev/null"
            )

    def _monitor(self, deadline: float) -> Monitor:
        while True:
            try:
                return Monitor(self.place.qmp, max(1.0, deadline - time.monotonic()))
            except (FileNotFoundError, ConnectionRefusedError):
                self._tick(deadline, "QEMU opened no monitor")

    def _connect(self, deadline: float) -> Channel:
        while True:
            try:
                return Channel(self.place.channel)
            except (FileNotFoundError, ConnectionRefusedError):
                self._tick(deadline, "QEMU opened no channel")

    def _tick(self, deadline: float, what: str) -> None:
        if self._qemu.ended():
            raise self._died("QEMU ended")
        if time.monotonic() > deadline:
            raise self._died(what)
        time.sleep(0.01)

    def _died(self, what: str) -> MachineDied:
        said = self.place.stderr.read_text(errors="replace").strip()
        return MachineDied(f"{what}{': ' if said else ''}{said}", self.console.tail())

    def request(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Ask the zygote; for what `run`, `python` and `spawn` do not cover.

        Raises:
            MachineDied: the machine is gone, or did not answer in `timeout` seconds and some more.
        """
        if self._channel is None:
            raise HarnessError("this machine has been stopped")
        try:
            return self._channel.send({**request, "timeout": timeout}).result(timeout + SLACK)
        except FutureTimeout:
            raise self._died(f"no answer from the guest in {timeout + SLACK:.0f} s") from None
        except ChannelClosed:
            raise self._died("the machine went away") from None

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float = 30,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a shell line (dash; bash is there too) or an argument list in the guest.

        Raises:
            CommandFailed: it ended with another code than 0, and `check` stands.
            MachineDied: the machine did not survive it.
        """
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        request = {"op": "run", "argv": argv, "env": dict(env or {})}
        return self._result(request, command if isinstance(command, str) else " ".join(argv), timeout, check=check)

    def python(
        self,
        code: str | None = None,
        *,
        module: str | None = None,
        args: Sequence[str] = (),
        timeout: float = 60,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run code, or a module as `python -m` would, in a fork of the warm interpreter.

        Raises:
            CommandFailed: it ended with another code than 0, and `check` stands.
            MachineDied: the machine did not survive it.
        """
        what = {"code": code} if code is not None else {"module": module}
        request = {"op": "python", **what, "args": list(args), "env": dict(env or {}), "cwd": SOURCES}
        return self._result(request, module or "python code", timeout, check=check)

    def _result(self, request: dict[str, Any], name: str, timeout: float, *, check: bool) -> Result:
        answer = self.request(request, timeout)
        result = Result(answer["code"], answer["out"], answer["err"], answer["late"])
        if check and result.code != 0:
            late = f"(killed after {timeout:.0f} s)\n" if result.late else ""
            raise CommandFailed(name, result.code, f"{late}{result.stdout}{result.stderr}")
        return result

    def spawn(
        self,
        command: str | Sequence[str] | None = None,
        *,
        module: str | None = None,
        args: Sequence[str] = (),
        name: str = "process",
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a command, or a Python module in a fork of the warm interpreter, in the background."""
        log = self.place.share / f"{name}.log"
        what: dict[str, Any] = {"module": module, "args": list(args)}
        if command is not None:
            what = {"argv": ["sh", "-c", command] if isinstance(command, str) else list(command)}
        request = {"op": "spawn", **what, "env": dict(env or {}), "cwd": SOURCES, "log": f"{SHARE}/{log.name}"}
        return Process(self, self.request(request, 10)["pid"], log)

    def forward(self, port: int) -> int:
        """Forward a free port of the host's loopback to this TCP port of the guest; the host's is returned."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            chosen: int = probe.getsockname()[1]
        monitor = self._monitor(time.monotonic() + 10)
        try:
            monitor.human(f"hostfwd_add net tcp:127.0.0.1:{chosen}-:{port}")
        finally:
            monitor.close()
        return chosen

    def save(self, state: Path, timeout: float = 60) -> None:
        """Write the machine's state to a file and stop the machine. Only one that was booted, not restored.

        Raises:
            MachineDied: QEMU ended, or could not save in time.
        """
        if self._channel is not None:
            self._channel.close()
        deadline = time.monotonic() + timeout
        monitor = self._monitor(deadline)
        try:
            monitor.execute("stop")
            monitor.execute("migrate-set-parameters", **{"max-bandwidth": 10 << 30})
            monitor.execute("migrate", uri=f"exec:exec cat > '{state}'")
            while (status := monitor.execute("query-migrate")["status"]) != "completed":
                if status == "failed":
                    raise self._died("the state could not be saved")
                self._tick(deadline, "the state was not saved")
        finally:
            monitor.close()
        self.stop()

    def stop(self) -> None:
        """Kill QEMU and remove the machine's folder; harmless when done before."""
        self._qemu.kill()
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        shutil.rmtree(self.place.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
