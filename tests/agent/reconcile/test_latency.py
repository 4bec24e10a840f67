"""A kernel that keeps a request for seconds: the event loop goes on, other parents go on, and the object says so."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Self

from rig.cluster import cluster
from rig.world import OTHER_PARENT
from subfunction.kernel.address import Handle

BLOCKED = 5.0
LATENCY = 0.05
PERIOD = 0.005


class Ticker:
    """Measures how late timers of 5 ms come in the event loop, and in a thread beside it: so late is the machine."""

    def __init__(self) -> None:
        self.latest = 0.0
        self.machine = 0.0
        self._ended = threading.Event()

    async def __aenter__(self) -> Self:
        self._thread = threading.Thread(target=self._beside)
        self._thread.start()
        self._task = asyncio.create_task(self._within())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        self._ended.set()
        self._thread.join()

    async def _within(self) -> None:
        while True:
            due = time.monotonic() + PERIOD
            await asyncio.sleep(PERIOD)
            self.latest = max(self.latest, time.monotonic() - due)

    def _beside(self) -> None:
        while not self._ended.is_set():
            due = time.monotonic() + PERIOD
            time.sleep(PERIOD)
            self.machine = max(self.machine, time.monotonic() - due)


async def test_a_function_that_takes_five_seconds_delays_neither_the_loop_nor_other_parents(root: Path) -> None:
    async with cluster(root) as node:
        node.start_agent()
        await node.apply("before", parent={"device": str(OTHER_PARENT)})
        before = await node.until_ready("before")
        assert before.status.device is not None
        stem, _, number = before.status.device.id.rpartition(".")
        hang = node.kernel.faults.hang(Handle("auxiliary", f"{stem}.{int(number) + 1}"))
        began = time.monotonic()
        await node.apply("slow")
        await node.until(lambda: hang.wait_for_victim(0), "a request to be kept")
        async with Ticker() as ticker:
            for name in ("a", "b", "c"):
                await node.apply(name, parent={"device": str(OTHER_PARENT)})
                await node.until_ready(name, within=BLOCKED)
            others = time.monotonic() - began
            await asyncio.sleep(BLOCKED - others)
        hang.release()
        await node.until_ready("slow")
        assert others < BLOCKED
        late = ticker.latest - ticker.machine
        assert late < LATENCY, f"the loop was {late * 1000:.0f} ms later than the machine ({ticker.machine:.3f} s)"
