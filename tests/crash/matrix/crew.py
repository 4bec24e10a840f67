"""The processes that live the stories, each with a warm one of its own; all are forked before anybody has a thread."""

import asyncio
import atexit
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

from matrix.trial import Ordeal, Story
from matrix.zygote import Zygote

_zygote: list[Zygote] = []
"""The one of this process, once it is one of the crew."""


S = TypeVar("S", bound=Story)


class Crew:
    """Takes stories, and gives what comes of them as it comes."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def live(self, stories: Iterable[S], more: Callable[[S, list[Ordeal]], Iterable[S]]) -> Iterator[list[Ordeal]]:
        """Live every story, and those that `more` makes of what came of one."""
        running = {self._pool.submit(_live, story): story for story in stories}
        while running:
            done: set[Future[list[Ordeal]]] = wait(running, return_when=FIRST_COMPLETED).done
            for future in done:
                story, ordeals = running.pop(future), future.result()
                running |= {self._pool.submit(_live, each): each for each in more(story, ordeals)}
                yield ordeals


@contextmanager
def crew(jobs: int) -> Iterator[Crew]:
    """Have `jobs` processes."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork"), initializer=_join) as pool:
        yield Crew(pool)


def _join() -> None:
    zygote = Zygote()
    _zygote.append(zygote)
    atexit.register(zygote.close)


def _live(story: Story) -> list[Ordeal]:
    try:
        return asyncio.run(story.lived(_zygote[0]))
    except Exception:  # noqa: BLE001  # the stage broke, and that is a failure of this story, not the end of all others
        point = story.points[0] if story.points else None
        return [Ordeal(story.name, "staging", point, complaints=(traceback.format_exc(),))]
