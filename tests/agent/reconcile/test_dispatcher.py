"""One thread a parent: a kernel that hangs keeps its own parent and nobody else, least of all the event loop."""

import asyncio
import dataclasses
import threading
import time
from pathlib import Path

import msgspec
import pytest

from rig.waiting import eventually
from rig.world import OTHER_PARENT, PARENT, WithoutRdma, World, derived
from subfunction.api.subfunction import Status, SubFunction
from subfunction.errors import KernelBusy, ProbeFailed
from subfunction.kernel.address import Handle
from subfunction.kernel.worker import KernelWorker, KernelWorkers
from subfunction_operator.agent.model.decision import Settled
from subfunction_operator.agent.model.observation import Desired
from subfunction_operator.agent.model.query import Reserved
from subfunction_operator.agent.model.steps import Reload
from subfunction_operator.agent.reconcile.dispatcher import KernelDispatcher
from subfunction_simulator.kernel import Kind

pytestmark = pytest.mark.mlx5("attaching takes its time")

DEADLINE = 0.5
"""Seconds: a busy machine finishes the work on a parent that does not hang within them."""


def nobody(_: Handle) -> Reserved:
    return Reserved()


@pytest.fixture
def kernel_node(world: World) -> KernelDispatcher:
    return KernelDispatcher(world.kernel.transport(), world.reconciler, kernel_deadline=DEADLINE, attach_deadline=5)


async def latency(seconds: float) -> float:
    """Measure the longest stop of the event loop, in seconds."""
    loop, worst = asyncio.get_running_loop(), 0.0
    end = loop.time() + seconds
    while (before := loop.time()) < end:
        await asyncio.sleep(0.005)
        worst = max(worst, loop.time() - before - 0.005)
    return worst


async def test_a_parent_that_hangs_is_busy_others_go_on_and_it_comes_back_by_itself(
    world: World, kernel_node: KernelDispatcher
) -> None:
    stuck, free = world.apply("stuck"), world.apply("free", parent={"device": str(OTHER_PARENT)})
    with world.kernel.faults.hang(PARENT):
        first = await kernel_node.run_until_settled(Desired.of(stuck), nobody)
        assert isinstance(first.error, KernelBusy)
        assert "reconcile stuck" in str(first.error)
        began = time.monotonic()
        second = await kernel_node.run_until_settled(Desired.of(stuck), nobody)
        assert isinstance(second.error, KernelBusy)
        assert time.monotonic() - began < DEADLINE / 2  # it is left alone, not waited for again
        assert (await kernel_node.run_until_settled(Desired.of(free), nobody)).decision == Settled()
    worker = kernel_node._workers.of(str(PARENT))
    await eventually(lambda: worker.stuck_in is None, "the thread to come back")
    assert (await kernel_node.run_until_settled(Desired.of(stuck), nobody)).decision == Settled()
    assert world.port_numbers() == [1]
    assert world.mac(1) == derived("stuck")
    kernel_node.stop()


async def test_a_search_passes_over_a_parent_that_hangs_and_keeps_nobody_who_names_theirs(
    world: World, kernel_node: KernelDispatcher
) -> None:
    seeks = world.apply("seeks", parent={"selector": {"driver": "mlx5_core"}})
    names = world.apply("names", parent={"device": str(OTHER_PARENT)})
    with world.kernel.faults.hang(PARENT):
        for wanted in (seeks, names):
            found = await kernel_node.run_until_settled(Desired.of(wanted), nobody)
            assert found.decision == Settled()
            assert found.seen is not None
            assert found.seen.handle == str(OTHER_PARENT)
    kernel_node.stop()


async def test_a_search_whose_parents_all_hang_is_busy(world: World, kernel_node: KernelDispatcher) -> None:
    seeks = world.apply("seeks", parent={"selector": {"driver": "mlx5_core"}})
    with world.kernel.faults.hang(PARENT), world.kernel.faults.hang(OTHER_PARENT):
        result = await kernel_node.run_until_settled(Desired.of(seeks), nobody)
    assert isinstance(result.error, KernelBusy)
    assert "rank pci/" in str(result.error)
    kernel_node.stop()


async def test_the_record_of_an_earlier_boot_goes_with_its_object_though_no_status_names_a_parent(world: World) -> None:
    world.apply(parent={"netdev": "enp130s0np0"})
    world.settle()
    world.reboot(records_survive=True)
    node = KernelDispatcher(world.kernel.transport(), world.reconciler, kernel_deadline=5, attach_deadline=5)
    deleted = dataclasses.replace(Desired.of(without_status(world)), deleting=True)
    result = await node.run_until_settled(deleted, nobody)
    assert result.released
    assert world.records.read_all().items == {}
    node.stop()


def without_status(world: World) -> SubFunction:
    return msgspec.structs.replace(world.objects["uid-blue"], status=Status())


