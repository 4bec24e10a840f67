"""Plans the steps from one of our ports to a published device. Pure; it never changes what a pod uses."""

from typing import Final

import msgspec

from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Rate
from subfunction.errors import UnsupportedField
from subfunction.kernel.port import Function, FunctionSettings, Port
from subfunction.state.records import State
from subfunction_operator.agent.flavours.flavour import PortContext
from subfunction_operator.agent.flavours.links import link_steps, rate_steps, restore_netdev_steps
from subfunction_operator.agent.flavours.lost_function import is_lost, may_be_lost
from subfunction_operator.agent.model.decision import Decision, Settled, Steps, Wait
from subfunction_operator.agent.model.observation import Observation
from subfunction_operator.agent.model.steps import (
    Activate,
    BindDriver,
    Deactivate,
    DeletePort,
    ProbeDriver,
    SetFunction,
    Step,
    StoreRecord,
    UnbindDriver,
)
from subfunction_operator.agent.offer.publish import Publication, plan_publish, plan_stale
from subfunction_operator.agent.offer.withdraw import (
    detach_vdpa_steps,
    plan_disruptive,
    reset_record_steps,
    restore_ready_steps,
)
from subfunction_operator.agent.plan.identity import pin_port
from subfunction_operator.agent.plan.parameters import plan_parameters

_UNBOUND: Final = 2.0
"""Seconds after which the drivers are asked again for a function that none has bound to, or it is activated anew."""

_UNBINDING: Final = 0.3
"""Seconds after which the drivers are asked again: a probe during an unbinding does nothing.

`drivers_probe` reads the device's driver without its lock (bus_rescan_devices_helper in drivers/base/bus.c, 6.12).
"""


def plan_configure(context: PortContext) -> Decision:
    """Plan the next steps from a port to a record in state `ready`.

    Raises:
        UnsupportedField, BridgeNotFound, DriverNotLoaded, Foreign: this node cannot do what the spec asks for.
    """
    seen, port, record = context.seen, context.port, context.record
    function = port.function
    if function is None:
        raise UnsupportedField(f"the driver of {port.handle}/{port.index} has no function to set", hint="See `dmesg`.")
    if may_be_lost(port, seen, context.driver):
        return _plan_lost(context)
    settings = _changed_settings(context, function)
    if not function.active:
        if function.attached:
            return Wait(Reason.STILL_ATTACHED, "its driver has not let go since it was deactivated", kernel=True)
        return Steps((*reset_record_steps(record), *_set_steps(port, settings), Activate(port.handle, port.index)))
    if (taken := _plan_other_driver(context)) is not None:
        return taken
    deactivate = Deactivate(port.handle, port.index)
    if not settings.empty:
        return plan_disruptive(seen, record, "MAC and capabilities", *detach_vdpa_steps(seen), deactivate)
    auxiliary = seen.auxiliary
    if not function.attached or auxiliary is None or auxiliary.driver is None:
        return _plan_attach(context)
    flavour, spec = context.flavour, context.wanted.spec
    if (reloaded := plan_parameters(context, auxiliary.handle)) is not None:
        return reloaded
    missing = flavour.missing_device(spec, seen)
    if missing:
        reset = reset_record_steps(record)
        waiting = Wait(Reason.ATTACHING, f"{auxiliary.name} has no {missing} yet", kernel=True, hint=_hint(context))
        return Steps(reset) if reset else waiting
    return (
        flavour.plan_bind(context) or rate_steps(context) or restore_netdev_steps(context) or _plan_publication(context)
    )


def _plan_other_driver(context: PortContext) -> Decision | None:
    """Plan for a function that another driver has than the one that runs it; None where that one has it.

    The vendor's configuration driver takes each new function first, and its port goes on to say `active detached`:
    it is bound to the other one. A driver that we do not know is left alone.
    """
    auxiliary, profile = context.seen.auxiliary, context.driver
    running = profile.function_driver
    if auxiliary is None or auxiliary.driver is None or not running or auxiliary.driver == running:
        return None
    if reset := reset_record_steps(context.record):
        return Steps(reset)
    taken = UnbindDriver("auxiliary", auxiliary.name, auxiliary.driver)
    if auxiliary.driver in profile.configuration_drivers:
        return Steps((taken, BindDriver("auxiliary", auxiliary.name, running)))
    drivers = "/sys/bus/auxiliary/drivers"
    return Wait(
        Reason.ATTACHING,
        f"{auxiliary.name} is on {auxiliary.driver}, which is not {running} and unknown to this agent",
        kernel=True,
        hint=f"Give it to {running} if that is right: `echo {auxiliary.name} > {drivers}/{auxiliary.driver}/unbind`,"
        f" `echo {auxiliary.name} > {drivers}/{running}/bind`.",
    )


