"""The backlog: nothing lost, nothing done twice at once, sooner wins."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from rig.waiting import eventually
from subfunction_operator.kube.workqueue import WorkQueue

KEYS = st.sampled_from("abc")
ADDS = st.lists(
    st.tuples(KEYS, st.sampled_from([0.0, 0.001, 0.003]), st.sampled_from([0.0, 0.001, 0.002])), min_size=1, max_size=20
)


class Desk:
    """Works on keys, slowly, and takes note of when each began and ended."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.backlog = WorkQueue()
        self.begun: list[tuple[float, str]] = []
        self.at_once: Counter[str] = Counter()
        self.most_of_one = 0
        self.most = 0
        self._seconds = seconds

    async def work(self, key: str) -> None:
        self.begun.append((asyncio.get_running_loop().time(), key))
        self.at_once[key] += 1
        self.most_of_one = max(self.most_of_one, self.at_once[key])
        self.most = max(self.most, sum(self.at_once.values()))
        await asyncio.sleep(self._seconds)
        self.at_once[key] -= 1

    async def idle(self) -> None:
        await eventually(
            lambda: not self.at_once.total() and not self.backlog._working and not self.backlog._due,
            "nothing left to do",
        )


@contextlib.asynccontextmanager
async def working(desk: Desk, workers: int) -> AsyncIterator[None]:
    task = asyncio.create_task(desk.backlog.run(desk.work, workers))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@given(ADDS, st.integers(1, 3))
def test_each_wish_is_followed_by_work_that_began_after_it_and_none_is_done_twice_at_once(
    adds: list[tuple[str, float, float]], workers: int
) -> None:
    async def story() -> None:
        desk = Desk(seconds=0.0005)
        wished: dict[str, float] = {}
        async with working(desk, workers):
            for key, delay, pause in adds:
                wished[key] = asyncio.get_running_loop().time()
                desk.backlog.add(key, delay)
                await asyncio.sleep(pause)
            await desk.idle()
        last = {key: began for began, key in desk.begun}
        assert all(last[key] >= when for key, when in wished.items())
        assert desk.most_of_one == 1
        assert desk.most <= workers
        assert len(desk.begun) <= len(adds)

    asyncio.run(story())


async def test_a_key_that_is_wanted_while_it_is_worked_on_comes_once_more() -> None:
    desk = Desk(seconds=0.01)
    async with working(desk, 2):
        desk.backlog.add("a")
        await asyncio.sleep(0.005)
        for _ in range(5):
            desk.backlog.add("a")
        await desk.idle()
    assert [key for _, key in desk.begun] == ["a", "a"]
    assert desk.most_of_one == 1


async def test_sooner_wins_over_later_whichever_was_said_first() -> None:
    desk = Desk()
    began = asyncio.get_running_loop().time()
    async with working(desk, 1):
        desk.backlog.add("a", 60)
        desk.backlog.add("a", 0.01)
        desk.backlog.add("b", 0.01)
        desk.backlog.add("b", 60)
        await desk.idle()
    assert sorted(key for _, key in desk.begun) == ["a", "b"]
    assert all(when - began < 5 for when, _ in desk.begun)


async def test_many_wishes_for_one_key_are_one() -> None:
    desk = Desk()
    for _ in range(100):
        desk.backlog.add("a")
    async with working(desk, 4):
        await desk.idle()
    assert len(desk.begun) == 1


async def test_a_delay_that_came_up_while_it_was_worked_on_counts_from_when_it_was_said() -> None:
    desk = Desk(seconds=0.02)
    async with working(desk, 1):
        desk.backlog.add("a")
        await asyncio.sleep(0.005)
        desk.backlog.add("a", 0.01)
        await desk.idle()
    assert len(desk.begun) == 2
    assert desk.begun[1][0] - desk.begun[0][0] < 1
