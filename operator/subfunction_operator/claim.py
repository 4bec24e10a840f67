"""Who a sub-function is: which number and which port are its own. Pure; the record comes first, then the kernel."""

import msgspec

from subfunction.api import SubFunction
from subfunction.errors import Foreign, NumberOwned, NumbersExhausted, ParentNotFound, SubFunctionError
from subfunction.kernel.address import Handle
from subfunction.kernel.port import Port
from subfunction.reasons import Reason
from subfunction.records import Claim, Health, Record, State
from subfunction_operator.observation import Desired, Observation, Parent, Policy
from subfunction_operator.step import CreatePort, Decision, Step, Steps, StoreRecord


def claimed(desired: Desired, wanted: SubFunction, seen: Observation, parent: Parent, policy: Policy) -> Decision:
    """Settle number and port of a sub-function whose record names no port of this boot.

    Raises:
        Foreign: somebody else's sub-function has the number that must be ours.
        NumbersExhausted, ParentNotFound: there is no number to be had.
    """
    port = seen.port
    sticky = wanted.spec.number if wanted.spec.number is not None else desired.published
    if seen.record is not None:
        claim = msgspec.structs.replace(seen.record.claim, port_index=None, mac_address=str(desired.mac))
    else:
        claim = _chosen(desired, wanted, parent, sticky if sticky is not None else _lowest(parent, policy))
    if port is None:
        return Steps((*stored(desired, wanted, seen, claim), _create(claim)))
    # /run may be lost while sub-functions live: then status and MAC say that it is ours.
    if published(port, desired, parent) or (seen.record is not None and claimable(port, desired, parent)):
        claim = msgspec.structs.replace(claim, port_index=port.index)
        return Steps(stored(desired, wanted, seen, claim))
    if sticky is not None:
        raise _taken(port, parent)
    # Ours was never made, and somebody else has taken the number meanwhile: nobody was told of it, so it is given up.
    return Steps(stored(desired, wanted, seen, _chosen(desired, wanted, parent, _lowest(parent, policy))))


def recreated(record: Record) -> Decision:
    """Make the port again that somebody deleted, or that a reset of the parent took along: with the same number."""
    return Steps((*lapsed(record), _create(record.claim)))


def claimable(port: Port, desired: Desired, parent: Parent | None) -> bool:
    """Say whether a port may be the one our record announced: untouched or touched by us alone, and no other's."""
    return _untouched(port, desired) and (parent is None or port.number not in parent.recorded)


def _untouched(port: Port, desired: Desired) -> bool:
    function = port.function
    if function is None or function.active or function.attached:
        return False
    return function.mac is None or function.mac.unset or function.mac == desired.mac


def published(port: Port, desired: Desired, parent: Parent | None) -> bool:
    """Say whether a port is the one that the object's status shows, by our MAC or the shown one, and no other's."""
    status = desired.object.status if desired.object else None
    if status is None or (status.parent, status.number) != (str(port.handle), port.number):
        return False
    mac = port.function.mac if port.function else None
    shown = mac is not None and str(mac) in {str(desired.mac), status.mac_address}
    return shown and (parent is None or port.number not in parent.recorded)


def stored(
    desired: Desired, wanted: SubFunction, seen: Observation, claim: Claim, state: State = State.PREPARING
) -> tuple[Step, ...]:
    """Give the step that writes the claim down, none where the record says so already."""
    old = seen.record
    if old is not None and (old.boot_id, old.claim, old.state) == (seen.boot_id, claim, state):
        return ()
    record = Record(
        uid=desired.uid,
        name=desired.name,
        boot_id=seen.boot_id,
        state=state,
        generation=old.generation + 1 if old else 1,
        claim=claim,
        resource=wanted.spec.resource,
        # A device that is there may have been promised to a pod before the record was lost: who has it is asked by id.
        device_id=seen.auxiliary.name if seen.auxiliary else "",
    )
    return (StoreRecord(record),)


def unready(record: Record) -> tuple[Step, ...]:
    """Give the step that takes it out of the offer, before anything happens to it; none where it is not offered."""
    if record.state is not State.READY:
        return ()
    health = Health(reason=Reason.NOT_READY, message="the agent is working on it")
    return (StoreRecord(record.moved(State.PREPARING, health)),)


def lapsed(record: Record) -> tuple[Step, ...]:
    """Give the step that takes back what was offered, since the device itself is no more; none where nothing is."""
    if record.state is State.PREPARING and not record.device_id:
        return ()
    return (
        StoreRecord(
            Record(
                uid=record.uid,
                name=record.name,
                boot_id=record.boot_id,
                state=State.PREPARING,
                generation=record.generation + (record.state is not State.PREPARING),
                claim=record.claim,
                resource=record.resource,
                health=Health(reason=Reason.NOT_READY, message="its device went away and is being made again"),
            )
        ),
    )


def _lowest(parent: Parent, policy: Policy) -> int:
    number = next((number for number in policy.numbers if number not in parent.taken), None)
    if number is None:
        span = f"{policy.numbers.start} to {policy.numbers.stop - 1}"
        raise NumbersExhausted(
            f"each number from {span} is taken on {parent.function.handle}",
            hint="Delete sub-functions there, or widen the agent's range of numbers.",
        )
    return number


def _chosen(desired: Desired, wanted: SubFunction, parent: Parent, number: int) -> Claim:
    if parent.pf is None:
        raise ParentNotFound(
            f"devlink shows no physical port of {parent.function.handle}, so its pfnum is not known",
            hint="See `devlink port show`; the PF's driver must be bound.",
        )
    return Claim(
        flavour=wanted.spec.flavour,
        parent=str(parent.function.handle),
        pf=parent.pf,
        number=number,
        mac_address=str(desired.mac),
    )


def _create(claim: Claim) -> Step:
    return CreatePort(Handle.parse(claim.parent), claim.pf, claim.number, claim.controller)


def _taken(port: Port, parent: Parent) -> SubFunctionError:
    if port.number in parent.recorded:
        return NumberOwned(
            f"number {port.number} of {port.handle} belongs to another SubFunction of this node",
            hint="See `kubectl get sf`; take another number, or leave spec.number out.",
        )
    return Foreign(
        f"sub-function {port.number} of {port.handle} (port {port.index}) was made by somebody else",
        hint=f"Delete it with `devlink port del {port.handle}/{port.index}`, or take another number.",
    )
