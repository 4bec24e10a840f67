"""Whose a virtual function is: found free, adopted, or known again; how it was is written down first. Pure."""

import msgspec

from subfunction.api import SubFunction
from subfunction.claims import FunctionClaim, VirtualFunctionClaim
from subfunction.errors import Foreign, NumberOwned
from subfunction.kernel.pci import VirtualFunction
from subfunction.records import Record, State
from subfunction_operator.decision import Decision, Steps
from subfunction_operator.functionrules import as_found, is_vfio, whole_group
from subfunction_operator.observation import Desired, Observation
from subfunction_operator.step import StoreRecord


def claimed(
    desired: Desired, wanted: SubFunction, seen: Observation, function: VirtualFunction, driver: str
) -> Decision:
    """Write down that a function is ours from now on, how it was found, and the driver that it is to have.

    Raises:
        NumberOwned, Foreign: it belongs to another SubFunction, or somebody else uses it.
        GroupShared, UnsupportedField: VFIO cannot have it.
    """
    if seen.owner:
        raise NumberOwned(
            f"virtual function {function.index} of {seen.handle} belongs to the SubFunction {seen.owner}",
            hint="See `kubectl get sf`; take another index.",
        )
    whole_group(seen, function)
    if seen.away:
        raise Foreign(
            f"the netdev of {function.address} is in another network namespace: a pod uses it",
            hint="Take another index, or end that pod.",
        )
    claim = _again(seen, function, driver) or lost(seen, desired) or _found(wanted, seen, function, driver)
    record = Record(
        uid=desired.uid,
        name=desired.name,
        boot_id=seen.boot_id,
        state=State.PREPARING,
        generation=seen.record.generation + 1 if seen.record else 1,
        claim=claim,
        resource=wanted.spec.resource,
        deletion=wanted.spec.deletion,
        # Where VFIO has it already, so may a pod: who it is is asked by id.
        device_id=function.address if is_vfio(function.driver) else "",
    )
    return Steps((StoreRecord(record),))


def lost(seen: Observation, desired: Desired) -> VirtualFunctionClaim | None:
    """Give the claim of a function whose record is lost, while the object's status shows it; None where it does not."""
    function, wanted = seen.virtual_function, desired.object
    shown = wanted.status.device.id if wanted is not None and wanted.status.device else None
    if wanted is None or function is None or shown != function.address or seen.owner:
        return None
    if function.driver is None or not is_vfio(function.driver):
        return None  # this boot's own driver has it: nobody has touched it yet
    representor, bridge = seen.representor, seen.bridge
    ours = representor is not None and bridge is not None and representor.master == bridge.name
    return VirtualFunctionClaim(
        parent=seen.handle,
        index=function.index,
        address=function.address,
        driver=function.driver,
        previous=FunctionClaim(representor_master="" if ours else None),
        adopted=wanted.spec.adopt,
        recovered=True,
    )


def _again(seen: Observation, function: VirtualFunction, driver: str) -> VirtualFunctionClaim | None:
    """Take up a record of an earlier boot: the function goes back to what this boot's scripts made of it."""
    old = seen.record.claim if seen.record is not None else None
    if not isinstance(old, VirtualFunctionClaim) or old.address != function.address:
        return None  # what was at another address is not ours any more
    if is_vfio(function.driver):
        return msgspec.structs.replace(old, driver=driver)
    return _as_it_is(seen, function, driver)


def _found(wanted: SubFunction, seen: Observation, function: VirtualFunction, driver: str) -> VirtualFunctionClaim:
    if is_vfio(function.driver) and not wanted.spec.adopt:
        raise Foreign(
            f"{function.address} is on {function.driver} already, and it was not us who put it there",
            hint="Take it over with spec.adopt, or unbind it there:"
            f" `echo {function.address} > /sys/bus/pci/drivers/{function.driver}/unbind`.",
        )
    return _as_it_is(seen, function, driver)


def _as_it_is(seen: Observation, function: VirtualFunction, driver: str) -> VirtualFunctionClaim:
    return VirtualFunctionClaim(
        parent=seen.handle,
        index=function.index,
        address=function.address,
        driver=driver,
        previous_driver=function.driver,
        previous=as_found(seen),
        adopted=is_vfio(function.driver),
    )
