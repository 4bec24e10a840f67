"""One node's kernel as the agent works it: each parent in a thread of its own, each sub-function to its rest.

What takes the kernel a while (a function that attaches, a driver that lets go) is waited for here, outside the parent's
thread and with a pause that grows: mlx5 announces neither.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Iterable
from typing import Final

from subfunction.api import SubFunction
from subfunction.errors import ProbeFailed, SubFunctionError
from subfunction.kernel.address import Handle
from subfunction.kernel.transport import Transport
from subfunction.kernel.worker import Workers
from subfunction.reasons import Reason
from subfunction_operator.decision import Rest, Wait
from subfunction_operator.doors import Doors
from subfunction_operator.look import Look, Others
from subfunction_operator.observation import Desired, Memory
from subfunction_operator.outcome import Outcome
from subfunction_operator.parents import find, named
from subfunction_operator.reconcile import Reconciler

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 1.0
_BLINK: Final = 0.3
"""Seconds after which an object that says Ready is told otherwise: the kubelet knows already."""
_RELOAD_AGAIN: Final = 60.0
Reserved = Callable[[Handle], Others]
"""Gives the numbers of a parent that others have or ask for."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Waiting:
    """What one sub-function waits for, since when, and what was tried already."""

    reason: Reason
    generation: int
    began: float | None
    """By the loop's clock; None until the next run, which begins another wait."""
    memory: Memory


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
    _doors: dict[str, Doors] = dataclasses.field(default_factory=dict)
    _waiting: dict[str, _Waiting] = dataclasses.field(default_factory=dict)
    _reloads: dict[str, float] = dataclasses.field(default_factory=dict)

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
            memory = self._memory(desired)
            outcome = await self._run(desired, parent, reserved(parent), memory)
            if outcome.memory.reloaded and not memory.reloaded:
                self._reloads[desired.uid] = asyncio.get_running_loop().time()
            waited = self._waited(desired, outcome)
            if waited is None:
                return outcome
            if waited > self.attach_deadline:
                return self._overdue(desired, outcome)
            if waited > (_BLINK if desired.told_ready and not desired.deleting else self.patience):
                return outcome
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _memory(self, desired: Desired) -> Memory:
        waiting, now = self._waiting.get(desired.uid), asyncio.get_running_loop().time()
        # One that did not bring what was asked is no reason for the next at every look.
        recent = now - self._reloads.get(desired.uid, -_RELOAD_AGAIN) < _RELOAD_AGAIN
        if waiting is None:
            return Memory(reloaded=recent)
        return dataclasses.replace(waiting.memory, waited=0.0 if waiting.began is None else now - waiting.began)

    def _waited(self, desired: Desired, outcome: Outcome) -> float | None:
        """Give the seconds that it has waited for the same thing; None where it does not wait for the kernel."""
        if not isinstance(outcome.decision, Wait) or not outcome.attaching:
            self._waiting.pop(desired.uid, None)
            return None
        now = asyncio.get_running_loop().time()
        generation = desired.object.metadata.generation if desired.object else 0
        old = self._waiting.get(desired.uid)
        same = old is not None and (old.reason, old.generation) == (outcome.decision.reason, generation)
        began = old.began if old is not None and same and old.began is not None else now
        self._waiting[desired.uid] = _Waiting(outcome.decision.reason, generation, began, outcome.memory)
        return now - began

    def _overdue(self, desired: Desired, outcome: Outcome) -> Outcome:
        """Say that it waited in vain; the next run begins another wait, by taking the function down and up again."""
        waiting = outcome.decision
        if not isinstance(waiting, Wait) or waiting.reason is not Reason.ATTACHING:
            return outcome
        old = self._waiting[desired.uid]
        memory = dataclasses.replace(old.memory, probed=False, overdue=True)
        self._waiting[desired.uid] = dataclasses.replace(old, began=None, memory=memory)
        error = ProbeFailed(f"after {self.attach_deadline:g} s {waiting.message}", hint=waiting.hint or "See `dmesg`.")
        return Outcome(outcome.seen, error=error)

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
        devlink = self._to_kernel("node").devlink
        sysfs = self.reconciler.observer.sysfs
        return await self._workers.of("node").run(
            f"find the parent of {desired.name}", lambda: find(wanted, devlink, sysfs), self.kernel_deadline
        )

    async def _run(self, desired: Desired, parent: Handle, reserved: Others, memory: Memory) -> Outcome:
        doors = self._to_kernel(str(parent))
        look = Look(desired, parent, reserved)
        try:
            return await self._workers.of(str(parent)).run(
                f"reconcile {desired.name}",
                lambda: self.reconciler.run(doors, look, memory),
                self.kernel_deadline,
            )
        except SubFunctionError as error:
            return Outcome(None, error=error)

    def _to_kernel(self, thread: str) -> Doors:
        if thread not in self._doors:
            self._doors[thread] = Doors.to(self.transport)
        return self._doors[thread]

    def stop(self) -> None:
        """Let the threads end after what they have in hand, each with its sockets."""
        for thread, doors in self._doors.items():
            self._workers.of(thread).stop(doors.close)


def numbers_of(objects: Iterable[SubFunction], parent: Handle, but: str) -> Others:
    """Gather the numbers and devices that other objects ask for or have on a parent: they are not to be chosen."""
    others = [each for each in objects if each.uid != but and each.status.parent in {None, str(parent)}]
    asked = {number for each in others for number in (each.spec.number, each.status.number) if number is not None}
    shown = {each.status.number: each.name for each in others if each.status.number is not None}
    devices = {each.status.device.id: each.name for each in others if each.status.device is not None}
    return Others(frozenset(asked), shown, devices)
