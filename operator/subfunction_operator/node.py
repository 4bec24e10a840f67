"""One node's kernel as the agent works it: each parent in a thread of its own, each sub-function to its rest.

What takes the kernel a while (a function that attaches, a driver that lets go) is waited for here, outside the parent's
thread and with a pause that grows: mlx5 announces neither.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Final

from subfunction.api import SubFunction
from subfunction.errors import ProbeFailed, SubFunctionError
from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.transport import Transport
from subfunction.kernel.worker import Workers
from subfunction.reasons import Reason
from subfunction_operator.observation import Desired
from subfunction_operator.outcome import Outcome
from subfunction_operator.parents import find
from subfunction_operator.reconcile import Reconciler
from subfunction_operator.step import Wait

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 1.0
_PATIENCE: Final = 2.0
"""Seconds of waiting after which the object says what is waited for; most functions attach sooner."""

Told = Callable[[Outcome], Awaitable[None]]


@dataclasses.dataclass(slots=True)
class Node:
    """The kernel of one node, with the threads that speak to it."""

    transport: Transport
    reconciler: Reconciler
    kernel_deadline: float
    attach_deadline: float
    _workers: Workers = dataclasses.field(default_factory=Workers)
    _devlinks: dict[str, Devlink] = dataclasses.field(default_factory=dict)

    async def settle(self, desired: Desired, reserved: Callable[[Handle], frozenset[int]], told: Told) -> Outcome:
        """Bring one sub-function as near to what is asked as can be; `told` hears when that takes long.

        Never raises SubFunctionError: what stands in the way is in the outcome.
        """
        try:
            parent = await self._parent(desired)
        except SubFunctionError as error:
            return Outcome(None, error=error)
        clock = asyncio.get_running_loop().time
        began, pause, patient = clock(), _FIRST_PAUSE, True
        while True:
            outcome = await self._run(desired, parent, reserved(parent))
            waited = clock() - began
            if not outcome.attaching:
                return outcome
            if waited > self.attach_deadline:
                return _overdue(outcome, self.attach_deadline)
            if patient and waited > _PATIENCE:
                patient = False
                await told(outcome)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    async def _parent(self, desired: Desired) -> Handle:
        record = await asyncio.to_thread(self.reconciler.observer.records.read, desired.uid)
        if record is not None:
            return Handle.parse(record.claim.parent)
        wanted = desired.object
        if wanted is None:
            raise ProbeFailed(f"{desired.name} has neither an object nor a record")
        devlink = self._devlink("node")
        sysfs = self.reconciler.observer.sysfs
        return await self._workers.of("node").run(
            f"find the parent of {desired.name}", lambda: find(wanted, devlink, sysfs), self.kernel_deadline
        )

    async def _run(self, desired: Desired, parent: Handle, reserved: frozenset[int]) -> Outcome:
        devlink = self._devlink(str(parent))
        try:
            return await self._workers.of(str(parent)).run(
                f"reconcile {desired.name}",
                lambda: self.reconciler.run(devlink, desired, parent, reserved),
                self.kernel_deadline,
            )
        except SubFunctionError as error:
            return Outcome(None, error=error)

    def _devlink(self, thread: str) -> Devlink:
        """Give the thread's own devlink: sockets and family ids are not shared."""
        if thread not in self._devlinks:
            self._devlinks[thread] = Devlink(Netlink(self.transport))
        return self._devlinks[thread]

    def stop(self) -> None:
        """Let the threads end after what they have in hand."""
        self._workers.stop()


def _overdue(outcome: Outcome, deadline: float) -> Outcome:
    waiting = outcome.decision
    message = waiting.message if isinstance(waiting, Wait) else ""
    if isinstance(waiting, Wait) and waiting.reason is not Reason.ATTACHING:
        return outcome
    device = outcome.seen.auxiliary.name if outcome.seen and outcome.seen.auxiliary else "mlx5_core.sf"
    error = ProbeFailed(
        f"after {deadline:g} s {message}",
        hint=f"See `dmesg | grep {device}`, and load its driver: `modprobe mlx5_core; modprobe mlx5_ib`.",
    )
    return Outcome(outcome.seen, error=error)


def numbers_of(objects: list[SubFunction], parent: Handle, but: str) -> frozenset[int]:
    """Gather the numbers that other objects ask for or have on a parent: they are not to be chosen."""
    return frozenset(
        number
        for each in objects
        if each.uid != but and each.status.parent in {None, str(parent)}
        for number in (each.spec.number, each.status.number)
        if number is not None
    )
