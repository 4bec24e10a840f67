"""The narrator tells the story: each line with its time, its speaker, and what happened."""

import asyncio
import sys
from collections.abc import Callable

from subfunction.errors import SubFunctionError

_WIDTH = 8
_COLOURS = {"you": "36", "kernel": "33", "kubelet": "35", "api": "34"}


class StoryEndedEarlyError(SubFunctionError):
    """Something that the story needs did not happen."""


class Narrator:
    """The narrator prints the story, and knows what has happened so far."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._changed = asyncio.Event()
        self._coloured = sys.stdout.isatty()

    def say(self, who: str, what: str) -> None:
        """Tell one thing."""
        speaker = f"{who:<{_WIDTH}}"
        if self._coloured:
            speaker = f"\033[{_COLOURS.get(who, '0')}m{speaker}\033[0m"
        print(f"{self._clock() - self._began:6.2f} s  {speaker}{what}", flush=True)
        self.notify()

    def show(self, lines: list[str]) -> None:
        """Show what belongs to the line before."""
        for line in lines:
            print(f"{'':10}{'':{_WIDTH}}{line}", flush=True)

    def notify(self) -> None:
        """Hear that something is to be looked at again."""
        self._changed.set()

    async def until(self, what: str, so: Callable[[], bool], check: Callable[[], None], seconds: float = 20) -> None:
        """Wait until something is so; `check` raises when it never can be.

        Raises:
            StoryEndedEarlyError: it is not so in time.
        """
        deadline = self._clock() + seconds
        while not so():
            check()
            if self._clock() > deadline:
                raise StoryEndedEarlyError(f"the demo waited {seconds:g} s in vain until {what}", hint="Try --verbose.")
            self._changed.clear()
            try:
                async with asyncio.timeout(0.5):
                    await self._changed.wait()
            except TimeoutError:
                continue
