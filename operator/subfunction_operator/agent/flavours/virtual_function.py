"""Plans flavour `vfio` with a virtual function: binds an existing one to VFIO, and back to its driver later. Pure.

The record names the former driver before anything is changed. VFIO takes an IOMMU group whole or not at all, so the
whole group is checked first. `driver_override` is always written before any other change, since that waits for the
process that still has the function open.
"""

import dataclasses
from typing import Final

import msgspec

from subfunction.api.reasons import Reason
from subfunction.errors import DriverNotLoaded, NoVirtualFunction
from subfunction.kernel.address import Mac
from subfunction.kernel.bus.pci import VirtualFunction
from subfunction.kernel.port import FunctionSettings
from subfunction.state.claims import FunctionClaim, VirtualFunctionClaim
from subfunction.state.records import Record
from subfunction_operator.agent.flavours.drivers import VFIO_PCI, profile_of
from subfunction_operator.agent.flavours.links import representor_steps, restore_representor_steps
from subfunction_operator.agent.flavours.vf_ownership import plan_claim_vf
from subfunction_operator.agent.flavours.vf_settings import (
    changed_settings,
    is_vfio,
    require_exclusive_group,
    settings_to_restore,
    snapshot_settings,
)
from subfunction_operator.agent.model.context import PlanContext
from subfunction_operator.agent.model.decision import Decision, Steps, Wait
from subfunction_operator.agent.model.observation import Observation
from subfunction_operator.agent.model.steps import (
    OverrideDriver,
    ProbeDriver,
    RemoveRecord,
    SetFunction,
    Step,
    StoreRecord,
    UnbindDriver,
)
from subfunction_operator.agent.offer.publish import Publication, plan_publish, vfio_record
from subfunction_operator.agent.offer.withdraw import plan_disruptive, withdraw_steps

_BUS: Final = "pci"


def plan_bind_vf(context: PlanContext) -> Decision:
    """Plan the next steps to a virtual function that is set up, on its VFIO driver, with a record in state `ready`.

    Raises:
        NoVirtualFunction, NumberOwned, Foreign: it does not exist, or another SubFunction or tool has it.
        GroupShared, DriverNotLoaded, UnsupportedField: it cannot be bound to VFIO, or not set up as the spec asks.
    """
    seen, wanted, memory = context.seen, context.wanted, context.memory
    function, record = _require_function(context), seen.record
    claim = record.claim if record is not None else None
    ours = isinstance(claim, VirtualFunctionClaim) and seen.this_boot and claim.address == function.address
    if record is None or not isinstance(claim, VirtualFunctionClaim) or not ours:
        chosen = function.driver if is_vfio(function.driver) else None
        return plan_claim_vf(context, function, _choose_driver(context, chosen))
    driver = _choose_driver(context, claim.driver)
    known = msgspec.structs.replace(claim, driver=driver)
    if claim.previous == FunctionClaim() and not claim.recovered:
        known = msgspec.structs.replace(known, previous=snapshot_settings(seen))  # it had no port when it was claimed
    if known != claim:
        return Steps((StoreRecord(msgspec.structs.replace(record, claim=known)),))
    mac = _wanted_mac(context, claim)
    settings = changed_settings(wanted, seen, mac)
    if function.driver == driver and settings.empty:
        return _plan_publish(context, function, record, mac)
    require_exclusive_group(seen, function)
    change = _bind_steps(seen, function, driver, settings)
    if function.driver == driver:
        return plan_disruptive(seen, record, "MAC and capabilities", *change)
    if memory.probed:
        hint = f"See `dmesg | grep {function.address}`."
        return Wait(Reason.ATTACHING, f"{driver} has not taken {function.address} yet", kernel=True, hint=hint)
    if withdrawal := withdraw_steps(record):
        return Steps(withdrawal)
    if seen.netdev_away or is_vfio(function.driver):
        return plan_disruptive(seen, record, f"its driver, which another tool changed to {function.driver},", *change)
    # It is not on VFIO, and leaving VFIO waits for the process that has the function open: no pod loses it.
    return Steps(change)


