"""Back-off as client-go has it: exponential for each key, with full jitter, and a limit on all retries together.

Clients that failed at the same moment must not try again at the same moment: an API server that comes back would fall
over again (https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/; client-go
`util/workqueue/default_rate_limiters.go`).
"""

import asyncio
import dataclasses
import random
import time
from collections.abc import Callable, Iterator
from typing import Final

from subfunction.errors import SubFunctionError

FIRST: Final = 0.005
LONGEST: Final = 120.0
"""Seconds at most between two tries, but for what a server asks for."""

LONGEST_RETRY_AFTER: Final = 120.0
"""Seconds at most that a `Retry-After` header is heeded: a proxy may ask for a day."""

_REQUESTS_FIRST: Final = 0.5
_REQUESTS_LONGEST: Final = 30.0
"""As the reflector of client-go."""

_EVENT_FIRST: Final = 0.5
_EVENT_LONGEST: Final = 30.0
_FORGET: Final = 5.0
"""Seconds beyond its delay after which a failure counts as the first again."""

Random = Callable[[], float]
"""Returns a number from 0 to 1."""


def full_jitter(failures: int, first: float, longest: float, chance: Random = random.random) -> float:
    """Return seconds from 0 to `first`, doubled for each failure before this one and bounded by `longest`."""
    # Bounded before the power, which would overflow after a thousand failures.
    ceiling = min(longest, first * 2.0 ** min(failures - 1, 64))
    return chance() * ceiling


class RequestBackoff:
    """The pauses between tries of one request, without end: half a second at most, doubling to 30 s, full jitter.

    kopf iterates it anew for each request. With its own finite pauses, an object whose request fails until they are
    used up is dropped for good: after 75 s without an API server 86 of 200 stayed unhandled (measured).
    """

    def __init__(self, chance: Random = random.random) -> None:
        self._chance = chance

    def __iter__(self) -> Iterator[float]:
        """Return the pauses, in seconds."""
        failures = 0
        while True:
            failures += 1
            yield full_jitter(failures, _REQUESTS_FIRST, _REQUESTS_LONGEST, self._chance)


class RetryBucket:
    """How many retries one program makes a second, whatever they are for: a token bucket."""

    def __init__(self, rate: float = 10.0, burst: float = 100.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._at = burst, clock()

    def reserve(self) -> float:
        """Take a token, and return the seconds until it is there."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1.0
        self._at = now
        return max(0.0, -self._tokens / self._rate)


class RateLimiter:
    """When a key that failed is tried again: the later of its own back-off and the program's bucket."""

    def __init__(self, bucket: RetryBucket | None = None, chance: Random = random.random) -> None:
        self._bucket = bucket or RetryBucket()
        self._chance = chance
        self._failures: dict[str, int] = {}

    def when(self, key: str, error: SubFunctionError) -> float | None:
        """Count a failure, and return the seconds until the next try; None where only an event helps.

        An error's own pause is the first ceiling, doubled with each failure; what a server asked for comes on top.
        """
        if error.retry_after is None:
            return None
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause = full_jitter(failures, max(FIRST, error.first_pause), max(LONGEST, error.first_pause), self._chance)
        return max(min(error.asked, LONGEST_RETRY_AFTER) + pause, self._bucket.reserve())

    def forget(self, key: str) -> None:
        """Forget the failures of a key: it succeeded, or is gone."""
        self._failures.pop(key, None)


async def spread(seconds: float) -> None:
    """Wait up to so many seconds, each client another while, so that many clients do not act in the same moment."""
    await asyncio.sleep(random.uniform(0.0, seconds))  # noqa: S311  # no secret


@dataclasses.dataclass(slots=True)
class ItemBackoff:
    """How long events about a failing key wait, so that events caused by our own retries do not start the next one."""

    _delays: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    """By key: its delay in seconds, and when it failed last."""

    def delay(self, key: str) -> float:
        """Return the seconds that an event must wait; a change of the object itself waits for nothing."""
        return self._delays.get(key, (0.0, 0.0))[0]

    def record(self, key: str, *, failed: bool) -> None:
        """Record how a reconciliation ended: the delay doubles with each failure in a row."""
        if not failed:
            self._delays.pop(key, None)
            return
        now = time.monotonic()
        delay, at = self._delays.get(key, (0.0, 0.0))
        again = delay and now - at < delay + _FORGET
        self._delays[key] = (min(delay * 2, _EVENT_LONGEST) if again else _EVENT_FIRST, now)
