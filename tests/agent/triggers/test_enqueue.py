"""News that comes while a sub-function is looked at for the first time, when none of its names is known yet."""

import asyncio

import pytest

from rig import virtualtime
from subfunction.errors import ProbeFailed
from subfunction_operator.agent.model.decision import ReconcileResult, Settled
from subfunction_operator.agent.model.observation import Observation
from subfunction_operator.agent.triggers.enqueue import EventEnqueuer
from subfunction_operator.kube.workqueue import WorkQueue

SEEN = Observation(boot_id="now")
READY, FAILED = ReconcileResult(SEEN, Settled()), ReconcileResult(SEEN, error=ProbeFailed("no driver"))


async def wanted(queue: WorkQueue) -> bool:
    await asyncio.sleep(0)
    return sum(queue.lengths().values()) > 0


@pytest.mark.parametrize("result", [READY, FAILED], ids=["ready", "failed"])
@pytest.mark.parametrize("news", ["port", "path", "link", "driver"])
async def test_it_is_looked_at_again(result: ReconcileResult, news: str) -> None:
    queue = WorkQueue()
    attention = EventEnqueuer(queue)
    attention.on_start("u")
    match news:
        case "port":
            attention.enqueue_device("pci/0000:03:00.0/32768")
        case "path":
            attention.enqueue_path("devices/pci0000:00/0000:03:00.0/mlx5_core.sf.2")
        case "link":
            attention.enqueue_link(7)
        case _:
            attention.enqueue_waiting()
    assert not await wanted(queue)
    attention.on_result("u", result)
    assert await wanted(queue)


async def test_without_news_it_is_not(subtests: pytest.Subtests) -> None:
    for result in (READY, FAILED):
        with subtests.test(ready=result is READY):
            queue = WorkQueue()
            attention = EventEnqueuer(queue)
            attention.on_start("u")
            attention.on_result("u", result)
            assert not await wanted(queue)


async def test_news_of_strangers_in_a_later_look_is_no_reason() -> None:
    queue = WorkQueue()
    attention = EventEnqueuer(queue)
    attention.on_start("u")
    attention.on_result("u", READY)
    attention.on_start("u")
    attention.enqueue_device("pci/0000:03:00.0/32768")
    attention.on_result("u", READY)
    assert not await wanted(queue)
    attention.forget("u")
    attention.on_start("u")
    attention.enqueue_device("pci/0000:03:00.0/32768")
    attention.on_result("u", READY)
    assert await wanted(queue)


def test_events_of_one_whose_status_is_refused_wait_longer_each_time() -> None:
    async def waits() -> list[float]:
        queue = WorkQueue()
        enqueuer = EventEnqueuer(queue)
        found = []
        for _ in range(3):
            enqueuer.on_result("u", READY)
            enqueuer.on_error("u")
            found.append(await seconds_until_reconciled(enqueuer, queue))
        enqueuer.on_result("u", READY)
        enqueuer.on_success("u")
        return [*found, await seconds_until_reconciled(enqueuer, queue)]

    assert virtualtime.run(waits()) == pytest.approx([0.5, 1.0, 2.0, 0.1])


async def seconds_until_reconciled(enqueuer: EventEnqueuer, queue: WorkQueue) -> float:
    """Give the time from an event of a device of `u` to its reconciliation."""
    loop = asyncio.get_running_loop()
    begun, reconciled = loop.time(), asyncio.Event()

    async def job(_uid: str) -> None:
        reconciled.set()

    enqueuer.enqueue("u")
    worker = asyncio.create_task(queue.run(job, 1))
    await reconciled.wait()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    return loop.time() - begun
