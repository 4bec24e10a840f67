"""Runs observe -> plan -> execute for one sub-function, until it is settled, waits or fails. Level-triggered.

It runs in the parent's own thread, and never sleeps: the dispatcher waits for what takes the kernel a while, so that
other sub-functions of the same parent go on meanwhile.
"""

import dataclasses
import logging
from typing import Final

import msgspec

from subfunction.errors import (
    BridgeNotFound,
    CardFailed,
    FolderError,
    HeldOpen,
    Invalid,
    KernelBusy,
    KernelError,
    NumberTaken,
    ResourceNameConflict,
    SubFunctionError,
    SwitchdevRefused,
    Unsupported,
    UnsupportedField,
)
from subfunction.state.claims import PortClaim
from subfunction.state.records import Health, State
from subfunction_operator.agent.execute.executor import Executor
from subfunction_operator.agent.execute.kernel import KernelClients
from subfunction_operator.agent.model.context import PlanContext
from subfunction_operator.agent.model.decision import ReconcileResult, RefreshUsage, Settled, Steps
from subfunction_operator.agent.model.observation import FRESH, Desired, NodePolicy, Observation, RetryState
from subfunction_operator.agent.model.query import ObserveRequest
from subfunction_operator.agent.model.steps import (
    CreatePort,
    Deactivate,
    DeletePort,
    ProbeDriver,
    Reload,
    RemoveRecord,
    SetSwitchdev,
    Step,
    StoreRecord,
)
from subfunction_operator.agent.observe.observer import Observer
from subfunction_operator.agent.plan.planner import plan
from subfunction_operator.agent.reconcile.restore_backoff import RestoreBackoff

_LOG = logging.getLogger(__name__)

_SPEC_ERRORS: Final = (BridgeNotFound, UnsupportedField, Unsupported, Invalid, ResourceNameConflict)

_LATE: Final = 2.0
"""Seconds of waiting after which the observation includes what the function waits for."""

_NUMBERS: Final = 4
"""How many numbers are tried in one run where the kernel refuses one as taken, though no port has it."""

