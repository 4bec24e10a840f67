"""The flavour `vfio` with a virtual function: one that exists is bound to its VFIO driver, and given back later. Pure.

Its record names the driver it had before anything is touched. VFIO gives an IOMMU group away whole or not at all, so
the whole group is looked at first.
"""

from typing import Final

import msgspec

from subfunction.api import SubFunction
from subfunction.errors import DriverNotLoaded, Foreign, NoVirtualFunction, NumberOwned
from subfunction.kernel.pci import VirtualFunction
from subfunction.reasons import Reason
from subfunction.records import Health, Record, State, VirtualFunctionClaim, Witness
from subfunction_operator.functionrules import as_found, restored, settings_of, whole_group
from subfunction_operator.interruption import interrupted, lapsed
from subfunction_operator.native import nodes
from subfunction_operator.observation import Desired, Observation, Parent, Policy
from subfunction_operator.step import (
    Ask,
    Decision,
    OverrideDriver,
    ProbeDriver,
    RemoveRecord,
    Rest,
    SetFunction,
    Step,
    Steps,
    StoreRecord,
    UnbindDriver,
    Wait,
)
from subfunction_operator.tuning import connected, disconnected

_BUS: Final = "pci"
_OF_PARENT: Final = {"mlx5_core": "mlx5_vfio_pci"}
"""A parent's own variant of the VFIO driver, which can migrate; taken where it is loaded."""

_ANY: Final = "vfio-pci"


def bound(desired: Desired, wanted: SubFunction, seen: Observation, parent: Parent, policy: Policy) -> Decision:
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
    driver = _driver(seen, parent)
    record = seen.record
    claim = record.claim if record is not None else None
    if record is None or not isinstance(claim, VirtualFunctionClaim) or not seen.this_boot:
        return _claimed(desired, wanted, seen, function, driver)
    settings = settings_of(desired, wanted, seen)
    if function.driver == driver and settings.empty:
        return _offered(desired, wanted, seen, function, record, policy)
    whole_group(seen, function)
    change: list[Step] = [OverrideDriver(_BUS, function.address, driver)]
    if function.driver is not None:
        change.append(UnbindDriver(_BUS, function.address, function.driver))
    if not settings.empty and seen.port is not None:
        change.append(SetFunction(seen.port.handle, seen.port.index, settings))
    change.append(ProbeDriver(_BUS, function.address))
    return interrupted(seen, record, "MAC, capabilities and driver", *change)


def given_back(seen: Observation, record: Record, claim: VirtualFunctionClaim) -> Decision:
    """Give a function that nobody holds back to the driver it had, and forget it."""
    function = seen.virtual_function
    forget = RemoveRecord(record.uid)
    if function is None or function.address != claim.address or not seen.this_boot:
        return Steps((forget,), last=True)
    steps: list[Step] = [*disconnected(record, claim.previous, seen)]
    if function.driver == claim.driver:
        steps.append(UnbindDriver(_BUS, function.address, claim.driver))
    settings = restored(seen, claim.previous)
    if not settings.empty and seen.port is not None:
        steps.append(SetFunction(seen.port.handle, seen.port.index, settings))
    if function.driver in {None, claim.driver} and claim.previous_driver in seen.drivers:
        # Told which one, or whichever driver of the bus comes first would take it.
        steps += [
            OverrideDriver(_BUS, function.address, claim.previous_driver),
            ProbeDriver(_BUS, function.address),
        ]
    return Steps((*steps, OverrideDriver(_BUS, function.address, None), forget), last=True)


def published(seen: Observation, desired: Desired) -> VirtualFunctionClaim | None:
    """Give the claim of a function whose record is lost, while the object's status shows it; None where it does not."""
    function, wanted = seen.virtual_function, desired.object
    shown = wanted.status.device.id if wanted is not None and wanted.status.device else None
    if function is None or shown != function.address or seen.owner or seen.parent is None:
        return None
    if function.driver is None or "vfio" not in function.driver:
        return None  # this boot's own driver has it: nobody has touched it yet
    # Which driver it had before is lost with the record: its parent's is that of a function nobody has touched.
    return VirtualFunctionClaim(
        parent=seen.handle,
        index=function.index,
        address=function.address,
        driver=function.driver,
        previous_driver=seen.parent.function.driver,
    )


