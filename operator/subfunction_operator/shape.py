"""How a sub-function is: a port of ours becomes what its spec asks for. Pure; nothing is touched that a pod has."""

import dataclasses

import msgspec

from subfunction.api import SubFunction
from subfunction.errors import UnsupportedField
from subfunction.kernel.port import Function, FunctionSettings, Port
from subfunction.reasons import Reason
from subfunction.records import Health, Record, State
from subfunction_operator.claim import lapsed, unready
from subfunction_operator.flavours import Kind
from subfunction_operator.observation import Desired, Memory, Observation, Policy
from subfunction_operator.step import (
    Activate,
    Ask,
    Deactivate,
    Decision,
    Reload,
    Rest,
    SetFunction,
    SetLink,
    SetParameter,
    Step,
    Steps,
    StoreRecord,
    Wait,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One sub-function whose port is known to be its own."""

    desired: Desired
    wanted: SubFunction
    seen: Observation
    kind: Kind
    record: Record
    port: Port
    memory: Memory

    @property
    def held(self) -> bool:
        """Whether a pod has it, as far as can be told."""
        return self.seen.usage.held or self.seen.away


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
    if not settings.empty:
        return _interrupted(case, "MAC and capabilities", Deactivate(port.handle, port.index))
    auxiliary = seen.auxiliary
    if not function.attached or auxiliary is None or auxiliary.driver is None:
        leave = lapsed(record)
        return Steps(leave) if leave else Wait(Reason.ATTACHING, _attaching(seen), kernel=True)
    wrong = {
        name: value for name, value in case.kind.parameters(case.wanted.spec).items() if _differs(seen, name, value)
    }
    missing = case.kind.missing(case.wanted.spec, seen)
    # The kernel shows the value that was set, whether or not a reload has applied it: the class devices tell.
    unapplied = bool(missing) or (_known(seen) and not case.kind.as_asked(case.wanted.spec, seen))
    if wrong or (unapplied and not case.memory.reloaded):
        changes = [SetParameter(auxiliary.handle, name, value) for name, value in wrong.items()]
        return _interrupted(case, "its class devices", *changes, Reload(auxiliary.handle))
    if missing:
        return Wait(Reason.ATTACHING, f"{auxiliary.name} has no {missing} yet", kernel=True)
    return _offered(case, policy)


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
        mac=case.desired.mac if function.mac != case.desired.mac else None,
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


def _interrupted(case: Case, what: str, *change: Step) -> Decision:
    """First leave the offer, then look whether a pod was faster, and only then touch it."""
    if case.held:
        if case.record.state is State.PREPARING and case.record.device_id and not case.seen.away:
            # It was: it keeps what it was promised, and the change waits.
            return Steps((StoreRecord(case.record.moved(State.READY, Health(healthy=True))),))
        why = case.seen.usage.why or "its netdev is in the namespace of a pod"
        return Rest(pending=f"{what} can change when no pod has the device; {why}")
    if not case.seen.usage.asked:
        return Ask()
    return Steps(unready(case.record) or change)


def _offered(case: Case, policy: Policy) -> Decision:
    old, seen = case.record, case.seen
    offered_already = old.state is State.READY and bool(old.witness.inodes)
    if seen.away and offered_already:
        # While a pod has the netdev, what it was promised stands as it was.
        return Rest()
    claim = msgspec.structs.replace(old.claim, mac_address=str(case.desired.mac))
    record = msgspec.structs.replace(old, claim=claim, name=case.desired.name)
    offered = case.kind.offered(case.wanted.spec, seen, record, policy.devices)
    if offered_already and (offered.nodes, offered.witness) != (old.nodes, old.witness):
        # What a pod was handed is another device now: its record must not be made to fit.
        if not seen.usage.asked:
            return Ask()
        if case.held:
            # More than was handed out (rdma_cm was loaded meanwhile) is for the next pod.
            return Rest() if _still(old, offered) else _unfit(case)
    store = StoreRecord(offered.moved(State.READY, Health(healthy=True)))
    unsaid = old.state is not State.READY or offered != old
    taken = (*_linked(case), *([store] if unsaid else []))
    return Steps(taken, last=True) if taken else Rest()


def _still(old: Record, offered: Record) -> bool:
    """Say whether all that was handed out is there as it was."""
    then, now = old.witness, offered.witness
    return (
        set(old.nodes) <= set(offered.nodes)
        and then.inodes.items() <= now.inodes.items()
        and then.links.items() <= now.links.items()
        and then.numbers.items() <= now.numbers.items()
    )


def _unfit(case: Case) -> Decision:
    why = "its devices were made anew while a pod has the old ones"
    sick = Health(reason=Reason.STALE_ALLOCATION, message=why)
    if case.record.health != sick:
        return Steps((StoreRecord(msgspec.structs.replace(case.record, health=sick)),))
    return Rest(pending=f"{why}; {case.seen.usage.why}")


def _linked(case: Case) -> tuple[Step, ...]:
    representor, up = case.seen.representor, case.wanted.spec.representor.admin_state == "up"
    return () if representor is None or representor.up == up else (SetLink(representor, up),)
