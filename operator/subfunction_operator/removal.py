"""How a sub-function goes: out of the offer, free of its pod, off its bus, out of the kernel, forgotten. Pure."""

from subfunction.api import DeletionPolicy
from subfunction.reasons import Reason
from subfunction.records import Claim, Health, State
from subfunction_operator.claim import claimable, published, stored
from subfunction_operator.observation import Desired, Observation
from subfunction_operator.step import Deactivate, Decision, DeletePort, RemoveRecord, Rest, Steps, StoreRecord, Wait


def away(desired: Desired, seen: Observation) -> Decision:
    """Take the next steps towards nothing; `Rest` when nothing is left."""
    record, port = seen.record, seen.port
    policy = desired.object.spec.deletion if desired.object else DeletionPolicy.DRAIN
    if record is None:
        return Rest() if policy is DeletionPolicy.RETAIN else _unrecorded(desired, seen)
    if record.state is not State.DRAINING:
        # Written before the ledger is read: an Allocate that comes later reads it and refuses.
        health = Health(reason=Reason.DRAINING, message="it is being deleted")
        return Steps((StoreRecord(record.moved(State.DRAINING, health)),))
    if (seen.usage.held or seen.away) and policy is not DeletionPolicy.FORCE:
        return Wait(Reason.IN_USE, seen.usage.why or "its netdev is in the namespace of a pod", kernel=False)
    if policy is DeletionPolicy.RETAIN:
        return Steps((RemoveRecord(record.uid),), last=True)
    ours = (
        port is not None
        and seen.this_boot
        and (port.index == record.claim.port_index or claimable(port, desired, seen.parent))
    )
    if port is None or port.function is None or not ours:
        return Steps((RemoveRecord(record.uid),), last=True)
    if port.function.active:
        return Steps((Deactivate(port.handle, port.index),))
    if port.function.attached:
        return Wait(Reason.STILL_ATTACHED, "its driver has not let go yet", kernel=True)
    return Steps((DeletePort(port.handle, port.index),))


def _unrecorded(desired: Desired, seen: Observation) -> Decision:
    """Take up again what lives in the kernel while its record is lost; the rest is not ours to touch."""
    port, wanted = seen.port, desired.object
    if (
        port is None
        or wanted is None
        or port.pf is None
        or port.number is None
        or not published(port, desired, seen.parent)
    ):
        return Rest()
    claim = Claim(
        flavour=wanted.spec.flavour,
        parent=str(port.handle),
        controller=port.controller,
        pf=port.pf,
        number=port.number,
        port_index=port.index,
        mac_address=str(desired.mac),
    )
    return Steps(stored(desired, wanted, seen, claim, State.DRAINING))
