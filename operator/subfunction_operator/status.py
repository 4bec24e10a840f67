"""outcome -> status: what the object says of itself. Pure; the time is given.

A condition's `lastTransitionTime` moves with its status alone, and messages hold no clock and no counter, so that a
status that says nothing new is equal to the one before and is not written.
"""

import dataclasses
from typing import Final

import msgspec

from subfunction.api import Condition, ConditionType, Device, Phase, Status, SubFunction
from subfunction.claims import PortClaim
from subfunction.errors import Foreign, HeldOpen, NumberOwned
from subfunction.kernel.port import Port
from subfunction.reasons import Reason
from subfunction.records import State
from subfunction_operator.decision import Rest, Wait
from subfunction_operator.event import Event
from subfunction_operator.observation import Observation
from subfunction_operator.outcome import Outcome
from subfunction_operator.standing import Standing, standing

TRUE, FALSE = "True", "False"

_EXCLUSIVE: Final = (
    "an RDMA device of this node is in one network namespace at a time: the pod needs the rdma CNI plugin,"
    " or the node `rdma system set netns shared` before anything uses RDMA"
)

_EMPTY = Observation(boot_id="")


@dataclasses.dataclass(frozen=True, slots=True)
class _Finding:
    """One condition before it is dated."""

    kind: ConditionType
    status: str
    reason: Reason
    message: str = ""


def status(wanted: SubFunction, outcome: Outcome, now: str) -> Status:
    """Say what is known; `now` is RFC 3339 in UTC."""
    seen = outcome.seen or _EMPTY
    if outcome.seen is None:
        return _unseen(wanted, outcome, now)
    record, old = seen.record, wanted.status
    claim, stands = record.claim if record else None, standing(wanted, seen)
    if isinstance(outcome.error, Foreign | NumberOwned):
        # What stands there is somebody else's: nothing of it may be told as ours, and so be taken for ours later.
        stands = dataclasses.replace(stands, created=False, active=False, bound=False, connected=False, port=None)
    # Chosen once and kept, but told only once it is true: what was never made may still be given up.
    shown = claim is not None and (stands.created or old.parent is not None)
    number = claim.number if isinstance(claim, PortClaim) else None
    return Status(
        observed_generation=wanted.metadata.generation,
        phase=_phase(wanted, outcome),
        conditions=tuple(_dated(finding, wanted, now) for finding in _findings(wanted, outcome, seen, stands)),
        parent=claim.parent if claim and shown else old.parent,
        number=number if shown else old.number,
        port=stands.port.index if stands.port else None,
        mac_address=_mac(stands.port),
        device=_device(stands, seen),
        representor=seen.representor.name if stands.port and seen.representor else None,
        numa_node=seen.parent.function.numa_node if seen.parent else old.numa_node,
        allocated_to=seen.usage.by,
    )


def _unseen(wanted: SubFunction, outcome: Outcome, now: str) -> Status:
    """Say why nothing could be seen; all else stays as it was last seen."""
    findings = _findings(wanted, outcome, _EMPTY, standing(wanted, _EMPTY))
    told = {ConditionType.PLACED, ConditionType.READY}
    return msgspec.structs.replace(
        wanted.status,
        observed_generation=wanted.metadata.generation,
        phase=_phase(wanted, outcome),
        conditions=tuple(
            _dated(finding, wanted, now) if old is None or finding.kind in told else old
            for finding in findings
            for old in (wanted.status.condition(finding.kind),)
        ),
    )


def _mac(port: Port | None) -> str | None:
    mac = port.function.mac if port and port.function else None
    return None if mac is None or mac.unset else str(mac)


def _phase(wanted: SubFunction, outcome: Outcome) -> Phase:
    if outcome.error is not None and not isinstance(outcome.error, HeldOpen):
        return Phase.FAILED
    if wanted.deleting:
        return Phase.DRAINING
    record = outcome.seen.record if outcome.seen else None
    if record is not None and record.state is State.RETURNING:
        return Phase.RETURNING
    return Phase.READY if _ready(wanted, outcome).status == TRUE else Phase.PREPARING


