"""Who a sub-function is: which number and which port are its own. Pure; the record comes first, then the kernel."""

import errno

import msgspec

from subfunction.api import Flavour, SubFunction
from subfunction.claims import PortClaim
from subfunction.errors import Foreign, NotSwitchdev, NumberOwned, NumbersExhausted, ParentNotFound, SubFunctionError
from subfunction.kernel.address import Handle
from subfunction.kernel.port import Port
from subfunction.kernel.refusals import SWITCHDEV
from subfunction.records import Record, State
from subfunction_operator.decision import Decision, Steps
from subfunction_operator.interruption import lapsed
from subfunction_operator.observation import Desired, Observation, Parent, Policy
from subfunction_operator.step import CreatePort, Step, StoreRecord


def claimed(desired: Desired, wanted: SubFunction, seen: Observation, parent: Parent, policy: Policy) -> Decision:
    """Settle number and port of a sub-function whose record names no port of this boot.

    Raises:
        Foreign: somebody else's sub-function has the number that must be ours.
        NumbersExhausted, ParentNotFound: there is no number to be had.
    """
    port, old = seen.port, seen.claim
    sticky = wanted.spec.number if wanted.spec.number is not None else desired.published
    if old is not None:
        claim = msgspec.structs.replace(old, port_index=None, mac_address=_mac(desired, wanted, old))
    else:
        claim = _chosen(desired, wanted, parent, sticky if sticky is not None else _lowest(parent, policy))
    if port is None:
        _unowned(claim.number, desired, parent)
        return Steps((*stored(desired, wanted, seen, claim), _create(claim)))
    # /run may be lost while sub-functions live: then status and MAC say that it is ours.
    if published(port, desired, parent) or (old is not None and claimable(port, desired, parent, old)):
        claim = msgspec.structs.replace(claim, port_index=port.index)
        return Steps(stored(desired, wanted, seen, claim))
    if wanted.spec.adopt and port.number not in parent.recorded:
        return Steps(stored(desired, wanted, seen, _adopted(claim, port, desired)))
    if sticky is not None:
        raise _taken(port, desired, parent)
    # Ours was never made, and somebody else has taken the number meanwhile: nobody was told of it, so it is given up.
    return Steps(stored(desired, wanted, seen, _chosen(desired, wanted, parent, _lowest(parent, policy))))


def recreated(record: Record, claim: PortClaim) -> Decision:
    """Make the port again that somebody deleted, or that a reset of the parent took along: with the same number."""
    return Steps((*lapsed(record), _create(claim)))


def recognised(port: Port, desired: Desired, seen: Observation, claim: PortClaim) -> bool:
    """Say whether the port of our index and number is the one we made: drivers give an index out again.

    It carries an address of ours, or nobody has given it one; or its device is the very one that was recorded.
    """
    if port.index != claim.port_index or port.number != claim.number:
        return False
    mac, shown = (
        port.function.mac if port.function else None,
        desired.object.status.mac_address if desired.object else None,
    )
    if mac is None or str(mac) in {claim.mac_address, str(desired.mac), shown}:
        return True
    auxiliary = seen.auxiliary
    same = (
        auxiliary is not None
        and seen.record is not None
        and (seen.record.witness.inodes.get(auxiliary.path) == auxiliary.inode)
    )
    return same or _untouched(port, desired, claim)


def claimable(port: Port, desired: Desired, parent: Parent | None, claim: PortClaim) -> bool:
    """Say whether a port may be the one our record announced: untouched or touched by us alone, and no other's."""
    return _untouched(port, desired, claim) and (parent is None or port.number not in parent.recorded)


def _untouched(port: Port, desired: Desired, claim: PortClaim) -> bool:
    function = port.function
    if function is None or function.active or function.attached:
        return False
    mac = function.mac
    # ice gives a new function a random address of its own; a person or a tool gives a real one.
    fresh = mac is None or mac.unset or (claim.flavour == Flavour.ICE and mac.local)
    return fresh or mac == desired.mac


