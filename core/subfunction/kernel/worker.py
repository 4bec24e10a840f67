"""Worker threads for the kernel, one a devlink handle: work is serial for one parent and parallel between parents.

The kernel runs a request inside sendmsg(2) and may block it without limit (a reload, an unbind that waits for an open
device), so none runs in the event loop. A thread past its deadline cannot be ended: it is abandoned, requests to its
parent raise `KernelBusy` until the thread returns, which `on_return` announces, and all other parents go on.
"""

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from subfunction.errors import KernelBusy

T = TypeVar("T")

_HUNG: Final = (
    "See `dmesg` for hung tasks. A reset or an update of the firmware takes minutes; on Linux 7.3 a reload or unbind of"
    " the card while a sub-function is active never ends, and only a reboot helps."
)


class KernelWorker:
    """A thread that runs the jobs of its own queue one after the other."""

    def __init__(self, name: str, on_return: Callable[[str], None] | None = None) -> None:
        self.name = name
        self.stuck_in: str | None = None
        """The operation in which the thread missed its deadline; None while it answers in time."""
        self._on_return = on_return
        """Called with the name when a thread that missed its deadline has ended that job."""
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
            KernelBusy: the job did not end in time, or an earlier job has not ended yet.
        """
        # The deadline covers the job, not the wait for earlier jobs; a job that misses it releases the lock.
        async with self._turn:
            if self.stuck_in is not None:
                unfinished = f"the kernel has not finished an earlier request of {self.name}: {self.stuck_in}"
                raise KernelBusy(unfinished, hint=_HUNG)
            future = self._start(job)
            try:
                async with asyncio.timeout(deadline):
                    return await asyncio.shield(future)
            except TimeoutError as error:
                if future.done():
                    # A late loop sees answer and deadline at once, or the job itself raised TimeoutError.
                    return future.result()
                self.stuck_in = operation
                late = f"{operation}: the kernel did not answer within {deadline:g} s"
                raise KernelBusy(late, hint=_HUNG) from error

    def _start(self, job: Callable[[], T]) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            was_stuck, self.stuck_in = self.stuck_in is not None, None
            if was_stuck and self._on_return is not None:
                self._on_return(self.name)
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
                future.exception()  # marks it as retrieved: a caller that gave up never reads it

        # The copied context names the caller's object in the job's log lines too.
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
        """Let the thread end after the jobs in its queue, and after `last` (which closes a socket of this thread)."""
        if last is not None:
            self._queue.put(last)
        self._queue.put(None)


class KernelWorkers:
    """The threads of a node, each started when it is first asked for."""

    def __init__(self, on_return: Callable[[str], None] | None = None) -> None:
        self._workers: dict[str, KernelWorker] = {}
        self._on_return = on_return

    def of(self, name: str) -> KernelWorker:
        """Return the worker of that name; start it if there is none."""
        if name not in self._workers:
            self._workers[name] = KernelWorker(name, self._on_return)
        return self._workers[name]
