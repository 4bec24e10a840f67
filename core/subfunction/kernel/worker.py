"""One thread a devlink handle: work for one parent is serial, parents run in parallel, and none can hang the loop.

The kernel runs a request inside sendmsg(2) and may keep it for as long as it likes (a reload, an unbind that waits for
an open device). A thread past its deadline cannot be ended: it is left behind, its parent says `KernelBusy` until the
thread comes back, and everybody else goes on.
"""

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from subfunction.errors import KernelBusy

T = TypeVar("T")


class Worker:
    """A thread with a queue of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stuck_in: str | None = None
        """What the thread did when its caller gave up on it; None while it answers in time."""
        self._turn = asyncio.Lock()
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # A daemon: a thread that hangs in the kernel must not keep the process from ending.
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            job()

    async def run(self, operation: str, job: Callable[[], T], deadline: float) -> T:
        """Run `job` in the thread and wait for it, `deadline` seconds at most.

        Raises:
            KernelBusy: it did not end in time, or an earlier job has not come back yet.
        """
        # The deadline is that of the job, not of the wait for those before it; a stuck job gives up its turn.
        async with self._turn:
            if self.stuck_in is not None:
                raise KernelBusy(f"the kernel has not come back to {self.name} from: {self.stuck_in}")
            future = self._start(job)
            try:
                async with asyncio.timeout(deadline):
                    return await asyncio.shield(future)
            except TimeoutError as error:
                if future.done():
                    # A late loop finds answer and deadline in one turn, or the job itself said TimeoutError.
                    return future.result()
                self.stuck_in = operation
                raise KernelBusy(f"{operation}: the kernel did not answer within {deadline:g} s") from error

    def _start(self, job: Callable[[], T]) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            self.stuck_in = None
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
                future.exception()  # a caller that gave up does not ask; that is no news

        # What the caller's log lines are about, the job's are about too.
        context = contextvars.copy_context()

        def work() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = context.run(job)
            except BaseException as raised:  # noqa: BLE001  # carried to the caller, whatever it is
                error = raised
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, result, error)

        self._queue.put(work)
        return future

    def stop(self, last: Callable[[], None] | None = None) -> None:
        """Let the thread end after what it has in hand, and after doing `last` (closing a socket that is its own)."""
        if last is not None:
            self._queue.put(last)
        self._queue.put(None)


class Workers:
    """The threads of a node, made when first asked for."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}

    def of(self, name: str) -> Worker:
        """Give the thread of that name."""
        if name not in self._workers:
            self._workers[name] = Worker(name)
        return self._workers[name]

    def stop(self) -> None:
        """Let all threads end."""
        for worker in self._workers.values():
            worker.stop()
