"""Back-off for each key, and the limit on all retries of a program."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from subfunction.errors import ApiConflict, ApiUnavailable, ParentNotFound, SubFunctionError, UnsupportedField
from subfunction_operator.kube.backoff import LONGEST, RateLimiter, RetryBucket, full_jitter


def unlimited(chance: float) -> RateLimiter:
    return RateLimiter(RetryBucket(rate=1e9, burst=1e9, clock=lambda: 0.0), lambda: chance)


def ceilings(error: SubFunctionError, tries: int) -> list[float]:
    limiter = unlimited(1.0)
    return [pause for _ in range(tries) if (pause := limiter.when("a", error)) is not None]


def test_a_conflict_is_tried_again_at_once_and_then_ever_later() -> None:
    found = ceilings(ApiConflict("changed", status=409), 14)
    assert found[0] <= 0.1
    assert all(later == min(2 * earlier, LONGEST) for earlier, later in itertools.pairwise(found))


def test_the_first_ceiling_is_the_errors_own_pause_and_the_last_two_minutes() -> None:
    assert ceilings(ParentNotFound("absent"), 5) == [30.0, 60.0, 120.0, 120.0, 120.0]


def test_an_error_that_only_a_change_mends_is_not_tried_again() -> None:
    assert unlimited(1.0).when("a", UnsupportedField("no")) is None


def test_keys_fail_each_by_itself_and_a_success_forgets() -> None:
    limiter, error = unlimited(1.0), ApiUnavailable("503")
    for _ in range(5):
        limiter.when("a", error)
    assert limiter.when("b", error) == 0.5
    limiter.forget("a")
    assert limiter.when("a", error) == 0.5


@given(st.integers(1, 5000), st.floats(0.0, 1.0))
def test_a_pause_is_anywhere_below_its_ceiling_however_often_it_failed(failures: int, chance: float) -> None:
    assert (
        0.0 <= full_jitter(failures, 0.005, LONGEST, lambda: chance) <= min(LONGEST, 0.005 * 2.0 ** min(failures, 64))
    )


def test_a_hundred_retries_go_at_once_and_ten_a_second_after_them() -> None:
    now = [0.0]
    bucket = RetryBucket(clock=lambda: now[0])
    limiter = RateLimiter(bucket, lambda: 0.0)
    error = ApiUnavailable("503")
    pauses = [limiter.when(str(key), error) for key in range(300)]
    assert pauses[:100] == [0.0] * 100
    assert pauses[-1] == 20.0
    now[0] = 30.0
    assert limiter.when("later", error) == 0.0
