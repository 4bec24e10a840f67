"""observe -> plan -> execute for one sub-function, until it rests, waits or fails. Level-triggered.

What runs here runs in the parent's own thread. It never sleeps: what takes the kernel a while is waited for outside, so
that others of the same parent go on meanwhile.
"""

import dataclasses
import logging
from typing import Final

import msgspec

from subfunction.claims import PortClaim
from subfunction.errors import (
    BridgeNotFound,
    FolderError,
    HeldOpen,
    Invalid,
    KernelError,
    ResourceNameConflict,
    SubFunctionError,
    Unsupported,
    UnsupportedField,
)
from subfunction.records import Health, State
from subfunction_operator.decision import Ask, Rest, Steps
from subfunction_operator.doors import Doors
from subfunction_operator.execute import Executor
from subfunction_operator.look import Look
from subfunction_operator.observation import Desired, Memory, Observation, Policy
from subfunction_operator.observe import Observer
from subfunction_operator.outcome import Outcome
from subfunction_operator.plan import plan
from subfunction_operator.step import CreatePort, Deactivate, ProbeDriver, Reload, RemoveRecord, Step, StoreRecord

_LOG = logging.getLogger("subfunction.reconcile")

_FRESH: Final = Memory()
_OF_THE_SPEC: Final = (BridgeNotFound, UnsupportedField, Unsupported, Invalid, ResourceNameConflict)

_ROUNDS: Final = 32
"""More looks than any way through the plan takes; a plan that needs more goes in a circle."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reconciler:
    """Eyes and hands of one node."""

    observer: Observer
    executor: Executor
    policy: Policy

    def run(self, doors: Doors, look: Look, memory: Memory = _FRESH) -> Outcome:
        """Go as far as goes without waiting; what stands in the way is in the outcome, never raised.

        `memory` is that of an earlier run that ended waiting for the kernel.
        """
        run = _Run(self, doors, look, memory)
        try:
            return run.until_it_rests()
        except SubFunctionError as error:
            self.observer.census.forget(look.parent)
            return Outcome(
                run.seen_again(error) or self._taken_back(run, error) or self._disgraced(run, error), error=error
            )

    def _taken_back(self, run: "_Run", error: SubFunctionError) -> Observation | None:
        """Forget a port that was announced and that the kernel refused to make; None where there is none.

        Else the announcement would claim whatever somebody else makes under this number, and would pin a parent that
        a selector chose and that has no room.
        """
        announced = run.announced
        if announced is None or run.seen is None or not isinstance(error, KernelError):
            return None
        try:
            self.executor.take(run.doors, run.desired.uid, RemoveRecord(run.desired.uid))
        except FolderError as unwritten:
            _LOG.warning("%s: %s", run.desired.name, unwritten)
        return dataclasses.replace(run.seen, record=None)

    def _disgraced(self, run: "_Run", error: SubFunctionError) -> Observation | None:
        """Take what was found broken out of the offer, as well as that can be done."""
        record = run.seen.record if run.seen else None
        if run.seen is None or record is None or record.state is not State.READY:
            return run.seen
        if isinstance(error, _OF_THE_SPEC):
            return run.seen  # what is asked for cannot be had; what was offered is as good as before
        sick = Health(reason=error.reason, message=str(error))
        if record.health == sick:
            return run.seen
        sicker = msgspec.structs.replace(record, health=sick)
        try:
            self.executor.take(run.doors, record.uid, StoreRecord(sicker))
        except FolderError as unwritten:
            # The object says what the first fault was; that the record could not be written stands in the log.
            _LOG.warning("%s: %s", record.name, unwritten)
            return run.seen
        return dataclasses.replace(run.seen, record=sicker)


@dataclasses.dataclass(slots=True)
class _Run:
    node: Reconciler
    doors: Doors
    look: Look
    memory: Memory
    seen: Observation | None = None
    announced: CreatePort | None = None
    made_before: bool = False
    """Whether its record named a port when the run began: then it is nothing new that the kernel refuses."""

    @property
    def desired(self) -> Desired:
        return self.look.desired

    def until_it_rests(self) -> Outcome:
        for _ in range(_ROUNDS):
            self.seen = self.node.observer.look(self.doors.devlink, self.look)
            claim = self.seen.claim
            self.made_before |= claim is not None and claim.port_index is not None
            decision = plan(self.desired, self.seen, self.node.policy, self.memory)
            if isinstance(decision, Ask):
                self.look = dataclasses.replace(self.look, ask=True)
                continue
            if not isinstance(decision, Steps):
                return Outcome(self.seen, decision, memory=self.memory)
            for step in decision.steps:
                self._take(step)
            if decision.last:
                return Outcome(_after(self.seen, decision), Rest(), memory=self.memory)
        raise SubFunctionError(
            f"the plan for {self.desired.name} did not come to rest in {_ROUNDS} rounds",
            hint="This is a fault of the agent: report it with the agent's debug log.",
            retry_after=60.0,
        )

    def seen_again(self, error: SubFunctionError) -> Observation | None:
        """Look once more where the kernel has begun what it cannot end yet; None where nothing is known better."""
        if not isinstance(error, HeldOpen):
            return None
        try:
            return self.node.observer.look(self.doors.devlink, self.look)
        except SubFunctionError as unseen:
            _LOG.warning("%s: %s", self.desired.name, unseen)
            return None

    def _take(self, step: Step) -> None:
        if isinstance(step, CreatePort) and not self.made_before:
            self.announced = step
        index = self.node.executor.take(self.doors, self.desired.uid, step)
        match step:
            case CreatePort():
                self.look, self.announced = dataclasses.replace(self.look, index=index), None
            case StoreRecord(record):
                # What is written is what a failure of the next step is noted in.
                self.seen = dataclasses.replace(self.seen, record=record) if self.seen else None
                if isinstance(record.claim, PortClaim):
                    self.node.observer.census.chosen(self.look.parent, record.uid, record.claim.number, record.name)
            case Reload():
                self.memory = dataclasses.replace(self.memory, reloaded=True)
            case ProbeDriver():
                self.memory = dataclasses.replace(self.memory, probed=True)
            case Deactivate():
                self.memory = Memory(lowered=True)


def _after(seen: Observation, last: Steps) -> Observation:
    """Say what is there after the last steps, which change the record alone, or leave nothing."""
    for step in last.steps:
        match step:
            case StoreRecord(record):
                seen = dataclasses.replace(seen, record=record)
            case RemoveRecord():
                seen = dataclasses.replace(seen, record=None, port=None, auxiliary=None, mediated=None)
    return seen
