"""The flavour `vfio` with a virtual function: one that exists is bound to its VFIO driver, and given back later. Pure.

Its record names the driver it had before anything is touched. VFIO gives an IOMMU group away whole or not at all, so
the whole group is looked at first. `driver_override` is always written first: that waits for whoever still has the
function open, and nothing else is touched before.
"""

import dataclasses
from typing import Final

import msgspec

from subfunction.api import SubFunction
from subfunction.claims import FunctionClaim, VirtualFunctionClaim
from subfunction.errors import DriverNotLoaded, NoVirtualFunction
from subfunction.kernel.address import Mac
from subfunction.kernel.pci import VirtualFunction
from subfunction.kernel.port import FunctionSettings
from subfunction.reasons import Reason
from subfunction.records import Record
from subfunction_operator.decision import Decision, Steps, Wait
from subfunction_operator.functionclaim import claimed
from subfunction_operator.functionrules import as_found, is_vfio, restored, settings_of, whole_group
from subfunction_operator.interruption import interrupted, unready
from subfunction_operator.observation import Desired, Memory, Observation, Parent, Policy
from subfunction_operator.offer import Offer, handed_out, offered_or_rest
from subfunction_operator.step import (
    OverrideDriver,
    ProbeDriver,
    RemoveRecord,
    SetFunction,
    Step,
    StoreRecord,
    UnbindDriver,
)
from subfunction_operator.tuning import connected, disconnected

_BUS: Final = "pci"
_OF_PARENT: Final = {"mlx5_core": "mlx5_vfio_pci"}
"""A parent's own variant of the VFIO driver, which can migrate; taken where it is loaded."""

_ANY: Final = "vfio-pci"
_FRESH: Final = Memory()


def bound(  # noqa: PLR0913, PLR0917  # all that a plan stands on
    desired: Desired, wanted: SubFunction, seen: Observation, parent: Parent, policy: Policy, memory: Memory = _FRESH
) -> Decision:
    """Bring a virtual function to its VFIO driver, configured, and to a record that says `ready`.

    Raises:
        NoVirtualFunction, NumberOwned, Foreign: it cannot be ours.
        GroupShared, DriverNotLoaded, UnsupportedField: VFIO cannot have it.
    """
    function = seen.virtual_function
    index = wanted.spec.vfio.virtual_function
    if function is None or index is None:
        device = parent.function.handle.device
        raise NoVirtualFunction(
            f"{parent.function.handle} has no virtual function {index}",
            hint=f"Make them with `echo N > /sys/bus/pci/devices/{device}/sriov_numvfs`; this agent never does.",
        )
    record = seen.record
    claim = record.claim if record is not None else None
    ours = isinstance(claim, VirtualFunctionClaim) and seen.this_boot and claim.address == function.address
    if record is None or not isinstance(claim, VirtualFunctionClaim) or not ours:
        chosen = function.driver if is_vfio(function.driver) else None
        return claimed(desired, wanted, seen, function, _driver(seen, parent, chosen))
    driver = _driver(seen, parent, claim.driver)
    known = msgspec.structs.replace(claim, driver=driver)
    if claim.previous == FunctionClaim() and not claim.recovered:
        known = msgspec.structs.replace(known, previous=as_found(seen))  # it had no port when it was found
    if known != claim:
        return Steps((StoreRecord(msgspec.structs.replace(record, claim=known)),))
    mac = _address(desired, wanted, claim)
    settings = settings_of(wanted, seen, mac)
    if function.driver == driver and settings.empty:
        return _offered(desired, wanted, seen, function, record, mac, policy)
    whole_group(seen, function)
    change = _taken(seen, function, driver, settings)
    if function.driver == driver:
        return interrupted(seen, record, "MAC and capabilities", *change)
    if memory.probed:
        hint = f"See `dmesg | grep {function.address}`."
        return Wait(Reason.ATTACHING, f"{driver} has not taken {function.address} yet", kernel=True, hint=hint)
    if leave := unready(record):
        return Steps(leave)
    if seen.away or is_vfio(function.driver):
        return interrupted(seen, record, f"its driver, which somebody changed to {function.driver},", *change)
    # Whoever unbound it has waited for its holder, so nothing is taken from anybody.
    return Steps(change)