def _claimed(
    desired: Desired, wanted: SubFunction, seen: Observation, function: VirtualFunction, driver: str
) -> Decision:
    if seen.owner:
        raise NumberOwned(
            f"virtual function {function.index} of {seen.handle} belongs to the SubFunction {seen.owner}",
            hint="See `kubectl get sf`; take another index.",
        )
    whole_group(seen, function)
    old = seen.record.claim if seen.record is not None else None
    lost = published(seen, desired)
    if isinstance(old, VirtualFunctionClaim):
        # A record of an earlier boot: the function goes back to what this boot's scripts made of it.
        claim = msgspec.structs.replace(old, address=function.address, driver=driver)
        if function.driver != driver:
            claim = msgspec.structs.replace(claim, previous_driver=function.driver, previous=as_found(seen))
    elif lost is not None:
        claim = lost
    else:
        if function.driver == driver and not wanted.spec.adopt:
            raise Foreign(
                f"{function.address} is on {driver} already, and it was not us who put it there",
                hint="Take it over with spec.adopt, or unbind it there:"
                f" `echo {function.address} > /sys/bus/pci/drivers/{driver}/unbind`.",
            )
        if seen.away:
            raise Foreign(
                f"the netdev of {function.address} is in another network namespace: a pod uses it",
                hint="Take another index, or end that pod.",
            )
        claim = VirtualFunctionClaim(
            parent=seen.handle,
            index=function.index,
            address=function.address,
            driver=driver,
            previous_driver=function.driver,
            previous=as_found(seen),
        )
    record = Record(
        uid=desired.uid,
        name=desired.name,
        boot_id=seen.boot_id,
        state=State.PREPARING,
        generation=seen.record.generation + 1 if seen.record else 1,
        claim=claim,
        resource=wanted.spec.resource,
        deletion=wanted.spec.deletion,
        # It may have been promised to a pod before the record was lost: who has it is asked by id.
        device_id=function.address if lost is not None else "",
    )
    return Steps((StoreRecord(record),))


def _driver(seen: Observation, parent: Parent) -> str:
    own = _OF_PARENT.get(parent.function.driver or "")
    driver = own if own in seen.drivers else _ANY
    if driver not in seen.drivers:
        raise DriverNotLoaded(f"no driver {driver} is on the PCI bus of this node", module=driver)
    return driver


def _offered(  # noqa: PLR0913, PLR0917  # what is asked, what is seen, and what was said of it
    desired: Desired,
    wanted: SubFunction,
    seen: Observation,
    function: VirtualFunction,
    record: Record,
    policy: Policy,
) -> Decision:
    vfio = seen.vfio
    if vfio is None:
        leave = lapsed(record)
        waiting = Wait(Reason.ATTACHING, f"{function.address} has no VFIO device node yet", kernel=True)
        return Steps(leave) if leave else waiting
    mac = str(desired.mac) if seen.port is not None else ""
    handed = tuple(node for node in (vfio.container, vfio.group, vfio.device) if node is not None)
    offered = msgspec.structs.replace(
        record,
        name=desired.name,
        deletion=wanted.spec.deletion,
        bridge=wanted.spec.representor.bridge,
        device_id=function.address,
        health=Health(healthy=True),
        nodes=nodes(handed, policy.devices),
        env={"SUBFUNCTION_DEVICE": function.address} | ({"SUBFUNCTION_MAC": mac} if mac else {}),
        numa_node=function.numa_node,
        witness=Witness(
            inodes={function.path: function.inode, **{node.path: node.inode for node in handed}},
            links={f"{function.path}/driver": function.driver_link or ""},
            numbers={f"{node.path}/dev": node.number for node in handed},
        ),
    )
    return offered_or_rest(seen, record, offered, connected(wanted.spec.representor, seen))


def offered_or_rest(seen: Observation, old: Record, offered: Record, changes: tuple[Step, ...] = ()) -> Decision:
    """Say what is offered after the `changes` due, unless that is said already or a pod has what was offered before."""
    said = old.state is State.READY and bool(old.witness.inodes)
    if said and (offered.nodes, offered.witness) != (old.nodes, old.witness):
        if not seen.usage.asked:
            return Ask()
        if seen.held:
            why = "its devices were made anew while a pod has the old ones"
            sick = msgspec.structs.replace(old, health=Health(reason=Reason.STALE_ALLOCATION, message=why))
            return Rest(pending=f"{why}; {seen.why_held}") if old == sick else Steps((StoreRecord(sick),))
    unsaid = old.state is not State.READY or offered != old
    taken = (*changes, *([StoreRecord(offered.moved(State.READY, Health(healthy=True)))] if unsaid else []))
    return Steps(taken, last=not changes) if taken else Rest()
