"""The processes that live the lives: each with a warm one of its own, all of them forked before anybody has a thread."""

import asyncio
import atexit
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Protocol, TypeVar

from matrix.zygote import Zygote

_zygote: list[Zygote] = []
"""The one of this process, once it is one of the crew."""


R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Task(Protocol[R_co]):
    """A story on a stage of its own."""

    async def lived(self, zygote: Zygote) -> R_co:
        """Play it."""


class Crew:
    """Takes tasks, and gives what comes of them as it comes."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def all(self, tasks: Iterable[Task[R]], more: Callable[[Task[R], R], Iterable[Task[R]]]) -> Iterator[R]:
        """Run every task, and those that `more` makes of a result."""
        running = {self._pool.submit(_live, task): task for task in tasks}
        while running:
            done: set[Future[R]] = wait(running, return_when=FIRST_COMPLETED).done
            for future in done:
                task, result = running.pop(future), future.result()
                running |= {self._pool.submit(_live, each): each for each in more(task, result)}
                yield result


@contextmanager
def crew(jobs: int) -> Iterator[Crew]:
    """Have `jobs` processes."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork"), initializer=_join) as pool:
        yield Crew(pool)


def _join() -> None:
    zygote = Zygote()
    _zygote.append(zygote)
    atexit.register(zygote.close)


def _live(task: Task[R]) -> R:
    return asyncio.run(task.lived(_zygote[0]))