def _mac(desired: Desired, wanted: SubFunction, claim: PortClaim) -> str:
    return claim.mac_address if claim.adopted and not wanted.spec.mac_address else str(desired.mac)


def _adopted(claim: PortClaim, port: Port, desired: Desired) -> PortClaim:
    """Take over what somebody else made, by the address it carries; one that the spec names is set afterwards."""
    mac = port.function.mac if port.function else None
    address = str(mac) if mac is not None and not mac.unset else str(desired.mac)
    return msgspec.structs.replace(claim, port_index=port.index, adopted=True, mac_address=address)


def published(port: Port, desired: Desired, parent: Parent | None) -> bool:
    """Say whether a port is the one that the object's status shows, by our MAC or the shown one, and no other's."""
    status = desired.object.status if desired.object else None
    if status is None or (status.parent, status.number) != (str(port.handle), port.number):
        return False
    mac = port.function.mac if port.function else None
    shown = mac is not None and str(mac) in {str(desired.mac), status.mac_address}
    return shown and (parent is None or port.number not in parent.recorded)


def stored(
    desired: Desired, wanted: SubFunction, seen: Observation, claim: PortClaim, state: State = State.PREPARING
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
        deletion=wanted.spec.deletion,
        # A device that is there may have been promised to a pod before the record was lost: who has it is asked by id.
        device_id=seen.auxiliary.name if seen.auxiliary else "",
        remade=old is not None and old.remade and seen.this_boot,
    )
    return (StoreRecord(record),)


def _lowest(parent: Parent, policy: Policy) -> int:
    number = next((number for number in policy.numbers if number not in parent.taken), None)
    if number is None:
        span = f"{policy.numbers.start} to {policy.numbers.stop - 1}"
        raise NumbersExhausted(
            f"each number from {span} is taken on {parent.function.handle}",
            hint="Delete sub-functions there, or widen the agent's range of numbers.",
        )
    return number


def _chosen(desired: Desired, wanted: SubFunction, parent: Parent, number: int) -> PortClaim:
    if parent.pf is None and parent.legacy:
        handle = str(parent.function.handle)
        hint = SWITCHDEV.replace("HANDLE", handle)
        raise NotSwitchdev(f"the e-switch of {handle} is in legacy mode", errno=errno.EOPNOTSUPP, hint=hint)
    if parent.pf is None:
        raise ParentNotFound(
            f"devlink shows no physical port of {parent.function.handle}, so its pfnum is not known",
            hint="See `devlink port show`; the PF's driver must be bound, and the agent have `hostNetwork: true`.",
        )
    return PortClaim(
        flavour=wanted.spec.flavour,
        parent=str(parent.function.handle),
        pf=parent.pf,
        number=number,
        mac_address=str(desired.mac),
    )


def _unowned(number: int, desired: Desired, parent: Parent) -> None:
    """Refuse a number that another SubFunction has, also while its port is lost for a moment."""
    owner = parent.recorded.get(number) or parent.shown.get(number)
    if owner is not None and number != desired.published:
        raise NumberOwned(
            f"number {number} of {parent.function.handle} belongs to the SubFunction {owner}",
            hint="See `kubectl get sf`; take another number, or leave spec.number out.",
        )


def _create(claim: PortClaim) -> Step:
    return CreatePort(Handle.parse(claim.parent), claim.pf, claim.number, claim.controller)


def _taken(port: Port, desired: Desired, parent: Parent) -> SubFunctionError:
    if port.number is not None:
        _unowned(port.number, desired, parent)
    return Foreign(
        f"sub-function {port.number} of {port.handle} (port {port.index}) was made by somebody else",
        hint=f"Take it over with spec.adopt, delete it with `devlink port del {port.handle}/{port.index}`, or take"
        " another number.",
    )
