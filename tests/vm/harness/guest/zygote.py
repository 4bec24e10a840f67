"""The guest's end: JSON lines over a virtio serial port, each request a forked child of a warm Python.

A request: `{"id", "op": "run" | "python" | "spawn", "argv" | "code" | "module" + "args", "env", "cwd", "timeout",
"log"}` or `{"id", "op": "signal", "pid", "signal"}`. An answer: `{"id", "code", "out", "err"}` or `{"id", "pid"}`.
Third-party modules are imported before the snapshot is taken; the project's own come fresh with every restore.
"""

import gc
import importlib
import json
import math
import os
import runpy
import select
import signal
import site
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

JOBS = "/run/jobs"
EMPTY = "/run/empty"
WARM = (
    "_pytest.junitxml", "_pytest.python", "aiohttp", "asyncio", "asyncinotify", "coverage", "cyclopts",
    "google.protobuf.message", "grpc", "grpc.aio", "hypothesis", "hypothesis.stateful", "jsonschema", "kopf",
    "kubernetes.aio.config", "pyroute2", "xml.etree.ElementTree", "yaml",
)  # fmt: skip


@dataclass
class Job:
    """A child; of a spawned one nobody awaits the end."""

    request: int
    pid: int
    pidfd: int
    deadline: float = math.inf
    files: tuple[str, ...] = ()
    killed: bool = field(default=False)


class Zygote:
    """Serves the port until the machine is switched off."""

    def __init__(self, port: str) -> None:
        self._port = os.open(port, os.O_RDWR)
        self._poll = select.poll()
        self._poll.register(self._port, select.POLLIN)
        self._jobs: dict[int, Job] = {}
        self._buffer = b""

    def serve(self) -> None:
        """Answer requests for ever."""
        while True:
            for descriptor, events in self._poll.poll(self._patience()):
                if descriptor != self._port:
                    self._finish(self._jobs[descriptor])
                elif events & select.POLLIN:
                    self._receive()
                else:
                    time.sleep(0.01)  # nobody is connected, and poll does not block on that
            self._reap()

    def _patience(self) -> int:
        soonest = min((job.deadline for job in self._jobs.values() if not job.killed), default=math.inf)
        return int(min(1.0, max(0.0, soonest - time.monotonic())) * 1000) + 1

    def _reap(self) -> None:
        now = time.monotonic()
        for job in self._jobs.values():
            if now >= job.deadline and not job.killed:
                job.killed = True
                _kill_group(job.pid)
        # Whatever lost its parent is ours, as we are process 1; the children above are reaped by their pidfd.
        waited = {job.pid for job in self._jobs.values()}
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid in waited:
                return
            os.waitpid(ended.si_pid, 0)

    def _receive(self) -> None:
        self._buffer += os.read(self._port, 65536)
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            if line:
                self._handle(json.loads(line))

    def _handle(self, request: dict[str, Any]) -> None:
        match request["op"]:
            case "signal":
                try:
                    self._signal(request["pid"], request["signal"])
                except ProcessLookupError:
                    self._send({"id": request["id"], "code": 1, "out": "", "err": "no such process"})
                else:
                    self._send({"id": request["id"], "code": 0, "out": "", "err": ""})
            case "spawn":
                log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
                job = self._watch(request, self._fork(request, log, log))
                os.close(log)
                self._send({"id": request["id"], "pid": job.pid})
            case _:
                self._start(request)

    def _signal(self, pid: int, number: int) -> None:
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            # A child just forked has no group of its own before it has run a little.
            if all(job.pid != pid for job in self._jobs.values()):
                raise
            os.kill(pid, number)

    def _start(self, request: dict[str, Any]) -> None:
        files = (f"{JOBS}/{request['id']}.out", f"{JOBS}/{request['id']}.err")
        out, err = (os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) for name in files)
        pid = self._fork(request, out, err)
        os.close(out)
        os.close(err)
        job = self._watch(request, pid)
        job.files = files
        job.deadline = time.monotonic() + request["timeout"]

    def _watch(self, request: dict[str, Any], pid: int) -> Job:
        descriptor = os.pidfd_open(pid)
        job = self._jobs[descriptor] = Job(request["id"], pid, descriptor)
        self._poll.register(descriptor, select.POLLIN)
        return job

    def _fork(self, request: dict[str, Any], out: int, err: int) -> int:
        if "argv" in request:
            return _spawn(request, out, err)
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            os.setsid()
            null = os.open("/dev/null", os.O_RDONLY)
            for source, target in ((null, 0), (out, 1), (err, 2)):
                os.dup2(source, target)
            os.closerange(3, 1024)
            os.environ.update(request.get("env", {}))
            os.chdir(request.get("cwd", "/"))
            code = _become(request)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                sys.stderr.write(f"{end.code}\n")
        except BaseException:  # noqa: BLE001 - the edge: a child of the fork must end here, and say why
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _finish(self, job: Job) -> None:
        self._poll.unregister(job.pidfd)
        del self._jobs[job.pidfd]
        os.close(job.pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(job.pid, 0)[1])
        if not job.files:
            return
        texts = []
        for name in job.files:
            texts.append(Path(name).read_text(errors="replace"))
            Path(name).unlink()
        answer = {"id": job.request, "code": code, "out": texts[0], "err": texts[1], "late": job.killed}
        self._send(answer)

    def _send(self, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode() + b"\n"
        while data:
            data = data[os.write(self._port, data) :]


def _spawn(request: dict[str, Any], out: int, err: int) -> int:
    """Start a program without a fork: this process is large, and copying its page tables slow."""
    null = os.open("/dev/null", os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in ((null, 0), (out, 1), (err, 2))]
    argv = request["argv"]
    os.chdir(request.get("cwd", "/"))
    try:
        return os.posix_spawnp(argv[0], argv, os.environ | request.get("env", {}), file_actions=actions, setsid=True)
    except OSError as error:
        os.write(err, f"{argv[0]}: {error.strerror}\n".encode())
        return os.posix_spawnp("false", ["false"], {}, setsid=True)
    finally:
        os.chdir("/")
        os.close(null)


def _become(request: dict[str, Any]) -> int:
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.default_int_handler if name == signal.SIGINT else signal.SIG_DFL)
    importlib.invalidate_caches()
    for root in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if root:
            sys.path.insert(0, root)
            sys.path_importer_cache.pop(root, None)
    site.addsitedir(site.getsitepackages()[0])
    if "code" in request:
        sys.argv = ["-c", *request.get("args", ())]
        scope = {"__name__": "__main__", "__builtins__": __builtins__}
        exec(compile(request["code"], "<request>", "exec"), scope)
        return 0
    sys.argv = [request["module"], *request.get("args", ())]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    return 0


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)


def _port() -> str:
    while True:
        for port in Path("/sys/class/virtio-ports").iterdir():
            if (port / "name").read_text().strip() == "harness":
                return f"/dev/{port.name}"
        time.sleep(0.01)


def _warm_up() -> None:
    for module in WARM:
        importlib.import_module(module)
    # A session without tests imports what pytest imports late; by name only, or it would compile every plugin anew.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    Path(EMPTY).mkdir()
    pytest.main(["-q", "--rootdir", EMPTY, "-c", "/dev/null", "-p", "pytest_asyncio.plugin", EMPTY])
    del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
    # What is here stays: a child need not look at it when it collects garbage, nor copy its pages.
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    Path(JOBS).mkdir()
    _warm_up()
    Zygote(_port()).serve()
