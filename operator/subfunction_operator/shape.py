"""How a sub-function is: a port of ours becomes what its spec asks for. Pure; nothing is touched that a pod has."""

from typing import Final

import msgspec

from subfunction.api import Rate
from subfunction.errors import UnsupportedField
from subfunction.kernel.port import Function, FunctionSettings, Port
from subfunction.reasons import Reason
from subfunction.records import State
from subfunction_operator.decision import Decision, Rest, Steps, Wait
from subfunction_operator.interruption import healed, interrupted, lapsed, vacated
from subfunction_operator.kind import Case
from subfunction_operator.observation import Observation, Policy
from subfunction_operator.offer import Offer, offered_or_rest
from subfunction_operator.returning import returning
from subfunction_operator.step import (
    Activate,
    Deactivate,
    ProbeDriver,
    Reload,
    SetFunction,
    SetParameter,
    Step,
    StoreRecord,
)
from subfunction_operator.tuning import limited, tuned

_UNBOUND: Final = 2.0
"""Seconds after which a function that no driver took is offered to the drivers once more, or taken down and up."""


def shaped(case: Case, policy: Policy) -> Decision:
    """Go on from a port to a record that says `ready`."""
    seen, port, record = case.seen, case.port, case.record
    function = port.function
    if function is None:
        raise UnsupportedField(f"the driver of {port.handle}/{port.index} has no function to set", hint="See `dmesg`.")
    settings = _settings(case, function)
    if not function.active:
        if function.attached:
            return Wait(Reason.STILL_ATTACHED, "its driver has not let go since it was deactivated", kernel=True)
        return Steps((*lapsed(record), *_set(port, settings), Activate(port.handle, port.index)))
    deactivate = Deactivate(port.handle, port.index)
    if not settings.empty:
        return interrupted(seen, record, "MAC and capabilities", *vacated(seen), deactivate)
    auxiliary = seen.auxiliary
    if not function.attached or auxiliary is None or auxiliary.driver is None:
        return _unattached(case)
    wrong = {
        name: value for name, value in case.kind.parameters(case.wanted.spec).items() if _differs(seen, name, value)
    }
    missing = case.kind.missing(case.wanted.spec, seen)
    # The kernel shows the value that was set, whether or not a reload has applied it: the class devices tell.
    unapplied = bool(missing) or (_known(seen) and not case.kind.as_asked(case.wanted.spec, seen))
    if wrong or (unapplied and not case.memory.reloaded):
        changes = [SetParameter(auxiliary.handle, name, value) for name, value in wrong.items()]
        return interrupted(seen, record, "its class devices", *changes, *vacated(seen), Reload(auxiliary.handle))
    if missing:
        leave = lapsed(record)
        waiting = Wait(Reason.ATTACHING, f"{auxiliary.name} has no {missing} yet", kernel=True, hint=_hint(case))
        return Steps(leave) if leave else waiting
    return case.kind.placed(case) or limited(case) or returning(case) or _offered(case, policy)


def _unattached(case: Case) -> Decision:
    """Wait for the driver of an active function, after having offered it to the drivers where none has taken it."""
    seen, record, port = case.seen, case.record, case.port
    auxiliary = seen.auxiliary
    unbound = auxiliary is not None and auxiliary.driver is None
    probe = (ProbeDriver("auxiliary", auxiliary.name),) if auxiliary is not None and unbound else ()
    if leave := lapsed(record):
        return Steps((*leave, *probe))
    late = bool(probe) and case.memory.waited >= _UNBOUND
    if late and not case.memory.probed:
        return Steps(probe)
    if case.memory.overdue or (late and not case.memory.lowered):
        # A probe that failed is tried again only once the function was taken down: inactive, detached, active.
        return Steps((*vacated(seen), Deactivate(port.handle, port.index)))
    return Wait(Reason.ATTACHING, _attaching(seen), kernel=True, hint=_hint(case))


def _hint(case: Case) -> str:
    name = case.seen.auxiliary.name if case.seen.auxiliary else str(case.port.handle.device)
    return f"See `dmesg | grep {name}`, and load its drivers: `modprobe {case.kind.modules}`."


def _settings(case: Case, function: Function) -> FunctionSettings:
    """Say what of the function differs from what is asked.

    Raises:
        UnsupportedField: it runs, and would be taken down for what its driver does not offer at all.
    """
    capabilities = case.wanted.spec.capabilities
    roce, queues = capabilities.roce, capabilities.max_io_event_queues
    offers = (("roce", roce, function.roce), ("maxIOEventQueues", queues, function.max_io_eqs))
    unoffered = [f"spec.capabilities.{name}" for name, asked, shown in offers if asked is not None and shown is None]
    if function.active and unoffered:
        where = f"{case.port.handle}/{case.port.index}"
        raise UnsupportedField(f"the driver of {where} offers no {' and '.join(unoffered)}", hint="Leave it out.")
    return FunctionSettings(
        mac=case.mac if function.mac != case.mac else None,
        roce=roce if roce is not None and roce != function.roce else None,
        max_io_eqs=queues if queues is not None and queues != function.max_io_eqs else None,
    )


def _set(port: Port, settings: FunctionSettings) -> tuple[Step, ...]:
    return () if settings.empty else (SetFunction(port.handle, port.index, settings),)


def _differs(seen: Observation, name: str, value: bool) -> bool:  # noqa: FBT001  # the value is the matter
    # A parameter that this kernel does not know has nothing to set: the function comes up whole.
    return dict(seen.parameters).get(name) not in {None, value}


def _known(seen: Observation) -> bool:
    return bool(seen.parameters) and all(value is not None for _, value in seen.parameters)


def _attaching(seen: Observation) -> str:
    if seen.auxiliary is None:
        return "it is active, and its auxiliary device has not appeared yet"
    if seen.auxiliary.driver is None:
        return f"{seen.auxiliary.name} is on the auxiliary bus, and no driver has bound to it yet"
    return f"{seen.auxiliary.name} is probing"


def _offered(case: Case, policy: Policy) -> Decision:
    old, seen, spec = case.record, case.seen, case.wanted.spec
    offered_already = old.state is not State.PREPARING and bool(old.witness.inodes)
    changes, pending = tuned(case)
    if seen.away and offered_already:
        # While a pod has the netdev, what it was promised stands as it was.
        lent = () if old.lent else (StoreRecord(msgspec.structs.replace(old, lent=True)),)
        news = lent or healed(seen, old)
        return Steps((*changes, *news)) if changes or news else Rest(pending=pending)
    claim = msgspec.structs.replace(
        case.claim, mac_address=str(case.mac), rated=case.claim.rated and spec.rate != Rate()
    )
    record = msgspec.structs.replace(old, claim=claim, name=case.desired.name, deletion=spec.deletion, lent=seen.away)
    offered = case.kind.offered(spec, seen, record, policy.devices)
    return offered_or_rest(Offer(old, offered, changes, pending), seen, policy)
