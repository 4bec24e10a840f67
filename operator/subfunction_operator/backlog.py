"""What is to be done next, by uid: once each, one at a time each, now or after a while.

A key that is added while it is worked on comes again afterwards; one that waits for later and is wanted now comes now.
Nothing is lost and nothing is done twice at once: that is all that a level-triggered agent needs of a queue.
"""

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Awaitable, Callable


class Backlog:
    """A queue of keys for one event loop."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._working: set[str] = set()
        self._again: dict[str, float] = {}
        self._changed = asyncio.Event()

    def add(self, key: str, delay: float = 0.0) -> None:
        """Want `key` worked on, `delay` seconds from now at the latest."""
        due = asyncio.get_running_loop().time() + delay
        waiting = self._again if key in self._working else self._due
        if waiting.get(key, float("inf")) <= due:
            return
        waiting[key] = due
        if waiting is self._due:
            heapq.heappush(self._heap, (due, key))
            self._changed.set()

    def lengths(self) -> dict[tuple[str, ...], float]:
        """Count what is worked on, due by now, and wanted later; any thread may ask."""
        now = time.monotonic()  # what an event loop counts in
        due = sum(at <= now for at in self._due.copy().values())
        return {("working",): len(self._working), ("due",): due, ("later",): len(self._due) - due}

    @property
    def idle(self) -> bool:
        """Whether nothing is being worked on or due by now."""
        now = asyncio.get_running_loop().time()
        return not self._working and all(due > now for due in self._due.values())

    async def work(self, job: Callable[[str], Awaitable[None]], workers: int) -> None:
        """Work for ever, on up to `workers` keys at once; `job` must not raise but for its end."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._worker(job))

    async def _worker(self, job: Callable[[str], Awaitable[None]]) -> None:
        async for key in self._keys():
            self._working.add(key)
            try:
                await job(key)
            finally:
                self._working.discard(key)
                if (due := self._again.pop(key, None)) is not None:
                    self.add(key, max(0.0, due - asyncio.get_running_loop().time()))

    async def _keys(self) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        while True:
            while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
                heapq.heappop(self._heap)  # wanted sooner meanwhile, or taken by another worker
            wait = self._heap[0][0] - loop.time() if self._heap else None
            if wait is not None and wait <= 0:
                _, key = heapq.heappop(self._heap)
                del self._due[key]
                yield key
                continue
            self._changed.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue
