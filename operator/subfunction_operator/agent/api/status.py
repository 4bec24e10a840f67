"""Builds the status of a SubFunction from the result of a reconciliation. Pure; the time is an argument.

A condition's `lastTransitionTime` changes only with its status, and messages contain no time and no counter. So a
status without news is equal to the one before, and is not written.
"""

import dataclasses
from typing import Final

import msgspec

from subfunction.api.conditions import Condition, ConditionType, date_condition, is_transition
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Device, Phase, Status, SubFunction
from subfunction.errors import CardFailed, Foreign, HeldOpen, NumberOwned
from subfunction.kernel.port import Port
from subfunction.state.claims import Claim, PortClaim
from subfunction.state.records import State
from subfunction_operator.agent.api.condition_facts import ConditionFacts, condition_facts
from subfunction_operator.agent.model.decision import ReconcileResult, Settled, Wait
from subfunction_operator.agent.model.observation import Observation
from subfunction_operator.kube.events import Event

TRUE, FALSE = "True", "False"

_RDMA_EXCLUSIVE_MESSAGE: Final = (
    "an RDMA device of this node is in one network namespace at a time: the pod needs an rdma CNI plugin that knows"
    " auxiliary devices, or the node `rdma system set netns shared` before anything uses RDMA"
)

_EMPTY = Observation(boot_id="")


@dataclasses.dataclass(frozen=True, slots=True)
class _Undated:
    """A condition without its `lastTransitionTime`."""

    kind: ConditionType
    status: str
    reason: Reason
    message: str = ""


def build_status(wanted: SubFunction, result: ReconcileResult, now: str) -> Status:
    """Return the new status; `now` is RFC 3339 in UTC."""
    seen = result.seen or _EMPTY
    if result.seen is None:
        return _build_unseen(wanted, result, now)
    record, old = seen.record, wanted.status
    claim, stands = record.claim if record else None, condition_facts(wanted, seen)
    if isinstance(result.error, Foreign | NumberOwned):
        # The port is another owner's: a status that showed it would make a later run take it for ours.
        stands = dataclasses.replace(stands, created=False, active=False, bound=False, connected=False, port=None)
    # Parent and number are shown once the device exists, and kept from then on: before that they may still change.
    shown = claim is not None and (stands.created or old.parent is not None)
    number = claim.number if isinstance(claim, PortClaim) else None
    return Status(
        observed_generation=wanted.metadata.generation,
        phase=_phase(wanted, result),
        conditions=tuple(_date(finding, wanted, now) for finding in _conditions(wanted, result, seen, stands)),
        parent=claim.parent if claim and shown else old.parent,
        number=number if shown else old.number,
        port=stands.port.index if stands.port else None,
        mac_address=_mac(stands.port, claim) or (old.mac_address if stands.port else None),
        device=_device(stands, seen),
        representor=seen.representor.name if stands.port and seen.representor else None,
        numa_node=seen.parent.function.numa_node if seen.parent else old.numa_node,
        allocated_to=seen.usage.by,
    )


def _build_unseen(wanted: SubFunction, result: ReconcileResult, now: str) -> Status:
    """Return a status that says why nothing could be observed; all else stays as it was last observed."""
    findings = _conditions(wanted, result, _EMPTY, condition_facts(wanted, _EMPTY))
    updated = {ConditionType.PLACED, ConditionType.READY}
    if isinstance(result.error, CardFailed):
        updated.add(ConditionType.ALLOCATABLE)  # its device was withdrawn
    return msgspec.structs.replace(
        wanted.status,
        observed_generation=wanted.metadata.generation,
        phase=_phase(wanted, result),
        conditions=tuple(
            _date(finding, wanted, now) if old is None or finding.kind in updated else old
            for finding in findings
            for old in (wanted.status.condition(finding.kind),)
        ),
    )


def _mac(port: Port | None, claim: Claim | None) -> str | None:
    """Return the MAC to show; None while the idle function has another one than ours, left from the slot's last use."""
    function = port.function if port else None
    if function is None or function.mac is None or function.mac.unset:
        return None
    ours = not isinstance(claim, PortClaim) or function.active or str(function.mac) == claim.mac_address
    return str(function.mac) if ours else None