def given_back(seen: Observation, record: Record, claim: VirtualFunctionClaim) -> Decision:
    """Give a function that nobody holds back to the driver it had, and forget it."""
    function = seen.virtual_function
    forget = RemoveRecord(record.uid)
    if function is None or function.address != claim.address or not seen.this_boot:
        return Steps((forget,), last=True)
    settings = restored(seen, claim.previous)
    back = claim.previous_driver if claim.previous_driver in seen.drivers else None
    stays = function.driver == back and settings.empty
    leaves = is_vfio(function.driver) and not stays
    # Told which one, or whichever driver of the bus comes first would take it.
    steps: list[Step] = [OverrideDriver(_BUS, function.address, back)]
    if leaves and function.driver is not None:
        steps.append(UnbindDriver(_BUS, function.address, function.driver))
    steps += [*disconnected(claim.previous, seen), *_restoring(seen, settings)]
    if (leaves or function.driver is None) and (back is not None or claim.recovered):
        steps.append(ProbeDriver(_BUS, function.address))
    if back is not None and not is_vfio(back):
        steps.append(OverrideDriver(_BUS, function.address, None))
    return Steps((*steps, forget), last=True)


def _driver(seen: Observation, parent: Parent, chosen: str | None) -> str:
    """Say which driver it is to have: the one that was chosen once, for as long as that is there."""
    if chosen is not None and chosen in seen.drivers:
        return chosen
    own = _OF_PARENT.get(parent.function.driver or "")
    driver = own if own in seen.drivers else _ANY
    if driver not in seen.drivers:
        raise DriverNotLoaded(f"no driver {driver} is on the PCI bus of this node", module=driver)
    return driver


def _address(desired: Desired, wanted: SubFunction, claim: VirtualFunctionClaim) -> Mac | None:
    """Say which address it is to have; None leaves an adopted one that it has."""
    if not claim.adopted or wanted.spec.mac_address:
        return desired.mac
    kept = Mac.parse(claim.previous.mac_address) if claim.previous.mac_address else None
    return None if kept is None or kept.unset else kept


def _taken(seen: Observation, function: VirtualFunction, driver: str, settings: FunctionSettings) -> tuple[Step, ...]:
    steps: list[Step] = [OverrideDriver(_BUS, function.address, driver)]
    if function.driver is not None:
        steps.append(UnbindDriver(_BUS, function.address, function.driver))
    if not settings.empty and seen.port is not None:
        steps.append(SetFunction(seen.port.handle, seen.port.index, settings))
    return (*steps, ProbeDriver(_BUS, function.address))


def _restoring(seen: Observation, settings: FunctionSettings) -> tuple[Step, ...]:
    """Set back address and capabilities, each for itself: one may be refused."""
    port = seen.port
    parts = (FunctionSettings(mac=settings.mac), dataclasses.replace(settings, mac=None))
    if port is None:
        return ()
    return tuple(SetFunction(port.handle, port.index, part, restoring=True) for part in parts if not part.empty)


def _offered(  # noqa: PLR0913, PLR0917  # what is asked, what is seen, and what was said of it
    desired: Desired,
    wanted: SubFunction,
    seen: Observation,
    function: VirtualFunction,
    record: Record,
    mac: Mac | None,
    policy: Policy,
) -> Decision:
    vfio = seen.vfio
    if vfio is None:
        waiting = Wait(
            Reason.ATTACHING,
            f"{function.address} has no VFIO device node yet",
            kernel=True,
            hint=f"See `dmesg | grep {function.address}`.",
        )
        return Steps(leave) if (leave := unready(record)) else waiting
    handed = handed_out(record, function, vfio, policy.devices)
    shown = seen.port.function.mac if seen.port is not None and seen.port.function is not None else None
    address = (mac or shown) if seen.port is not None else None
    told = {} if address is None or address.unset else {"SUBFUNCTION_MAC": str(address)}
    offered = msgspec.structs.replace(
        handed,
        name=desired.name,
        deletion=wanted.spec.deletion,
        env=handed.env | told,
        numa_node=function.numa_node,
    )
    return offered_or_rest(Offer(record, offered, connected(wanted.spec.representor, seen)), seen, policy)
