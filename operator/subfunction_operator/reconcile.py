"""observe -> plan -> execute for one sub-function, until it rests, waits or fails. Level-triggered.

What runs here runs in the parent's own thread. It never sleeps: what takes the kernel a while is waited for outside, so
that others of the same parent go on meanwhile.
"""

import dataclasses
import logging
from typing import Final

import msgspec

from subfunction.errors import FolderError, KernelError, SubFunctionError
from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.records import Health, State
from subfunction_operator.execute import Executor
from subfunction_operator.observation import Desired, Memory, Observation, Policy
from subfunction_operator.observe import Observer
from subfunction_operator.outcome import Outcome
from subfunction_operator.plan import plan
from subfunction_operator.step import Ask, CreatePort, Reload, RemoveRecord, Rest, Step, Steps, StoreRecord

_LOG = logging.getLogger("subfunction.reconcile")

_ROUNDS: Final = 32
"""More looks than any way through the plan takes; a plan that needs more goes in a circle."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reconciler:
    """Eyes and hands of one node."""

    observer: Observer
    executor: Executor
    policy: Policy

    def run(
        self,
        devlink: Devlink,
        desired: Desired,
        parent: Handle,
        reserved: frozenset[int],
        *,
        reloaded: bool = False,
    ) -> Outcome:
        """Go as far as goes without waiting; what stands in the way is in the outcome, never raised.

        `reloaded` says that an earlier run, which ended waiting for the kernel, has reloaded the function.
        """
        run = _Run(self, devlink, desired, parent, reserved, memory=Memory(reloaded=reloaded))
        try:
            return run.until_it_rests()
        except SubFunctionError as error:
            self.observer.census.forget(parent)
            return Outcome(self._taken_back(run, error) or self._disgraced(run, error), error=error)

    def _taken_back(self, run: "_Run", error: SubFunctionError) -> Observation | None:
        """Forget a port that was announced and that the kernel refused to make; None where there is none.

        Else the announcement would claim whatever somebody else makes under this number, and would pin a parent that
        a selector chose and that has no room.
        """
        announced = run.announced
        if announced is None or run.seen is None or not isinstance(error, KernelError):
            return None
        try:
            self.executor.take(run.devlink, run.desired.uid, RemoveRecord(run.desired.uid))
        except FolderError as unwritten:
            _LOG.warning("%s: %s", run.desired.name, unwritten)
        return dataclasses.replace(run.seen, record=None)

    def _disgraced(self, run: "_Run", error: SubFunctionError) -> Observation | None:
        """Take what was found broken out of the offer, as well as that can be done."""
        record = run.seen.record if run.seen else None
        if run.seen is None or record is None or record.state is not State.READY:
            return run.seen
        sick = Health(reason=error.reason, message=str(error))
        if record.health == sick:
            return run.seen
        sicker = msgspec.structs.replace(record, health=sick)
        try:
            self.executor.take(run.devlink, record.uid, StoreRecord(sicker))
        except FolderError as unwritten:
            # The object says what the first fault was; that the record could not be written stands in the log.
            _LOG.warning("%s: %s", record.name, unwritten)
            return run.seen
        return dataclasses.replace(run.seen, record=sicker)


@dataclasses.dataclass(slots=True)
class _Run:
    node: Reconciler
    devlink: Devlink
    desired: Desired
    parent: Handle
    reserved: frozenset[int]
    seen: Observation | None = None
    index: int | None = None
    announced: CreatePort | None = None
    memory: Memory = dataclasses.field(default_factory=Memory)

    def until_it_rests(self) -> Outcome:
        for _ in range(_ROUNDS):
            self.seen = self.node.observer.look(
                self.devlink, self.desired, self.parent, self.reserved, self.index, ask=self.memory.ask
            )
            decision = plan(self.desired, self.seen, self.node.policy, self.memory)
            if isinstance(decision, Ask):
                self.memory = dataclasses.replace(self.memory, ask=True)
                continue
            if not isinstance(decision, Steps):
                return Outcome(self.seen, decision, reloaded=self.memory.reloaded)
            for step in decision.steps:
                self._take(step)
            if decision.last:
                return Outcome(_after(self.seen, decision), Rest(), reloaded=self.memory.reloaded)
        raise SubFunctionError(
            f"the plan for {self.desired.name} did not come to rest in {_ROUNDS} rounds",
            hint="This is a fault of the agent: report it with the agent's debug log.",
            retry_after=60.0,
        )

    def _take(self, step: Step) -> None:
        if isinstance(step, CreatePort):
            self.announced = step
        index = self.node.executor.take(self.devlink, self.desired.uid, step)
        if isinstance(step, CreatePort):
            self.index, self.announced = index, None
        elif isinstance(step, StoreRecord):
            self.node.observer.census.chosen(self.parent, step.record.uid, step.record.claim.number)
        elif isinstance(step, Reload):
            self.memory = dataclasses.replace(self.memory, reloaded=True)


def _after(seen: Observation, last: Steps) -> Observation:
    """Say what is there after the last steps, which change the record alone, or leave nothing."""
    for step in last.steps:
        match step:
            case StoreRecord(record):
                seen = dataclasses.replace(seen, record=record)
            case RemoveRecord():
                seen = dataclasses.replace(seen, record=None, port=None, auxiliary=None)
    return seen