_ROUNDS: Final = 32
"""More observations than any way through the plan takes; a plan that needs more runs in a circle."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reconciler:
    """Runs observe, plan and execute for the sub-functions of one node."""

    observer: Observer
    executor: Executor
    policy: NodePolicy
    restores: RestoreBackoff = dataclasses.field(default_factory=RestoreBackoff)

    def reconcile(self, clients: KernelClients, request: ObserveRequest, memory: RetryState = FRESH) -> ReconcileResult:
        """Reconcile as far as possible without waiting; an error is in the result, never raised.

        `memory` is that of an earlier run that ended waiting for the kernel.
        """
        for _ in range(_NUMBERS):
            result = self._reconcile_once(clients, request, memory)
            taken_back = result.seen is not None and result.seen.record is None
            if not (isinstance(result.error, NumberTaken) and taken_back and _is_chosen(request.desired)):
                break
        return result

    def _reconcile_once(self, clients: KernelClients, request: ObserveRequest, memory: RetryState) -> ReconcileResult:
        run = _Run(self, clients, request, memory)
        try:
            return run.reconcile_until_settled()
        except SubFunctionError as error:
            self.observer.numbers.invalidate(request.parent)
            if isinstance(error, SwitchdevRefused):
                self.restores.record_refusal(request.parent, error)
            if isinstance(error, KernelBusy):
                return ReconcileResult(run.seen, error=error)  # this does not prove the device unhealthy
            return ReconcileResult(
                run.observe_again(error) or self._forget_failed_create(run, error) or self._mark_unhealthy(run, error),
                error=error,
            )

    def _forget_failed_create(self, run: "_Run", error: SubFunctionError) -> Observation | None:
        """Take a refused port add back out of the record; return the observation, None where none was refused.

        Else the record would claim a port that another tool makes with this number, and would keep the sub-function on
        a parent that a selector chose and that is full.
        """
        seen, refused = run.seen, run.announced
        if refused is None or seen is None or not isinstance(error, KernelError):
            return None
        # A port of an earlier request whose answer was not recorded has a representor: then no port add is repeated.
        if isinstance(error, NumberTaken) and run.desired.status_number is None:
            self.observer.numbers.add_refused(refused.parent, refused.number)
        step = _forget_step(run, seen)
        try:
            self.executor.apply(run.clients, run.desired.uid, step)
        except FolderError as unwritten:
            _LOG.warning("%s: %s", run.desired.name, unwritten)
        return dataclasses.replace(seen, record=step.record if isinstance(step, StoreRecord) else None)

    def _mark_unhealthy(self, run: "_Run", error: SubFunctionError) -> Observation | None:
        """Mark the record unhealthy (best effort), so that the plugin withdraws the device; return the observation."""
        record = run.seen.record if run.seen else None
        if run.seen is None and isinstance(error, CardFailed):
            # Nothing of it can be observed; but no pod is to get a device of such a card.
            record = self.observer.records.read(run.desired.uid)
        if record is None or record.state is not State.READY:
            return run.seen
        if isinstance(error, _SPEC_ERRORS):
            return run.seen  # the spec asks for the impossible; the published device is as good as before
        health = Health(reason=error.reason, message=str(error))
        if record.health == health:
            return run.seen
        unhealthy = msgspec.structs.replace(record, health=health)
        try:
            self.executor.apply(run.clients, record.uid, StoreRecord(unhealthy))
        except FolderError as unwritten:
            # The status reports the first error; the log has this one.
            _LOG.warning("%s: %s", record.name, unwritten)
            return run.seen
        return dataclasses.replace(run.seen, record=unhealthy) if run.seen else None


@dataclasses.dataclass(slots=True)
class _Run:
    node: Reconciler
    clients: KernelClients
    request: ObserveRequest
    memory: RetryState
    seen: Observation | None = None
    announced: CreatePort | None = None
    """The port add that was requested and not answered yet."""
    began: Observation | None = None
    """The first observation of this run."""

    @property
    def desired(self) -> Desired:
        return self.request.desired

    def reconcile_until_settled(self) -> ReconcileResult:
        self.request = dataclasses.replace(self.request, find_blocker=self.memory.waited >= _LATE)
        self.memory = dataclasses.replace(self.memory, just_probed=False)
        for _ in range(_ROUNDS):
            self.seen = self._observe()
            self.began = self.began or self.seen
            memory = dataclasses.replace(self.memory, no_restore=self.node.restores.pause_reason(self.request.parent))
            decision = plan(PlanContext(desired=self.desired, seen=self.seen, policy=self.node.policy, memory=memory))
            if isinstance(decision, RefreshUsage):
                self.request = dataclasses.replace(self.request, refresh=True)
                continue
            if not isinstance(decision, Steps):
                return ReconcileResult(self.seen, decision, memory=self.memory)
            for step in decision.steps:
                self._apply(step)
            if decision.last:
                return ReconcileResult(_observation_after(self.seen, decision), Settled(), memory=self.memory)
        raise SubFunctionError(
            f"the plan for {self.desired.name} did not come to rest in {_ROUNDS} rounds",
            hint="This is a fault of the agent: report it with the agent's debug log.",
            retry_after=60.0,
        )

    def observe_again(self, error: SubFunctionError) -> Observation | None:
        """Observe once more after HeldOpen: the kernel has begun what it cannot finish yet. None after other errors."""
        if not isinstance(error, HeldOpen):
            return None
        try:
            return self._observe()
        except SubFunctionError as unseen:
            _LOG.warning("%s: %s", self.desired.name, unseen)
            return None

    def _observe(self) -> Observation:
        return self.node.observer.observe(self.clients.devlink, self.clients.links, self.request)

    def _apply(self, step: Step) -> None:
        if isinstance(step, CreatePort):
            self.announced = step
        if isinstance(step, SetSwitchdev):
            self.node.restores.record(step.parent)
        index = self.node.executor.apply(self.clients, self.desired.uid, step)
        match step:
            case CreatePort():
                self.request, self.announced = dataclasses.replace(self.request, index=index), None
            case StoreRecord(record):
                # If the next step fails, its error is noted in the record as written now.
                self.seen = dataclasses.replace(self.seen, record=record) if self.seen else None
                if isinstance(record.claim, PortClaim):
                    self.node.observer.numbers.add_chosen(self.request.parent, record.uid, record.name, record.claim)
            case Reload():
                self.memory = dataclasses.replace(self.memory, reloaded=True)
            case ProbeDriver():
                self.memory = dataclasses.replace(self.memory, probed=True, just_probed=True)
            case Deactivate():
                self.memory = RetryState(deactivated=True, deleted_ports=self.memory.deleted_ports)
            case DeletePort():
                self.memory = RetryState(deleted_ports=self.memory.deleted_ports + 1)


def _is_chosen(desired: Desired) -> bool:
    """Return whether the agent chooses the number, and may still choose another one."""
    return desired.object is not None and desired.object.spec.number is None and desired.status_number is None


def _forget_step(run: _Run, seen: Observation) -> StoreRecord | RemoveRecord:
    """Return the step that takes a refused port add back: the record goes, unless a status or a pod depends on it."""
    record, before = seen.record, run.began.record if run.began else None
    if record is None or before is None or not isinstance(record.claim, PortClaim):
        return RemoveRecord(run.desired.uid)
    if run.desired.status_number is None and not record.remade:
        return RemoveRecord(run.desired.uid)
    return StoreRecord(msgspec.structs.replace(record, claim=msgspec.structs.replace(record.claim, refused=True)))


def _observation_after(seen: Observation, last: Steps) -> Observation:
    """Return the observation after a plan's last steps, which only change the record, or delete what is left."""
    for step in last.steps:
        match step:
            case StoreRecord(record):
                seen = dataclasses.replace(seen, record=record)
            case RemoveRecord():
                seen = dataclasses.replace(seen, record=None, port=None, auxiliary=None, mediated=None)
    return seen
