"""How long a test waits: by the time for which nothing kept the programs from running, and not by the clock alone.

A program that has lost a wake-up sleeps, and its seconds count. One that waits for its turn on a busy machine does
nothing wrong: that time is not held against it.
"""

import os
import time
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_LONGEST: Final = 8.0
"""How many times as long it is by the clock at most: below the 600 s after which a test that hangs is ended unheard."""


class Patience:
    """So many seconds, and as many more as a thread of this process or of a descendant waited for a CPU meanwhile."""

    def __init__(self, seconds: float) -> None:
        self._began = self._at = time.monotonic()
        self._end = self._began + seconds
        self._latest = self._began + _LONGEST * seconds
        self._let_off = 0.0
        self._delays = delays()

    def spent(self) -> bool:
        """Say whether nothing is left."""
        now = time.monotonic()
        if now < min(self._end, self._latest):
            return False
        found = delays()
        waited = max((delay - self._delays.get(thread, 0.0) for thread, delay in found.items()), default=0.0)
        more = min(waited, now - self._at)
        self._end, self._let_off = self._end + more, self._let_off + more
        self._at, self._delays = now, found
        return now >= min(self._end, self._latest)

    def told(self) -> str:
        """Say how long it has been, when it is spent."""
        return f"{self._at - self._began:.1f} s, {self._let_off:.1f} of them without a CPU"


def delays() -> dict[str, float]:
    """Give for each thread of this process and its descendants the seconds that it has waited for a CPU so far."""
    found: dict[str, float] = {}
    waiting = ["self"]
    while waiting:
        tasks = _PROC / waiting.pop() / "task"
        for thread in _entries(tasks):
            try:
                # Nanoseconds on a CPU, nanoseconds waiting for one, and how often it had its turn.
                found[thread] = int((tasks / thread / "schedstat").read_text().split()[1]) / 1e9
                waiting += (tasks / thread / "children").read_text().split()
            except OSError:
                continue  # the thread ended between two looks
    return found


def _entries(folder: Path) -> list[str]:
    """List a folder of /proc: nothing where its process has ended."""
    try:
        return os.listdir(folder)  # noqa: PTH208
    except (FileNotFoundError, ProcessLookupError):
        return []
