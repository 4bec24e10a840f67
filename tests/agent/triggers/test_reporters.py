"""A health reporter of one queue concerns no sub-function; that of the whole card concerns each."""

import asyncio
from pathlib import Path

import pytest

from rig.waiting import eventually
from rig.world import PARENT, World
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.uapi import Attribute, Command
from subfunction_operator.agent.triggers.enqueue import EventEnqueuer
from subfunction_operator.agent.triggers.sources import EventHandlers, watch_devlink
from subfunction_operator.kube.workqueue import WorkQueue
from subfunction_simulator.kernel.netlink import wire


@pytest.mark.parametrize(("reporter", "enqueued"), [("tx", 0), ("fw", 0), ("fw_fatal", 1)])
async def test_only_an_error_of_the_whole_card_starts_a_look_at_every_sub_function(
    root: Path, reporter: str, enqueued: int
) -> None:
    world, queue, heard = World(root), WorkQueue(), []

    async def after_a_loss() -> None:
        heard.append("loss")

    handlers = EventHandlers(EventEnqueuer(queue), after_a_loss, lambda: heard.append("event"))
    watching = asyncio.create_task(watch_devlink(handlers, Netlink(world.kernel.transport())))
    await eventually(lambda: heard == ["event", "loss"], "the monitor has begun")
    nic = world.kernel.nic(PARENT)
    named = wire.nest(Attribute.HEALTH_REPORTER, wire.text(Attribute.HEALTH_REPORTER_NAME, reporter))
    with world.kernel.lock:
        nic.announcer.tell(Command.HEALTH_REPORTER_RECOVER, nic.handle_attributes() + named)
    await eventually(lambda: heard[2:] == ["event"], "the reporter is heard")
    await asyncio.sleep(0)
    assert sum(queue.lengths().values()) == enqueued
    watching.cancel()
    await asyncio.wait([watching])