def _phase(wanted: SubFunction, result: ReconcileResult) -> Phase:
    if result.error is not None and not isinstance(result.error, HeldOpen):
        return Phase.FAILED
    if wanted.deleting:
        return Phase.DRAINING
    record = result.seen.record if result.seen else None
    if record is not None and record.state is State.RETURNING:
        return Phase.RETURNING
    return Phase.READY if _ready(wanted, result).status == TRUE else Phase.PREPARING


def _device(stands: ConditionFacts, seen: Observation) -> Device | None:
    record = seen.record
    if record is None or not record.device_id or not stands.bound:
        return None
    return Device(
        id=record.device_id,
        bus=stands.bus,
        netdev=seen.netdev.name if seen.netdev else None,
        rdma=seen.rdma.name if seen.rdma else None,
        nodes=tuple(node.container_path for node in record.all_nodes),
    )


def _conditions(
    wanted: SubFunction, result: ReconcileResult, seen: Observation, stands: ConditionFacts
) -> list[_Undated]:
    record = seen.record
    offered = record is not None and record.state is State.READY and record.health.healthy
    ready = _ready(wanted, result)
    # A condition that is false, but for InUse, has the reason of Ready: that is what the whole waits for.
    why = (ready.reason, ready.message) if ready.status == FALSE else (Reason.PENDING, "")
    facts = (
        (ConditionType.CREATED, stands.created, Reason.CREATED),
        (ConditionType.ACTIVE, stands.active, Reason.ATTACHED),
        (ConditionType.BOUND, stands.bound, Reason.BOUND),
        (ConditionType.CONNECTED, stands.connected, Reason.CONNECTED),
    )
    allocatable = (Reason.RDMA_EXCLUSIVE, _RDMA_EXCLUSIVE_MESSAGE) if seen.rdma_exclusive else (Reason.OFFERED, "")
    return [
        _Undated(ConditionType.PLACED, TRUE, Reason.PLACED, f"on node {wanted.spec.node_name}"),
        *(
            _Undated(kind, TRUE, reason) if true else _Undated(kind, FALSE, *why)
            for kind, true, reason in facts
            if true is not None
        ),
        _Undated(ConditionType.ALLOCATABLE, *((TRUE, *allocatable) if offered else (FALSE, *why))),
        ready,
        _in_use(result, seen),
    ]


def _in_use(result: ReconcileResult, seen: Observation) -> _Undated:
    if seen.in_use or seen.usage.why:
        return _Undated(ConditionType.IN_USE, TRUE, Reason.IN_USE, seen.why_in_use)
    if isinstance(result.error, HeldOpen):
        return _Undated(ConditionType.IN_USE, TRUE, Reason.HELD_OPEN, result.error.message)
    return _Undated(ConditionType.IN_USE, FALSE, Reason.FREE)


def _ready(wanted: SubFunction, result: ReconcileResult) -> _Undated:
    kind = ConditionType.READY
    if result.error is not None:
        return _Undated(kind, FALSE, result.error.reason, str(result.error))
    match result.decision:
        case Wait(reason, message):
            waiting = Reason.DRAINING if wanted.deleting and reason is not Reason.FORCED else reason
            return _Undated(kind, FALSE, waiting, message)
        case Settled(pending, reason) if pending:
            return _Undated(kind, FALSE, reason, pending)
        case Settled():
            return _Undated(kind, FALSE, Reason.DRAINING) if wanted.deleting else _Undated(kind, TRUE, Reason.READY)
        case None:
            return _Undated(kind, FALSE, Reason.PENDING)


def _date(finding: _Undated, wanted: SubFunction, now: str) -> Condition:
    undated = Condition(
        type=finding.kind,
        status=finding.status,
        reason=finding.reason,
        message=finding.message,
        observed_generation=wanted.metadata.generation,
    )
    return date_condition(undated, wanted.status.condition(finding.kind), now)


def event_for(before: SubFunction, after: Status) -> Event | None:
    """Return the Event for a change of Ready, None where its status and reason are the same as before."""
    old, new = before.status.condition(ConditionType.READY), after.condition(ConditionType.READY)
    if new is None or not is_transition(old, new):
        return None
    ready = new.status == TRUE
    device = f" as {after.device.id}" if ready and after.device else ""
    which = f"sub-function {after.number}" if after.number is not None else "the device"
    message = f"{which} of {after.parent} is ready{device}" if ready else new.message
    return Event(new.reason, message or new.reason, warning=after.phase == Phase.FAILED or new.reason == Reason.FORCED)
