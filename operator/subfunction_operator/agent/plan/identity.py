"""Settles the number and port of a sub-function. Pure; the record is written before the kernel is asked.

Where the taken numbers come from:

    observe/port.py             unites all sources in `Parent.taken`
    observe/number_cache.py     the numbers of ports and of records, and those that the kernel refused, for 30 s
    reconcile/dispatcher.py     reserved_numbers: the numbers that other objects ask for or show in their status
    kernel/error_table.py       the kernel decides: EEXIST (mlx5), EBUSY "already exists" (ice) become NumberTaken
    reconcile/reconciler.py     takes the record back after that, has the number refused, and tries the next one
"""

import errno

import msgspec

from subfunction.errors import (
    EswitchElsewhere,
    Foreign,
    NotSwitchdev,
    NumberOwned,
    NumbersExhausted,
    ParentNotFound,
    PortUnlisted,
    SubFunctionError,
)
from subfunction.kernel.address import Handle
from subfunction.kernel.error_table import fatal_error, reload_error
from subfunction.kernel.port import Port
from subfunction.state.claims import PortClaim
from subfunction.state.records import Record, State
from subfunction_operator.agent.flavours.drivers import profile_of
from subfunction_operator.agent.model.context import PlanContext
from subfunction_operator.agent.model.decision import Decision, Steps
from subfunction_operator.agent.model.observation import Observation, Parent
from subfunction_operator.agent.model.record import build_record
from subfunction_operator.agent.model.steps import CreatePort, Step, StoreRecord
from subfunction_operator.agent.offer.withdraw import reset_record_steps
from subfunction_operator.agent.plan.eswitch import plan_restore_switchdev
from subfunction_operator.agent.plan.port_ownership import matches_status, may_be_ours


def plan_identity(context: PlanContext) -> Decision:
    """Plan the number and port of a sub-function whose record names no port of this boot.

    Raises:
        Foreign: a sub-function that another tool made has the number that must be ours.
        NumberOwned, NumbersExhausted: no number is free, or not the one that must be ours.
        CardFailed, NotSwitchdev, EswitchElsewhere, ParentNotFound: the parent can make no port now.
        PortUnlisted: the kernel's list leaves out the port that we may have made.
    """
    seen, wanted, parent = context.seen, context.wanted, context.parent
    port, old = seen.port, seen.claim
    sticky = wanted.spec.number if wanted.spec.number is not None else context.desired.status_number
    if old is not None:
        claim = _unpin(msgspec.structs.replace(old, mac_address=_wanted_mac(context, old)))
    else:
        claim = _new_claim(context, sticky if sticky is not None else _choose_lowest(context))
    if port is None:
        require_listed(seen, claim)
        if (restore := plan_restore_switchdev(context)) is not None:
            return restore
        require_port_add(parent)
        _require_unowned(context, claim.number)
        return Steps((*store_record_steps(context, claim), _create_step(claim, parent)))
    # /run may be lost while sub-functions exist: then status and MAC prove that a port is ours.
    refused = old is not None and old.refused
    if (matches_status(context, port) and not refused) or (old is not None and may_be_ours(context, port, old)):
        return Steps(store_record_steps(context, pin_port(claim, port)))
    if wanted.spec.adopt and port.number not in parent.recorded:
        return Steps(store_record_steps(context, _adopt(context, claim, port)))
    if sticky is not None:
        raise _foreign_error(context, port)
    # Our port was never made, and another tool took the number meanwhile. No status showed it: choose another one.
    return Steps(store_record_steps(context, _new_claim(context, _choose_lowest(context))))


def plan_recreate(context: PlanContext, record: Record, claim: PortClaim) -> Decision:
    """Plan to make a port again with the same number, after it was deleted or a reset of the parent removed it.

    The record announces the port first: the new port may show the address of a function that had its slot meanwhile.
    """
    if reset := reset_record_steps(record):
        return Steps(reset)
    if (restore := plan_restore_switchdev(context)) is not None:
        return restore
    require_port_add(context.parent)
    announced = msgspec.structs.replace(record, claim=_unpin(claim))
    return Steps((StoreRecord(announced), _create_step(claim, context.parent)))


def pin_port(claim: PortClaim, port: Port) -> PortClaim:
    """Return the claim with what the kernel shows of its port: index, pfnum and representor."""
    return msgspec.structs.replace(claim, port_index=port.index, pf=port.pf, representor=port.ifindex, refused=False)


def store_record_steps(context: PlanContext, claim: PortClaim, state: State = State.PREPARING) -> tuple[Step, ...]:
    """Return the step that writes the claim into the record; none if the record has it already."""
    old, auxiliary = context.seen.record, context.seen.auxiliary
    if old is not None and (old.boot_id, old.claim, old.state) == (context.seen.boot_id, claim, state):
        return ()
    record = build_record(context, claim, state=state, device_id=auxiliary.name if auxiliary else "")
    return (StoreRecord(record),)


