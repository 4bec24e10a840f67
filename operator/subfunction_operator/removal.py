"""The way out: off its bus, out of the kernel, forgotten. Pure."""

from subfunction.api import ConditionType, DeletionPolicy
from subfunction.claims import MediatedDeviceClaim, PortClaim, VirtualFunctionClaim
from subfunction.reasons import Reason
from subfunction.records import Health, Record, State
from subfunction_operator import functionclaim, mediated, virtualfunction
from subfunction_operator.claim import claimable, published, recognised, stored
from subfunction_operator.decision import Decision, Rest, Steps, Wait
from subfunction_operator.interruption import vacated
from subfunction_operator.observation import Desired, Observation
from subfunction_operator.step import Deactivate, DeletePort, RemoveRecord, StoreRecord


def away(desired: Desired, seen: Observation) -> Decision:
    """Take the next steps towards nothing; `Rest` when nothing is left."""
    record = seen.record
    if record is None:
        policy = desired.object.spec.deletion if desired.object else DeletionPolicy.DRAIN
        return Rest() if policy is DeletionPolicy.RETAIN else _unrecorded(desired, seen)
    policy = desired.object.spec.deletion if desired.object else record.deletion
    if record.state is not State.DRAINING:
        # Written before the ledger is read: an Allocate that comes later reads it and refuses.
        health = Health(reason=Reason.DRAINING, message="it is being deleted")
        return Steps((StoreRecord(record.moved(State.DRAINING, health)),))
    if seen.held:
        if policy is not DeletionPolicy.FORCE:
            return Wait(Reason.IN_USE, seen.why_held, kernel=False)
        if (broken := _broken(desired, seen)) is not None:
            return broken
    if policy is DeletionPolicy.RETAIN:
        return Steps((RemoveRecord(record.uid),), last=True)
    match record.claim:
        case PortClaim() as claim:
            return _port(desired, seen, record, claim)
        case VirtualFunctionClaim() as claim:
            return virtualfunction.given_back(seen, record, claim)
        case MediatedDeviceClaim():
            return mediated.removed(seen, record)


def _broken(desired: Desired, seen: Observation) -> Wait | None:
    """Have it said on the object what is broken by force, before it is; None where that is said, or no object is."""
    told = desired.object.status.condition(ConditionType.READY) if desired.object else None
    if desired.object is None or (told is not None and told.reason == Reason.FORCED):
        return None
    return Wait(Reason.FORCED, f"taken away all the same, as deletionPolicy is Force: {seen.why_held}", kernel=False)


def _port(desired: Desired, seen: Observation, record: Record, claim: PortClaim) -> Decision:
    port = seen.port
    ours = (
        port is not None
        and seen.this_boot
        and (recognised(port, desired, seen, claim) or claimable(port, desired, seen.parent, claim))
    )
    if port is None or port.function is None or not ours:
        return Steps((RemoveRecord(record.uid),), last=True)
    if port.function.active:
        return Steps((*vacated(seen), Deactivate(port.handle, port.index)))
    if port.function.attached:
        return Wait(Reason.STILL_ATTACHED, "its driver has not let go yet", kernel=True)
    return Steps((DeletePort(port.handle, port.index),))


def _unrecorded(desired: Desired, seen: Observation) -> Decision:
    """Take up again what lives in the kernel while its record is lost; the rest is not ours to touch."""
    wanted = desired.object
    if wanted is None:
        return Rest()
    if (lost := functionclaim.lost(seen, desired)) is not None:
        return Steps((StoreRecord(_record(desired, seen, wanted.spec.resource, lost, lost.address)),))
    if seen.mediated is not None:
        claim = MediatedDeviceClaim(
            parent=seen.handle,
            type=seen.mediated.type_id or wanted.spec.vfio.mediated_device or "",
            uuid=seen.mediated.uuid,
        )
        return Steps((StoreRecord(_record(desired, seen, wanted.spec.resource, claim, claim.uuid)),))
    port = seen.port
    if port is None or port.pf is None or port.number is None or not published(port, desired, seen.parent):
        return Rest()
    claim_of_port = PortClaim(
        flavour=wanted.spec.flavour,
        parent=str(port.handle),
        controller=port.controller,
        pf=port.pf,
        number=port.number,
        port_index=port.index,
        mac_address=str(desired.mac),
    )
    return Steps(stored(desired, wanted, seen, claim_of_port, State.DRAINING))


def _record(
    desired: Desired, seen: Observation, resource: str, claim: VirtualFunctionClaim | MediatedDeviceClaim, device: str
) -> Record:
    return Record(
        uid=desired.uid,
        name=desired.name,
        boot_id=seen.boot_id,
        state=State.DRAINING,
        claim=claim,
        resource=resource,
        device_id=device,
    )
