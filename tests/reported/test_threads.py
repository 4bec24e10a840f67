"""A parent that is not there costs the agent nothing that stays."""

import threading
from pathlib import Path

import pytest

from rig.world import World
from subfunction.api.reasons import Reason
from subfunction_operator.agent.model.observation import Desired
from subfunction_operator.agent.reconcile.dispatcher import KernelDispatcher, reserved_numbers


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: each parent that any spec ever named has a thread for as long as the agent runs",
)
async def test_objects_whose_parents_are_not_there_leave_no_threads(root: Path) -> None:
    world = World(root)
    node = KernelDispatcher(world.kernel.transport(), world.reconciler, kernel_deadline=30, attach_deadline=30)
    before = threading.active_count()
    try:
        for number in range(40):
            typo = world.apply(f"typo-{number}", parent={"device": f"pci/{number:04x}:99:00.0"})
            outcome = await node.run_until_settled(Desired.of(typo), lambda parent: reserved_numbers([], parent, ""))
            assert outcome.error is not None
            assert outcome.error.reason == Reason.PARENT_NOT_FOUND
        assert threading.active_count() - before < 10
    finally:
        node.stop()