async def test_a_function_that_does_not_attach_is_waited_for_a_while_and_then_looked_at_only(world: World) -> None:
    node = KernelDispatcher(
        world.kernel.transport(), world.reconciler, kernel_deadline=5, attach_deadline=60, patience=0.05
    )
    blue = world.apply()
    world.kernel.hold(Kind.ATTACH)
    for _ in range(3):
        async with asyncio.timeout(10):
            assert (await node.run_until_settled(Desired.of(blue), nobody)).attaching
    world.kernel.let_go(Kind.ATTACH)
    assert (await node.run_until_settled(Desired.of(blue), nobody)).decision == Settled()
    node.stop()


async def test_a_device_that_does_not_come_is_one_reload_and_then_a_fault_that_stays_the_same(world: World) -> None:
    world.sysfs = WithoutRdma(world.sysfs)
    world.restart()
    node = KernelDispatcher(world.kernel.transport(), world.reconciler, kernel_deadline=5, attach_deadline=0.2)
    blue = world.apply()
    said = []
    for _ in range(3):
        result = await node.run_until_settled(Desired.of(blue), nobody)
        assert isinstance(result.error, ProbeFailed)
        said.append(str(result.error))
    assert len(set(said)) == 1
    assert sum(isinstance(step, Reload) for step in world.seam.steps) == 1
    node.stop()


async def test_the_event_loop_does_not_notice_a_kernel_that_hangs_for_a_second(root: Path) -> None:
    world = World(root)
    node = KernelDispatcher(world.kernel.transport(), world.reconciler, kernel_deadline=5, attach_deadline=5)
    blue = world.apply()
    with world.kernel.faults.hang(PARENT) as hang:
        work = asyncio.create_task(node.run_until_settled(Desired.of(blue), nobody))
        assert await asyncio.to_thread(hang.wait_for_victim, 5)
        # The least of three: what this machine does to us meanwhile is not the agent's doing.
        assert min([await latency(0.3) for _ in range(3)]) < 0.05
        assert not work.done()
    assert (await work).decision == Settled()
    node.stop()


async def test_the_deadline_is_that_of_the_work_and_not_of_the_wait_for_its_turn() -> None:
    worker = KernelWorker("pci/0000:05:00.0")
    jobs = [worker.run(f"job {number}", lambda: time.sleep(0.05), 0.5) for number in range(12)]
    await asyncio.gather(*jobs)
    worker.stop()


async def test_a_worker_that_came_back_late_is_used_again_and_its_late_answer_is_nobodys() -> None:
    worker = KernelWorker("pci/0000:05:00.0")
    with pytest.raises(KernelBusy):
        await worker.run("slow", lambda: time.sleep(0.1), 0.02)
    with pytest.raises(KernelBusy, match="slow"):
        await worker.run("impatient", lambda: None, 0.02)
    await eventually(lambda: worker.stuck_in is None, "the thread to come back")
    assert await worker.run("quick", lambda: 7, 1) == 7
    worker.stop()


async def test_a_job_that_ends_in_the_very_turn_of_its_deadline_has_ended_and_the_worker_goes_on() -> None:
    worker = KernelWorker("pci/0000:05:00.0")
    begun, go_on, reported = threading.Event(), threading.Event(), threading.Event()

    def job() -> int:
        begun.set()
        assert go_on.wait(5)
        return 7

    def hold_the_loop() -> None:
        """Let the answer and the deadline be due in the loop's very next turn."""
        assert begun.wait(5)
        go_on.set()
        worker._queue.put(reported.set)
        assert reported.wait(5)
        time.sleep(0.06)

    task = asyncio.create_task(worker.run("reload", job, 0.05))
    await asyncio.sleep(0)
    hold_the_loop()
    assert await task == 7
    assert worker.stuck_in is None
    assert await worker.run("look", lambda: 8, 1) == 8
    worker.stop()


async def test_a_timeout_that_a_job_reports_is_its_own_and_the_thread_is_free() -> None:
    worker = KernelWorker("pci/0000:05:00.0")

    def refuse() -> None:
        raise TimeoutError("of the job")

    with pytest.raises(TimeoutError, match="of the job"):
        await worker.run("refuse", refuse, 1)
    assert await worker.run("next", lambda: 1, 1) == 1
    worker.stop()


async def test_what_a_job_raises_is_raised_to_its_caller() -> None:
    worker = KernelWorker("pci/0000:05:00.0")

    def refuse() -> None:
        raise KernelBusy("no")

    with pytest.raises(KernelBusy, match="no"):
        await worker.run("refuse", refuse, 1)
    assert await worker.run("next", lambda: 1, 1) == 1
    worker.stop()


async def test_the_last_job_of_a_worker_runs_in_its_thread_before_it_ends() -> None:
    workers = KernelWorkers()
    worker = workers.of("a")
    assert workers.of("a") is worker
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def last() -> None:
        loop.call_soon_threadsafe(ended.set)

    worker.stop(last)
    await asyncio.wait_for(ended.wait(), 5)