def _plan_attach(context: PortContext) -> Decision:
    """Wait for the driver of an active function; where no driver has bound to it, ask the drivers first."""
    seen, record, port, memory = context.seen, context.record, context.port, context.memory
    auxiliary = seen.auxiliary
    unbound = auxiliary is not None and auxiliary.driver is None
    probe = (ProbeDriver("auxiliary", auxiliary.name),) if auxiliary is not None and unbound else ()
    anew = (*detach_vdpa_steps(seen), Deactivate(port.handle, port.index))
    if reset := reset_record_steps(record):
        return Steps((*reset, *(probe if context.driver.rebinds or not unbound else anew)))
    if seen.reload_failed:
        # Another reload may fail for the same reason: only a new device is free of what the unbinding left behind.
        return plan_disruptive(seen, record, "its class devices", *anew)
    if seen.waits_for and auxiliary is None:
        return Wait(Reason.ATTACHING, _attach_message(seen), kernel=True, hint=_hint(context))
    if probe and memory.probed and not memory.just_probed and _UNBINDING <= memory.waited < _UNBOUND:
        return Steps(probe)
    late = bool(probe) and memory.waited >= _UNBOUND
    if late and not memory.probed:
        return Steps(probe)
    if memory.overdue or (late and not memory.deactivated):
        # Before a failed probe is tried again, the function is deactivated: inactive, detached, active.
        return Steps(anew)
    return Wait(Reason.ATTACHING, _attach_message(seen), kernel=True, hint=_hint(context))


def _plan_lost(context: PortContext) -> Decision:
    """Delete the port of a function that the firmware took away, once that is certain: nothing else restores it."""
    if reset := reset_record_steps(context.record):
        return Steps(reset)
    if is_lost(context.port, context.seen, context.driver, context.memory):
        return Steps((DeletePort(context.port.handle, context.port.index),))
    return Wait(Reason.ATTACHING, "it is attached, and its device is not to be seen", kernel=True, hint=_hint(context))


def _hint(context: PortContext) -> str:
    name = context.seen.auxiliary.name if context.seen.auxiliary else str(context.port.handle.device)
    modules = context.driver.flavour_modules[context.wanted.spec.flavour]
    hint = f"See `dmesg | grep {name}`, and load its drivers: `modprobe {modules}`."
    if context.seen.auxiliary is None or context.seen.auxiliary.driver is not None:
        return hint
    more = f": {context.driver.vectors_hint}" if context.driver.vectors_hint else ""
    return (
        f"{hint} If it says `failed with error -28`, MSI-X vectors are wanting{more}. With `error -12` it is memory, of"
        " the node or the card: delete sub-functions of the parent."
    )


def _changed_settings(context: PortContext, function: Function) -> FunctionSettings:
    """Return the settings of the function that differ from its spec.

    Raises:
        UnsupportedField: the function is active, and would be deactivated for a capability its driver does not offer.
    """
    capabilities = context.wanted.spec.capabilities
    roce, queues = capabilities.roce, capabilities.max_io_event_queues
    offers = (("roce", roce, function.roce), ("maxIOEventQueues", queues, function.max_io_eqs))
    unoffered = [f"spec.capabilities.{name}" for name, asked, shown in offers if asked is not None and shown is None]
    if function.active and unoffered:
        where = f"{context.port.handle}/{context.port.index}"
        raise UnsupportedField(f"the driver of {where} offers no {' and '.join(unoffered)}", hint="Leave it out.")
    return FunctionSettings(
        mac=context.mac if function.mac != context.mac else None,
        roce=roce if roce is not None and roce != function.roce else None,
        # mlx5 takes 8 at the activation where none were set, whatever it shows before.
        max_io_eqs=queues if queues is not None and (queues != function.max_io_eqs or not function.active) else None,
    )


def _set_steps(port: Port, settings: FunctionSettings) -> tuple[Step, ...]:
    return () if settings.empty else (SetFunction(port.handle, port.index, settings),)


def _attach_message(seen: Observation) -> str:
    if seen.auxiliary is None and seen.waits_for:
        return (
            f"it is active and {seen.waits_for} whose driver has not let go; end the process that has a device of that"
            " one open (`fuser -v /dev/vhost-vdpa-*`)"
        )
    if seen.auxiliary is None:
        return "it is active, and its auxiliary device has not appeared yet"
    if seen.auxiliary.driver is None:
        return f"{seen.auxiliary.name} is on the auxiliary bus, and no driver has bound to it yet"
    return f"{seen.auxiliary.name} is probing"


def _plan_publication(context: PortContext) -> Decision:
    old, seen, spec = context.record, context.seen, context.wanted.spec
    offered_already = old.state is not State.PREPARING and bool(old.witness.inodes)
    changes, pending = link_steps(context)
    if seen.netdev_away and offered_already:
        # While a pod has the netdev, the record keeps what the pod was promised.
        lent = () if old.lent else (StoreRecord(msgspec.structs.replace(old, lent=True)),)
        if not lent and old.witness.movable and not seen.witness_holds:
            # Its RDMA device was made anew, or the move gave the verbs device another number than the pod was promised.
            return plan_stale(Publication(old, old, changes), seen)
        updates = lent or restore_ready_steps(seen, old)
        return Steps((*changes, *updates)) if changes or updates else Settled(pending=pending)
    rated = context.claim.rated and spec.rate != Rate()
    claim = msgspec.structs.replace(pin_port(context.claim, context.port), mac_address=str(context.mac), rated=rated)
    record = msgspec.structs.replace(
        old, claim=claim, name=context.desired.name, deletion=spec.deletion, lent=seen.netdev_away
    )
    offered = context.flavour.device_record(spec, seen, record, context.policy.devices)
    return plan_publish(Publication(old, offered, changes, pending), seen, context.policy)
