"""Plans the claim of a virtual function: a free one, an adopted one, or one that a record named before. Pure."""

import msgspec

from subfunction.api.subfunction import SubFunction
from subfunction.errors import Foreign, NumberOwned
from subfunction.kernel.bus.pci import VirtualFunction
from subfunction.state.claims import FunctionClaim, VirtualFunctionClaim
from subfunction_operator.agent.flavours.vf_settings import is_vfio, require_exclusive_group, snapshot_settings
from subfunction_operator.agent.model.context import PlanContext
from subfunction_operator.agent.model.decision import Decision, Steps
from subfunction_operator.agent.model.observation import Observation
from subfunction_operator.agent.model.record import build_record
from subfunction_operator.agent.model.steps import StoreRecord


def plan_claim_vf(context: PlanContext, function: VirtualFunction, driver: str) -> Decision:
    """Plan the record that claims a function: the driver it should have, and its settings before we change any.

    Raises:
        NumberOwned, Foreign: it belongs to another SubFunction, another tool bound it to VFIO, or a pod uses it.
        GroupShared, UnsupportedField: VFIO cannot have it.
    """
    seen = context.seen
    if seen.owner:
        raise NumberOwned(
            f"virtual function {function.index} of {seen.handle} belongs to the SubFunction {seen.owner}",
            hint="See `kubectl get sf`; take another index.",
        )
    require_exclusive_group(seen, function)
    if seen.netdev_away:
        raise Foreign(
            f"the netdev of {function.address} is in another network namespace: a pod uses it",
            hint="Take another index, or end that pod.",
        )
    claim = (
        _claim_again(seen, function, driver)
        or recover_claim(context)
        or _claim_found(context.wanted, seen, function, driver)
    )
    # If it is bound to VFIO already, a pod may use it: the kubelet is asked by this id.
    device_id = function.address if is_vfio(function.driver) else ""
    return Steps((StoreRecord(build_record(context, claim, device_id=device_id)),))


def recover_claim(context: PlanContext) -> VirtualFunctionClaim | None:
    """Return the claim of a function whose record is lost but which the object's status shows; None for all others."""
    seen, wanted = context.seen, context.desired.object
    function = seen.virtual_function
    shown = wanted.status.device.id if wanted is not None and wanted.status.device else None
    if wanted is None or function is None or shown != function.address or seen.owner:
        return None
    if function.driver is None or not is_vfio(function.driver):
        return None  # it is on a driver of the host: this agent has not bound it in this boot
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


def _claim_again(seen: Observation, function: VirtualFunction, driver: str) -> VirtualFunctionClaim | None:
    """Return the claim of an earlier boot, renewed: the function will go back to how this boot's scripts left it."""
    old = seen.record.claim if seen.record is not None else None
    if not isinstance(old, VirtualFunctionClaim) or old.address != function.address:
        return None  # a function at another address is not the one that the record claims
    if is_vfio(function.driver):
        return msgspec.structs.replace(old, driver=driver)
    return _claim_as_found(seen, function, driver)


def _claim_found(
    wanted: SubFunction, seen: Observation, function: VirtualFunction, driver: str
) -> VirtualFunctionClaim:
    if is_vfio(function.driver) and not wanted.spec.adopt:
        raise Foreign(
            f"{function.address} is on {function.driver} already, and this agent did not put it there",
            hint="Take it over with spec.adopt, or unbind it there:"
            f" `echo {function.address} > /sys/bus/pci/drivers/{function.driver}/unbind`.",
        )
    return _claim_as_found(seen, function, driver)


def _claim_as_found(seen: Observation, function: VirtualFunction, driver: str) -> VirtualFunctionClaim:
    return VirtualFunctionClaim(
        parent=seen.handle,
        index=function.index,
        address=function.address,
        driver=driver,
        previous_driver=function.driver,
        previous=snapshot_settings(seen),
        adopted=is_vfio(function.driver),
    )