def plan_release_vf(seen: Observation, record: Record, claim: VirtualFunctionClaim) -> Decision:
    """Plan the way back of a function that no pod uses: its former settings and driver, then no record."""
    function = seen.virtual_function
    forget = RemoveRecord(record.uid)
    if function is None or function.address != claim.address or not seen.this_boot:
        return Steps((forget,), last=True)
    settings = settings_to_restore(seen, claim.previous)
    back = claim.previous_driver if claim.previous_driver in seen.drivers else None
    stays = function.driver == back and settings.empty
    leaves = is_vfio(function.driver) and not stays
    # Without an override, the first matching driver of the bus would bind to it.
    steps: list[Step] = [OverrideDriver(_BUS, function.address, back)]
    if leaves and function.driver is not None:
        steps.append(UnbindDriver(_BUS, function.address, function.driver))
    steps += [*restore_representor_steps(claim.previous, seen), *_restore_steps(seen, settings)]
    if (leaves or function.driver is None) and (back is not None or claim.recovered):
        steps.append(ProbeDriver(_BUS, function.address))
    if back is not None and not is_vfio(back):
        steps.append(OverrideDriver(_BUS, function.address, None))
    return Steps((*steps, forget), last=True)


def _require_function(context: PlanContext) -> VirtualFunction:
    function, index = context.seen.virtual_function, context.wanted.spec.vfio.virtual_function
    if function is None or index is None:
        handle = context.parent.function.handle
        raise NoVirtualFunction(
            f"{handle} has no virtual function {index}",
            hint=f"Make them with `echo N > /sys/bus/pci/devices/{handle.device}/sriov_numvfs`; this agent never does.",
        )
    return function


def _choose_driver(context: PlanContext, chosen: str | None) -> str:
    """Return the VFIO driver to bind: the one chosen before, else the parent's own, else vfio-pci; if it is loaded.

    Raises:
        DriverNotLoaded: none of them is loaded.
    """
    drivers = context.seen.drivers
    if chosen is not None and chosen in drivers:
        return chosen
    own = profile_of(context.parent.function.driver).vfio_driver
    driver = own if own in drivers else VFIO_PCI
    if driver not in drivers:
        raise DriverNotLoaded(f"no driver {driver} is on the PCI bus of this node", module=driver)
    return driver


def _wanted_mac(context: PlanContext, claim: VirtualFunctionClaim) -> Mac | None:
    """Return the address to set; None for an adopted function that has none, so that its address stays."""
    if not claim.adopted or context.wanted.spec.mac_address:
        return context.desired.mac
    kept = Mac.parse(claim.previous.mac_address) if claim.previous.mac_address else None
    return None if kept is None or kept.unset else kept


def _bind_steps(
    seen: Observation, function: VirtualFunction, driver: str, settings: FunctionSettings
) -> tuple[Step, ...]:
    steps: list[Step] = [OverrideDriver(_BUS, function.address, driver)]
    if function.driver is not None:
        steps.append(UnbindDriver(_BUS, function.address, function.driver))
    if not settings.empty and seen.port is not None:
        steps.append(SetFunction(seen.port.handle, seen.port.index, settings))
    return (*steps, ProbeDriver(_BUS, function.address))


def _restore_steps(seen: Observation, settings: FunctionSettings) -> tuple[Step, ...]:
    """Return the steps that restore address and capabilities: two steps, since the kernel may refuse one of them."""
    port = seen.port
    parts = (FunctionSettings(mac=settings.mac), dataclasses.replace(settings, mac=None))
    if port is None:
        return ()
    return tuple(SetFunction(port.handle, port.index, part, restoring=True) for part in parts if not part.empty)


def _plan_publish(context: PlanContext, function: VirtualFunction, record: Record, mac: Mac | None) -> Decision:
    seen, wanted, vfio = context.seen, context.wanted, context.seen.vfio
    if vfio is None:
        waiting = Wait(
            Reason.ATTACHING,
            f"{function.address} has no VFIO device node yet",
            kernel=True,
            hint=f"See `dmesg | grep {function.address}`.",
        )
        return Steps(withdrawal) if (withdrawal := withdraw_steps(record)) else waiting
    handed = vfio_record(record, function, vfio, context.policy.devices)
    shown = seen.port.function.mac if seen.port is not None and seen.port.function is not None else None
    address = (mac or shown) if seen.port is not None else None
    mac_env = {} if address is None or address.unset else {"SUBFUNCTION_MAC": str(address)}
    offered = msgspec.structs.replace(
        handed,
        name=context.desired.name,
        deletion=wanted.spec.deletion,
        env=handed.env | mac_env,
        numa_node=function.numa_node,
    )
    changes = representor_steps(wanted.spec.representor, seen)
    return plan_publish(Publication(record, offered, changes), seen, context.policy)
