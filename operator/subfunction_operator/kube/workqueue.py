"""The work queue: each key is in it at most once, with the time at which it is due, and is worked on once at a time.

A key that is added while it is worked on is queued again afterwards. A key that is added with an earlier time than it
has is moved to that time; a later time changes nothing. So no key is lost, and none has two workers at once.
"""

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Awaitable, Callable


class WorkQueue:
    """A queue of keys for one event loop."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._working: set[str] = set()
        self._again: dict[str, float] = {}
        self._changed = asyncio.Event()

    def add(self, key: str, delay: float = 0.0) -> None:
        """Enqueue a key, due `delay` seconds from now; it keeps its time where that is earlier."""
        due = asyncio.get_running_loop().time() + delay
        waiting = self._again if key in self._working else self._due
        if waiting.get(key, float("inf")) <= due:
            return
        waiting[key] = due
        if waiting is self._due:
            heapq.heappush(self._heap, (due, key))
            self._changed.set()

    def lengths(self) -> dict[tuple[str, ...], float]:
        """Count the keys that are worked on, due by now, and due later; any thread may call this."""
        now = time.monotonic()  # the clock of the event loop, which may run in another thread
        due = sum(at <= now for at in self._due.copy().values())
        return {("working",): len(self._working), ("due",): due, ("later",): len(self._due) - due}

    async def run(self, job: Callable[[str], Awaitable[None]], workers: int) -> None:
        """Run `job` for each key that is due, for ever, for up to `workers` keys at once.

        `job` must handle its errors: an exception from it ends all workers.
        """
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
                heapq.heappop(self._heap)  # moved to an earlier time, or taken by another worker
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
