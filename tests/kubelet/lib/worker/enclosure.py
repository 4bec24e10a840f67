"""A worker's own processes, mounts and cgroups: whatever is started there ends with us, and leaves nothing behind.

Process, mount and cgroup namespaces; the network stays the host's, for the API server on its loopback, and so do the
host's sysctls, of which those that a kubelet would change are covered by files of our own. The process namespace's
first process is killed when this one ends, however that happens, and with it the kernel kills every other: containerd,
its shims, containers. With the last process go the mounts and the pods' network namespaces.
"""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.errors import HarnessError
from harness.host import require_tool
from harness.process import Guarded
from harness.wait import until
from worker.cgroups import Cgroups

SCRIPT = Path(__file__).with_name("enclosure.sh")
PREFIX = "sfk-"
"""Of the folders of runs, in the folder for temporary files: short, for the 107 bytes of a socket's path."""

JOIN = 'while [ "$1" != -- ]; do echo $$ >"$1"; shift; done; shift; exec "$@"'
"""Enter the cgroups named before `--`, then become the command behind it."""
_SECONDS_TO_BEGIN = 20.0


class Enclosure:
    """The namespaces of one run, with a folder that is the same inside and outside."""

    def __init__(self, run: Path, cgroups: Cgroups) -> None:
        self.run = run
        self._cgroups = cgroups
        unshare = [require_tool("unshare"), "--mount", "--pid", "--cgroup", "--fork", "--kill-child", "--mount-proc"]
        command = self._joined(*unshare, "/bin/sh", str(SCRIPT), str(run))
        self._holder = Guarded(command, run / "enclosure.log")

    def wait(self) -> None:
        """Wait until programs can be started.

        Raises:
            HarnessError: the namespaces cannot be made; the message has what the kernel said.
        """

        def ready() -> bool:
            if self._holder.ended():
                raise HarnessError(f"no namespaces of our own: {(self.run / 'enclosure.log').read_text().strip()}")
            return (self.run / "enclosed").exists()

        until(ready, bool, _SECONDS_TO_BEGIN)

    def command(self, *command: str) -> list[str]:
        """Give the command line that runs a command inside."""
        [first] = children(self._holder.pid)
        enter = [require_tool("nsenter"), f"--target={first}", "--mount", "--pid", "--cgroup", f"--wd={self.run}"]
        return self._joined(*enter, "--", *command)

    def end(self) -> None:
        """End every process inside, and wait for the last one."""
        self._holder.kill()
        self._cgroups.remove()

    def _joined(self, *command: str) -> list[str]:
        return ["/bin/sh", "-c", JOIN, "join", *self._cgroups.entrances(), "--", *command]


@contextlib.contextmanager
def enclosed() -> Iterator[Enclosure]:
    """Give an enclosure with a folder of its own; both are gone afterwards."""
    with _folder() as run:
        enclosure = Enclosure(run, Cgroups.make())
        try:
            enclosure.wait()
            yield enclosure
        finally:
            enclosure.end()


def children(pid: int) -> list[int]:
    """Give a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    base = Path(tempfile.gettempdir())
    for left in base.glob(f"{PREFIX}*"):
        _remove_if_abandoned(left)
    made = Path(tempfile.mkdtemp(prefix=f"new-{PREFIX}", dir=base))
    # No other run may find the folder before it is locked.
    with (made / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = made.rename(base / made.name.removeprefix("new-"))
        try:
            yield run
        finally:
            shutil.rmtree(run)


def _remove_if_abandoned(run: Path) -> None:
    """Remove the folder of a run that was killed: nobody holds its lock."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError), (run / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(run)
