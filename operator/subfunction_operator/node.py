"""One node's kernel as the agent works it: each parent in a thread of its own, each sub-function to its rest.

What takes the kernel a while (a function that attaches, a driver that lets go) is waited for here, outside the parent's
thread and with a pause that grows: mlx5 announces neither.
"""

import asyncio
import dataclasses
from collections.abc import Callable
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
from subfunction_operator.parents import find, named
from subfunction_operator.reconcile import Reconciler
from subfunction_operator.step import Rest, Wait

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 1.0
Reserved = Callable[[Handle], frozenset[int]]
"""Gives the numbers of a parent that others have or ask for."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Waiting:
    """What one sub-function waits for, since when, and whether it was reloaded already."""

    reason: Reason
    generation: int
    began: float
    reloaded: bool


@dataclasses.dataclass(slots=True)
class Node:
    """The kernel of one node, with the threads that speak to it."""

    transport: Transport
    reconciler: Reconciler
    kernel_deadline: float
    attach_deadline: float
    patience: float = 2.0
    """Seconds of waiting at a stretch: most functions attach sooner, and one that does not keeps nobody waiting."""

    _workers: Workers = dataclasses.field(default_factory=Workers)
    _netlinks: dict[str, Netlink] = dataclasses.field(default_factory=dict)
    _waiting: dict[str, _Waiting] = dataclasses.field(default_factory=dict)

    async def settle(self, desired: Desired, reserved: Reserved) -> Outcome:
        """Bring one sub-function as near to what is asked as can be; come back when it has waited for long.

        Never raises SubFunctionError: what stands in the way is in the outcome.
        """
        try:
            parent = await self._parent(desired)
        except SubFunctionError as error:
            return Outcome(None, error=error)
        if parent is None:
            return Outcome(None, Rest())
        pause = _FIRST_PAUSE
        while True:
            waiting = self._waiting.get(desired.uid)
            outcome = await self._run(desired, parent, reserved(parent), reloaded=bool(waiting and waiting.reloaded))
            waited = self._waited(desired, outcome)
            if waited is None:
                return outcome
            if waited > self.attach_deadline:
                return _overdue(outcome, self.attach_deadline)
            if waited > self.patience:
                return outcome
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _waited(self, desired: Desired, outcome: Outcome) -> float | None:
        """Give the seconds that it has waited for the same thing; None where it does not wait for the kernel."""
        if not isinstance(outcome.decision, Wait) or not outcome.attaching:
            self._waiting.pop(desired.uid, None)
            return None
        now = asyncio.get_running_loop().time()
        generation = desired.object.metadata.generation if desired.object else 0
        old = self._waiting.get(desired.uid)
        same = old is not None and (old.reason, old.generation) == (outcome.decision.reason, generation)
        began = old.began if old is not None and same else now
        self._waiting[desired.uid] = _Waiting(outcome.decision.reason, generation, began, outcome.reloaded)
        return now - began

    async def _parent(self, desired: Desired) -> Handle | None:
        """Find the parent; None where there is nothing to do on any."""
        record = await asyncio.to_thread(self.reconciler.observer.records.read, desired.uid)
        if record is not None:
            return Handle.parse(record.claim.parent)
        wanted = desired.object
        if wanted is None:
            raise ProbeFailed(f"{desired.name} has neither an object nor a record")
        if desired.deleting and wanted.status.parent is None:
            return None  # nothing was ever made, whatever became of the parent it asked for
        if (handle := named(wanted)) is not None:
            return handle
        devlink = self._devlink("node")
        sysfs = self.reconciler.observer.sysfs
        return await self._workers.of("node").run(
            f"find the parent of {desired.name}", lambda: find(wanted, devlink, sysfs), self.kernel_deadline
        )

    async def _run(self, desired: Desired, parent: Handle, reserved: frozenset[int], *, reloaded: bool) -> Outcome:
        devlink = self._devlink(str(parent))
        try:
            return await self._workers.of(str(parent)).run(
                f"reconcile {desired.name}",
                lambda: self.reconciler.run(devlink, desired, parent, reserved, reloaded=reloaded),
                self.kernel_deadline,
            )
        except SubFunctionError as error:
            return Outcome(None, error=error)

    def _devlink(self, thread: str) -> Devlink:
        """Give the thread's own devlink: sockets and family ids are not shared."""
        if thread not in self._netlinks:
            self._netlinks[thread] = Netlink(self.transport)
        return Devlink(self._netlinks[thread])

    def stop(self) -> None:
        """Let the threads end after what they have in hand, each with its socket."""
        for thread, netlink in self._netlinks.items():
            self._workers.of(thread).stop(netlink.close)


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
