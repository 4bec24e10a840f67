"""Lists this node's objects from time to time: a watch that was cut off never reports what was deleted meanwhile."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from subfunction.errors import ApiTooOld, SubFunctionError
from subfunction_operator.kube.backoff import RateLimiter, spread

_LOG = logging.getLogger(__name__)

_JITTER: Final = 0.1
"""By which part the time between two LISTs is longer or shorter, at random."""
_LONGEST_SPREAD: Final = 10.0
_KEY: Final = "LIST"


def spread_of(interval: float) -> float:
    """Return over how many seconds the agents of a cluster spread a LIST that one event starts in all of them.

    An API server that was restarted has no history: every watch ends with 410 at once, and a LIST of a thousand agents
    in the same second costs it more than it has (`docs/scale.md`).
    """
    return min(_LONGEST_SPREAD, interval / 100)


class Relister:
    """Lists at the start, about every `interval` seconds, and within `spread_of` seconds after the watch was reopened.

    `relist` makes the LIST; `on_failure` is called with what it raised. A LIST that fails is tried again with back-off.
    """

    def __init__(
        self,
        relist: Callable[[], Awaitable[None]],
        interval: float,
        on_failure: Callable[[SubFunctionError], None],
        limiter: RateLimiter | None = None,
    ) -> None:
        self._relist = relist
        self._interval = interval
        self._on_failure = on_failure
        self._limiter = limiter or RateLimiter()
        self._reopened = asyncio.Event()

    def reopen(self) -> None:
        """Request a LIST: the watch was opened anew, and does not report what was deleted before."""
        self._reopened.set()

    async def run(self) -> None:
        """List for ever.

        Raises:
            ApiTooOld: the cluster is of a Kubernetes that lacks what we rely on.
        """
        while True:
            await self._list()
            with contextlib.suppress(TimeoutError):
                # Agents that began together list each at its own time.
                jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  # no secret
                async with asyncio.timeout(self._interval * jitter):
                    await self._reopened.wait()
                    await spread(spread_of(self._interval))

    async def _list(self) -> None:
        while True:
            self._reopened.clear()
            try:
                await self._relist()
            except ApiTooOld:
                raise
            except SubFunctionError as error:
                self._on_failure(error)
                pause = self._limiter.when(_KEY, error)
                _LOG.warning("no comparison with a LIST: %s", error)
                await asyncio.sleep(self._interval if pause is None else pause)
            else:
                self._limiter.forget(_KEY)
                return
