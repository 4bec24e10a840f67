"""A QEMU process that cannot outlive us."""

import os
import signal
import subprocess
from pathlib import Path

KEEPER = 'read -r _; kill -9 "$1" 2>/dev/null'
"""A shell that waits on a pipe only we hold: when we end, however that happens, it ends QEMU."""


class Guarded:
    """A child in a session of its own (Ctrl-C is ours to handle), killed by its id."""

    def __init__(self, command: list[str], log: Path) -> None:
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        reading, self._pipe = os.pipe()
        try:
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, "keeper", str(self._child.pid)],
                stdin=reading, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(self._pipe)
            self._child.kill()
            self._child.wait()
            raise
        finally:
            os.close(reading)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def ended(self) -> bool:
        """Whether the child has ended (it stays unreaped, so that its id is nobody else's)."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """End child and keeper; harmless when they have ended already."""
        if self._child.returncode is not None:
            return
        self._child.send_signal(signal.SIGKILL)
        # The keeper first: while the child is not reaped, its id cannot have passed to another process.
        self._keeper.kill()
        self._keeper.wait()
        os.close(self._pipe)
        self._child.wait()
