"""Plans a deletion: the sub-function leaves its bus, then the kernel, then the records. Pure."""

from subfunction.api.conditions import ConditionType
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import DeletionPolicy
from subfunction.kernel.address import Mac
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.state.claims import MediatedDeviceClaim, PortClaim, VirtualFunctionClaim
from subfunction.state.records import Health, State
from subfunction_operator.agent.flavours import mediated_device, vf_ownership, virtual_function
from subfunction_operator.agent.flavours.drivers import profile_of
from subfunction_operator.agent.flavours.lost_function import is_lost, may_be_lost
from subfunction_operator.agent.model.context import PlanContext
from subfunction_operator.agent.model.decision import Decision, Settled, Steps, Wait
from subfunction_operator.agent.model.record import build_record
from subfunction_operator.agent.model.steps import Deactivate, DeletePort, RemoveRecord, SetFunction, Step, StoreRecord
from subfunction_operator.agent.offer.withdraw import detach_vdpa_steps
from subfunction_operator.agent.plan.identity import pin_port, require_listed, require_represented, store_record_steps
from subfunction_operator.agent.plan.port_ownership import is_ours, matches_status, may_be_ours


def plan_delete(context: PlanContext) -> Decision:
    """Plan the next steps of a deletion; return `Settled` when nothing is left."""
    wanted, record = context.desired.object, context.seen.record
    if record is None:
        policy = wanted.spec.deletion if wanted else DeletionPolicy.DRAIN
        return Settled() if policy is DeletionPolicy.RETAIN else _plan_without_record(context)
    policy = wanted.spec.deletion if wanted else record.deletion
    if record.state is not State.DRAINING:
        # Written before the ledger is read: an Allocate that comes later reads it and refuses.
        health = Health(reason=Reason.DRAINING, message="it is being deleted")
        return Steps((StoreRecord(record.with_state(State.DRAINING, health)),))
    if context.seen.in_use:
        if policy is not DeletionPolicy.FORCE:
            return Wait(Reason.IN_USE, context.seen.why_in_use, kernel=False)
        if (unreported := _report_forced(context)) is not None:
            return unreported
    if policy is DeletionPolicy.RETAIN:
        return Steps((RemoveRecord(record.uid),), last=True)
    match record.claim:
        case PortClaim() as claim:
            return _plan_delete_port(context, claim)
        case VirtualFunctionClaim() as claim:
            return virtual_function.plan_release_vf(context.seen, record, claim)
        case MediatedDeviceClaim():
            return mediated_device.plan_remove_mdev(context.seen, record)


def _report_forced(context: PlanContext) -> Wait | None:
    """Return a wait that reports the forced deletion first; None once the status shows it, or without an object."""
    wanted = context.desired.object
    ready = wanted.status.condition(ConditionType.READY) if wanted else None
    if wanted is None or (ready is not None and ready.reason == Reason.FORCED):
        return None
    message = f"taken away all the same, as deletionPolicy is Force: {context.seen.why_in_use}"
    return Wait(Reason.FORCED, message, kernel=False)


def _plan_delete_port(context: PlanContext, claim: PortClaim) -> Decision:
    seen, port = context.seen, context.seen.port
    require_listed(seen, claim)
    ours = port is not None and seen.this_boot and (is_ours(context, port, claim) or may_be_ours(context, port, claim))
    if port is None or port.function is None or not ours:
        return Steps((RemoveRecord(context.desired.uid),), last=True)
    if seen.parent is not None:
        require_represented(seen.parent)
    profile = profile_of(seen.parent.function.driver if seen.parent else None)
    if may_be_lost(port, seen, profile):
        if not is_lost(port, seen, profile, context.memory):
            return Wait(Reason.STILL_ATTACHED, "it is attached, and its device is not to be seen", kernel=True)
        return Steps((DeletePort(port.handle, port.index),))
    if port.function.active:
        return Steps((*detach_vdpa_steps(seen), Deactivate(port.handle, port.index)))
    if port.function.attached:
        return Wait(Reason.STILL_ATTACHED, "its driver has not let go yet", kernel=True)
    clear = _clear_address_steps(port) if profile.reuses_addresses else ()
    return Steps((*clear, DeletePort(port.handle, port.index)))


def _clear_address_steps(port: Port) -> tuple[Step, ...]:
    """Return the step that clears our address, since the driver shows it on the next function of the same slot."""
    mac = port.function.mac if port.function else None
    if mac is None or mac.unset:
        return ()
    return (SetFunction(port.handle, port.index, FunctionSettings(mac=Mac(bytes(6))), restoring=True),)


def _plan_without_record(context: PlanContext) -> Decision:
    """Write the lost record again for a device that still exists and is ours, so that it can be deleted.

    What proves it ours is the object's status, or for a mediated device the UUID, which is derived from the uid.
    """
    seen, wanted = context.seen, context.desired.object
    if wanted is None:
        return Settled()
    if (lost := vf_ownership.recover_claim(context)) is not None:
        return Steps((StoreRecord(build_record(context, lost, state=State.DRAINING, device_id=lost.address)),))
    if seen.mediated is not None:
        claim = MediatedDeviceClaim(
            parent=seen.handle,
            type=seen.mediated.type_id or wanted.spec.vfio.mediated_device or "",
            uuid=seen.mediated.uuid,
        )
        return Steps((StoreRecord(build_record(context, claim, state=State.DRAINING, device_id=claim.uuid)),))
    port = seen.port
    if port is None or port.number is None or not matches_status(context, port):
        return Settled()
    ours = PortClaim(
        flavour=wanted.spec.flavour,
        parent=str(port.handle),
        number=port.number,
        mac_address=str(context.desired.mac),
    )
    return Steps(store_record_steps(context, pin_port(ours, port), State.DRAINING))
