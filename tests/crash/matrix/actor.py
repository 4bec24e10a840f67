"""One of the programs on a stage: started, killed where it was ordered to or from outside, and started again."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from matrix.moments import Orders
from matrix.zygote import Program, Zygote, ended

PATIENCE: Final = 15.0
"""Seconds after which something that should have happened will not."""
_QUIET_SECONDS: Final = 0.08
"""Nobody works any more when no moment was written down for so long."""
_STACKS_SECONDS: Final = 0.3
_PAUSE: Final = 0.004


class Late(Exception):
    """What was waited for did not happen."""


class Actor:
    """One program, at most one process of it at a time."""

    def __init__(self, zygote: Zygote, folder: Path, name: str, run: Callable[[Orders], Program]) -> None:
        self.orders = Orders(folder, name)
        self._zygote = zygote
        self._folder = folder
        self._name = name
        self._program = run(self.orders)
        self._pid: int | None = None
        self._started = 0

    def start(self) -> None:
        """Start it."""
        assert self._pid is None
        self._started += 1
        self._pid = self._zygote.start(self._program, self._log)

    @property
    def moments(self) -> list[str]:
        """What its processes did up to now."""
        return self.orders.noted()

    @property
    def dead(self) -> bool:
        """Whether it has ended, or was never started."""
        return self._pid is None or ended(self._pid)

    async def killed(self) -> None:
        """Wait until it has died as ordered, and collect it.

        Raises:
            Late: it lives on, or died of something else.
        """
        await until(lambda: self.dead, f"the {self._name} comes to the moment at which it is to die")
        self.bury()

    def bury(self) -> None:
        """Collect one that died as ordered.

        Raises:
            Late: it died of something else.
        """
        self.orders.give(None)
        self._collect()

    def kill(self) -> None:
        """Kill it from outside, wherever it is."""
        self.orders.give(None)
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            self._collect()

    def _collect(self) -> None:
        pid, self._pid = self._pid, None
        assert pid is not None
        code = self._zygote.end(pid)
        if code != -signal.SIGKILL:
            raise Late(f"the {self._name} was to be killed, and ended with {code}")

    async def quiet(self) -> None:
        """Wait until it has done nothing for a while."""
        last, since = len(self.moments), time.monotonic()
        deadline = since + PATIENCE
        while time.monotonic() - since < _QUIET_SECONDS:
            if time.monotonic() > deadline:
                raise Late(f"the {self._name} does not come to rest; it did {self.moments[-6:]}")
            await asyncio.sleep(_PAUSE)
            if (now := len(self.moments)) != last:
                last, since = now, time.monotonic()

    async def last_words(self) -> str:
        """Give the log of the last process, and where each of its threads stands if it lives."""
        if self._pid is not None and not self.dead:
            os.kill(self._pid, signal.SIGUSR1)
            await asyncio.sleep(_STACKS_SECONDS)
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    @property
    def _log(self) -> Path:
        return self._folder / f"{self._name}-{self._started}.log"


async def until(condition: Callable[[], bool], what: str, *, within: float = PATIENCE) -> None:
    """Wait for a condition.

    Raises:
        Late: it does not come.
    """
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise Late(f"not within {within:g} s: {what}")
        await asyncio.sleep(_PAUSE)
