"""A warm process that has everything imported and no thread, and of which each program is a fork.

Starting Python and importing the agent takes longer than all that an agent does here.
"""

import contextlib
import dataclasses
import faulthandler
import gc
import logging
import os
import select
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Final

import kubernetes.aio.config

from subfunction.errors import SubFunctionError

_LOG = logging.getLogger("matrix")

_DEATH_SECONDS: Final = 10.0

_WARM: Final = (kubernetes.aio.config,)
"""What a program imports at its start alone, to load its kubeconfig: 0.6 s that each fork would spend again."""


Program = Callable[[], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """A program to be forked; what it says goes to the file `log`."""

    run: Program
    log: Path


class Zygote:
    """The near end of the warm process; to be made before this process has any thread."""

    def __init__(self) -> None:
        self._connection, far = Pipe()
        gc.collect()
        gc.freeze()  # what is shared with the children stays shared
        self._pid = os.fork()
        if self._pid == 0:
            self._connection.close()
            with contextlib.suppress(EOFError):
                _serve(far)
            os._exit(0)
        far.close()

    def start(self, run: Program, log: Path) -> int:
        """Fork, and give the process's id."""
        self._connection.send(Start(run, log))
        pid = self._connection.recv()
        assert isinstance(pid, int)
        return pid

    def end(self, pid: int) -> int:
        """Collect a process that has ended, or is about to, and give what it ended with: -9 for SIGKILL."""
        self._connection.send(pid)
        code = self._connection.recv()
        assert isinstance(code, int)
        return code

    def close(self) -> None:
        """End the warm process, which kills whatever it forked."""
        self._connection.close()
        os.waitpid(self._pid, 0)


def _serve(far: "Connection[Any, Any]") -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who runs the matrix
    children: set[int] = set()
    try:
        while True:
            asked = far.recv()
            if isinstance(asked, Start):
                pid = os.fork()
                if pid == 0:
                    far.close()
                    _be(asked)
                children.add(pid)
                far.send(pid)
            else:
                far.send(_collected(asked))
                children.discard(asked)
    finally:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _collected(pid: int) -> int:
    descriptor = os.pidfd_open(pid)
    try:
        if not select.select([descriptor], [], [], _DEATH_SECONDS)[0]:
            os.kill(pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(descriptor)


def _be(start: Start) -> None:
    """Become a program, and never return."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    descriptor = os.open(start.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)  # `kill -USR1` shows where each thread stands
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    code = 1
    try:
        start.run()
        code = 0
    except SubFunctionError as error:
        sys.stderr.write(f"{error}\n")
    except Exception:  # noqa: BLE001  # the process ends here, and its log is all that is left of it
        _LOG.exception("ended by a fault")
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> bool:
    """Say whether a process of somebody's has ended, collected or not."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 0)[0])
    finally:
        os.close(descriptor)
