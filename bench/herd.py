"""What a thousand agents ask of an API server that comes back without its history: LISTs a second, before and after.

A simulation on a clock of its own, no figure of a real server. The agents' side is the code that agents run
(`Relister`, `RequestBackoff`, `spread`); the server answers so many LISTs a second, and a LIST that waits for 30 s is
answered 504.
"Before" is what agents did until 2026-11-30: fixed pauses of 2 s, and both LISTs at once.

    .venv/bin/python bench/herd.py [--agents 1000] [--capacity 84]
"""

import argparse
import asyncio
import functools
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/agent/lib"))

from rig.virtualtime import run
from subfunction.errors import ApiUnavailable
from subfunction_operator.agent.api.relist import Relister, spread_of
from subfunction_operator.kube.backoff import RateLimiter, RequestBackoff, RetryBucket, spread

AWAY = 600.0
TIMEOUT = 30.0
RELIST = 3600.0


class Server:
    """An API server that is away until `back`, and then answers `capacity` LISTs a second."""

    def __init__(self, capacity: float, back: float) -> None:
        self._capacity, self._back = capacity, back
        self._free = back
        self.asked: Counter[int] = Counter()
        self.failed = 0

    def serves(self) -> bool:
        """Return whether it is back."""
        return asyncio.get_running_loop().time() >= self._back

    async def list(self) -> None:
        """Answer one LIST, or raise ApiUnavailable."""
        now = asyncio.get_running_loop().time()
        self.asked[int(now)] += 1
        if now < self._back:
            self.failed += 1
            raise ApiUnavailable("connection refused")
        self._free = max(self._free, now) + 1 / self._capacity
        wait = self._free - now
        await asyncio.sleep(min(wait, TIMEOUT))
        if wait > TIMEOUT:
            self.failed += 1
            raise ApiUnavailable("504")


Pauses = Callable[[], Iterable[float]]


async def retried(ask: Callable[[], Awaitable[None]], pauses: Pauses) -> None:
    """Ask until it succeeds, as kopf does."""
    for pause in pauses():
        try:
            await ask()
        except ApiUnavailable:
            await asyncio.sleep(pause)
        else:
            return


async def watched(server: Server, pauses: Pauses, spread_seconds: float) -> None:
    """Be kopf: try to watch while the server is away; its 410 is answered by a LIST."""
    await asyncio.sleep(random.uniform(0, 2))  # when this agent's watch broke off
    for pause in pauses():
        if server.serves():
            break
        await asyncio.sleep(pause)
    await spread(spread_seconds)
    await retried(server.list, pauses)


def before() -> Iterator[float]:
    """Return the pauses that agents made until 2026-11-30."""
    return chain((0.5, 1.0, 1.0), repeat(2.0))


async def agent_before(server: Server, listed: Callable[[], None]) -> None:
    """Be an agent as it was: kopf's LIST, and at once our own."""
    await watched(server, before, 0.0)
    await retried(server.list, functools.partial(repeat, 2.0))
    listed()


async def agent_after(server: Server, listed: Callable[[], None]) -> None:
    """Be an agent as it is."""
    loop = asyncio.get_running_loop()
    first = True

    async def resync() -> None:
        nonlocal first
        if first:
            first = False  # the LIST at the start, long before
            return
        await server.list()
        listed()

    limiter = RateLimiter(RetryBucket(clock=loop.time))
    relister = Relister(resync, RELIST, lambda _error: None, limiter)
    listing = asyncio.create_task(relister.run())
    await watched(server, RequestBackoff, spread_of(RELIST))
    relister.reopen()
    await listing


Agent = Callable[[Server, Callable[[], None]], Awaitable[None]]


async def measure(agents: int, capacity: float, agent: Agent) -> dict[str, float]:
    """Let agents run through the outage; return the peak of LISTs a second, their number, and when all were done."""
    server, loop = Server(capacity, AWAY), asyncio.get_running_loop()
    waiting, done = agents, asyncio.Event()

    def listed() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            done.set()

    tasks = [asyncio.ensure_future(agent(server, listed)) for _ in range(agents)]
    await done.wait()
    finished = loop.time() - AWAY
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "peak LISTs a second": max(server.asked.values()),
        "LISTs": sum(server.asked.values()),
        "answered with an error": server.failed,
        "seconds until all had listed": round(finished, 1),
    }


def main() -> None:
    """Print both, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument(
        "--capacity", type=float, default=84.0, help="LISTs a second: 8 CPUs, 95 ms each (docs/scale.md)"
    )
    asked = parser.parse_args()
    random.seed(1)
    figures = {
        name: run(measure(asked.agents, asked.capacity, agent))
        for name, agent in (("before", agent_before), ("after", agent_after))
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
