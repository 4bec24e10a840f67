"""When the agent lists, on a clock of its own: after failures, after the watch was opened anew, and in peace."""

import asyncio
import contextlib
import itertools
import statistics

import pytest

from rig.virtualtime import run
from subfunction.errors import ApiTooOld, ApiUnavailable, SubFunctionError
from subfunction_operator.agent.api.relist import Relister, spread_of
from subfunction_operator.kube.backoff import RateLimiter, RetryBucket

HOUR = 3600.0


class Site:
    """One agent's LISTs: when each was made, and what the server says to them."""

    def __init__(self, *answers: SubFunctionError | None, otherwise: SubFunctionError | None = None) -> None:
        self.answers, self.otherwise = list(answers), otherwise
        self.listed: list[float] = []
        self.failures: list[SubFunctionError] = []
        self.relister = Relister(self.resync, HOUR, self.failures.append, RateLimiter(RetryBucket(clock=self.now)))

    @staticmethod
    def now() -> float:
        return asyncio.get_event_loop().time()

    async def resync(self) -> None:
        self.listed.append(self.now())
        if (answer := self.answers.pop(0) if self.answers else self.otherwise) is not None:
            raise answer

    async def work(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.relister.run()


def test_a_list_that_is_refused_is_tried_after_ever_longer_pauses() -> None:
    async def main() -> list[float]:
        site = Site(otherwise=ApiUnavailable("503"))
        await site.work(3 * HOUR)
        assert len(site.failures) == len(site.listed)
        return site.listed

    listed = run(main())
    pauses = [later - earlier for earlier, later in itertools.pairwise(listed)]
    assert max(pauses[:3]) < 2.0, "quick at first"
    assert max(pauses) <= 120.0, "minutes at most"
    assert 30.0 < statistics.mean(pauses[20:]) < 90.0, "and on average half of that"


def test_two_agents_that_are_refused_at_once_try_again_at_times_of_their_own() -> None:
    async def main() -> tuple[list[float], list[float]]:
        one, other = (Site(otherwise=ApiUnavailable("503")) for _ in range(2))
        await asyncio.gather(one.work(HOUR), other.work(HOUR))
        return one.listed, other.listed

    one, other = run(main())
    assert one[0] == other[0]
    assert not set(one[1:]) & set(other[1:])


@pytest.mark.parametrize(("asked", "heeded"), [(20.0, 20.0), (86_400.0, 120.0)])
def test_a_server_that_asks_for_patience_is_not_listed_before_and_a_day_is_not_heeded(
    asked: float, heeded: float
) -> None:
    async def main() -> list[float]:
        site = Site(ApiUnavailable("429", retry_after=asked))
        await site.work(HOUR / 2)
        return site.listed

    first, second = run(main())
    assert heeded <= second - first <= heeded + 1.0


def test_after_a_success_the_pauses_begin_anew() -> None:
    async def main() -> list[float]:
        site = Site(*[ApiUnavailable("503")] * 12, None, ApiUnavailable("503"))
        listing = asyncio.create_task(site.work(3 * HOUR))
        await asyncio.sleep(HOUR / 2)  # twelve failures take a quarter of an hour, then it succeeds
        site.relister.reopen()
        await asyncio.sleep(60.0)
        listing.cancel()
        return site.listed

    listed = run(main())
    assert listed[-1] - listed[-2] < 1.0


def test_a_watch_that_is_opened_anew_is_listed_once_within_ten_seconds_each_agent_at_its_own_time() -> None:
    async def main() -> list[Site]:
        sites = [Site() for _ in range(200)]
        listing = [asyncio.create_task(site.work(HOUR / 2)) for site in sites]
        await asyncio.sleep(100.0)
        for site in sites:
            site.relister.reopen()
        await asyncio.gather(*listing)
        return sites

    sites = run(main())
    assert all(len(site.listed) == 2 for site in sites)
    times = sorted(site.listed[1] for site in sites)
    assert 100.0 <= times[0] <= times[-1] <= 110.0
    assert max(sum(second <= time < second + 1 for time in times) for second in range(100, 110)) < 40
    assert spread_of(HOUR) == 10.0


def test_in_peace_it_lists_about_once_an_hour() -> None:
    async def main() -> list[float]:
        site = Site()
        await site.work(10 * HOUR)
        return site.listed

    listed = run(main())
    assert 9 <= len(listed) <= 12


def test_a_cluster_that_is_too_old_ends_it() -> None:
    async def main() -> None:
        with pytest.raises(ApiTooOld):
            await Site(ApiTooOld("1.31")).work(HOUR)

    run(main())