def _device(stands: Standing, seen: Observation) -> Device | None:
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


def _findings(wanted: SubFunction, outcome: Outcome, seen: Observation, stands: Standing) -> list[_Finding]:
    record = seen.record
    offered = record is not None and record.state is State.READY and record.health.healthy
    ready = _ready(wanted, outcome)
    # What is not so is not so for the reason that holds up the whole.
    why = (ready.reason, ready.message) if ready.status == FALSE else (Reason.PENDING, "")
    facts = (
        (ConditionType.CREATED, stands.created, Reason.CREATED),
        (ConditionType.ACTIVE, stands.active, Reason.ATTACHED),
        (ConditionType.BOUND, stands.bound, Reason.BOUND),
        (ConditionType.CONNECTED, stands.connected, Reason.CONNECTED),
    )
    allocatable = (Reason.RDMA_EXCLUSIVE, _EXCLUSIVE) if seen.rdma_exclusive else (Reason.OFFERED, "")
    return [
        _Finding(ConditionType.PLACED, TRUE, Reason.PLACED, f"on node {wanted.spec.node_name}"),
        *(
            _Finding(kind, TRUE, reason) if true else _Finding(kind, FALSE, *why)
            for kind, true, reason in facts
            if true is not None
        ),
        _Finding(ConditionType.ALLOCATABLE, *((TRUE, *allocatable) if offered else (FALSE, *why))),
        ready,
        _in_use(outcome, seen),
    ]


def _in_use(outcome: Outcome, seen: Observation) -> _Finding:
    if seen.held or seen.usage.why:
        return _Finding(ConditionType.IN_USE, TRUE, Reason.IN_USE, seen.why_held)
    if isinstance(outcome.error, HeldOpen):
        return _Finding(ConditionType.IN_USE, TRUE, Reason.HELD_OPEN, outcome.error.message)
    return _Finding(ConditionType.IN_USE, FALSE, Reason.FREE)


def _ready(wanted: SubFunction, outcome: Outcome) -> _Finding:
    kind = ConditionType.READY
    if outcome.error is not None:
        return _Finding(kind, FALSE, outcome.error.reason, str(outcome.error))
    match outcome.decision:
        case Wait(reason, message):
            waiting = Reason.DRAINING if wanted.deleting and reason is not Reason.FORCED else reason
            return _Finding(kind, FALSE, waiting, message)
        case Rest(pending, reason) if pending:
            return _Finding(kind, FALSE, reason, pending)
        case Rest():
            return _Finding(kind, FALSE, Reason.DRAINING) if wanted.deleting else _Finding(kind, TRUE, Reason.READY)
        case None:
            return _Finding(kind, FALSE, Reason.PENDING)


def _dated(finding: _Finding, wanted: SubFunction, now: str) -> Condition:
    old = wanted.status.condition(finding.kind)
    return Condition(
        type=finding.kind,
        status=finding.status,
        reason=finding.reason,
        message=finding.message,
        last_transition_time=old.last_transition_time if old and old.status == finding.status else now,
        observed_generation=wanted.metadata.generation,
    )


def announcement(before: SubFunction, after: Status) -> Event | None:
    """Give the Event for a change of Ready, None where it says what it said before."""
    old, new = before.status.condition(ConditionType.READY), after.condition(ConditionType.READY)
    if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
        return None
    ready = new.status == TRUE
    device = f" as {after.device.id}" if ready and after.device else ""
    which = f"sub-function {after.number}" if after.number is not None else "the device"
    message = f"{which} of {after.parent} is ready{device}" if ready else new.message
    return Event(new.reason, message or new.reason, warning=after.phase == Phase.FAILED or new.reason == Reason.FORCED)