def require_listed(seen: Observation, claim: PortClaim) -> None:
    """Check that the kernel's list does not leave out a port that we may have made.

    Raises:
        PortUnlisted: the port's representor exists, and the list leaves the port out.
    """
    if not seen.unlisted:
        return
    raise PortUnlisted(
        f"the representor of sub-function {claim.number} of {seen.handle} is there, and `devlink port show` leaves its"
        " port out",
        hint="The firmware does not answer for one of the ports; see `dmesg` and `devlink health show`.",
    )


def require_port_add(parent: Parent) -> None:
    """Check that the parent can make a port, before a record announces one.

    Raises:
        CardFailed: a fatal error of the card was not recovered; its driver says that it is in legacy mode.
        NotSwitchdev: the parent's e-switch is in legacy mode.
        EswitchElsewhere: another processor manages the parent's e-switch.
        ParentNotFound: the parent has no devlink instance, or none in this network namespace.
    """
    handle, profile = str(parent.function.handle), profile_of(parent.function.driver)
    if parent.elsewhere and profile.eswitch_elsewhere:
        raise EswitchElsewhere(f"{handle} has no e-switch of its own: {profile.eswitch_elsewhere}.")
    if parent.failed:
        raise fatal_error(handle)
    if parent.reload_failed:
        raise reload_error(handle)
    if parent.legacy:
        hint = profile.switchdev_hint.replace("HANDLE", handle)
        raise NotSwitchdev(f"the e-switch of {handle} is in legacy mode", errno=errno.EOPNOTSUPP, hint=hint)
    if parent.absent:
        raise ParentNotFound(
            f"devlink shows no instance of {handle}",
            hint="See `devlink dev show`; the PF's driver must be bound, and the agent have `hostNetwork: true`.",
        )


def require_represented(parent: Parent) -> None:
    """Check that the parent's ports are not left over from a switchdev mode that it is no longer in.

    Raises:
        NotSwitchdev: they are; none of them may be deleted, and no port can be made.
    """
    if not parent.stranded:
        return
    raise NotSwitchdev(
        f"the e-switch of {parent.function.handle} became legacy while it had sub-functions, which are cut off from it",
        errno=errno.EOPNOTSUPP,
        hint=profile_of(parent.function.driver).stranded_hint,
    )


def _unpin(claim: PortClaim) -> PortClaim:
    return msgspec.structs.replace(claim, port_index=None, representor=None, refused=False)


def _wanted_mac(context: PlanContext, claim: PortClaim) -> str:
    keeps_own = claim.adopted and not context.wanted.spec.mac_address
    return claim.mac_address if keeps_own else str(context.desired.mac)


def _adopt(context: PlanContext, claim: PortClaim, port: Port) -> PortClaim:
    """Return the claim of a port that another tool made, with the address it has; the spec's is set afterwards."""
    mac = port.function.mac if port.function else None
    address = str(mac) if mac is not None and not mac.unset else str(context.desired.mac)
    return msgspec.structs.replace(pin_port(claim, port), adopted=True, mac_address=address)


def _choose_lowest(context: PlanContext) -> int:
    parent = context.parent
    numbers = context.policy.numbers.of(parent.function.handle)
    number = next((number for number in numbers if number not in parent.taken), None)
    if number is None:
        raise NumbersExhausted(
            f"each number from {numbers.start} to {numbers.stop - 1} is taken on {parent.function.handle}",
            hint="Delete sub-functions there, or widen the agent's range of numbers (agent.firstNumber and lastNumber,"
            " or this parent's entry of agent.numberRanges).",
        )
    return number


def _new_claim(context: PlanContext, number: int) -> PortClaim:
    return PortClaim(
        flavour=context.wanted.spec.flavour,
        parent=str(context.parent.function.handle),
        number=number,
        mac_address=str(context.desired.mac),
    )


def _require_unowned(context: PlanContext, number: int) -> None:
    """Check that no other SubFunction has the number, even one whose port does not exist at the moment.

    Raises:
        NumberOwned: another one has it.
    """
    parent = context.parent
    owner = parent.recorded.get(number) or parent.shown.get(number)
    if owner is not None and number != context.desired.status_number:
        raise NumberOwned(
            f"number {number} of {parent.function.handle} belongs to the SubFunction {owner}",
            hint="See `kubectl get sf`; take another number, or leave spec.number out.",
        )


def _create_step(claim: PortClaim, parent: Parent) -> Step:
    known = () if claim.pf is None else (claim.pf,)
    pfs = tuple(dict.fromkeys((*known, *parent.pfs))) or (parent.function.number,)
    return CreatePort(Handle.parse(claim.parent), claim.number, pfs)


def _foreign_error(context: PlanContext, port: Port) -> SubFunctionError:
    if port.number is not None:
        _require_unowned(context, port.number)
    return Foreign(
        f"sub-function {port.number} of {port.handle} (port {port.index}) was not made by this agent",
        hint=f"Take it over with spec.adopt, delete it with `devlink port del {port.handle}/{port.index}`, or take"
        " another number.",
    )
