"""Plans the parameters of a function's own devlink instance, and the reload that applies them. Pure.

The kernel shows the value that was set, whether or not a reload has applied it (net/devlink/param.c, Linux 6.12). Of a
flag the class devices show that; of a size nothing does, so that the record keeps it: `unapplied`.
"""

from typing import Final

import msgspec

from subfunction.api.reasons import Reason
from subfunction.errors import UnsupportedField
from subfunction.kernel.address import Handle
from subfunction.kernel.parameter import ParameterValue
from subfunction.state.records import Record
from subfunction_operator.agent.flavours.auxiliary import SIZES
from subfunction_operator.agent.flavours.flavour import PortContext
from subfunction_operator.agent.model.decision import Decision, Wait
from subfunction_operator.agent.model.observation import Observation
from subfunction_operator.agent.model.steps import Reload, SetParameter, StoreRecord
from subfunction_operator.agent.offer.withdraw import detach_vdpa_steps, plan_disruptive

_MOVING: Final = 0.2
"""Seconds for which an RDMA device that a pod may have moved is waited for: it is not to be seen during a move."""


def plan_parameters(context: PortContext, instance: Handle) -> Decision | None:
    """Plan the parameters that differ from the spec, and a reload; None where nothing is to be set or reloaded.

    Raises:
        UnsupportedField: the driver does not have a parameter that the spec asks for.
    """
    seen, record, flavour, spec = context.seen, context.record, context.flavour, context.wanted.spec
    wanted = flavour.parameters(spec)
    _require_offered(seen, [name for name in wanted if name in SIZES], instance)
    wrong = {name: value for name, value in wanted.items() if _differs(seen, name, value)}
    missing = flavour.missing_device(spec, seen)
    if missing and _may_be_moving(context):
        return Wait(Reason.ATTACHING, f"{instance.device} has no {missing} at the moment", kernel=True)
    devices_differ = bool(missing) or (_are_parameters_known(seen) and not flavour.has_requested_devices(spec, seen))
    if not wrong and not context.claim.unapplied and (context.memory.reloaded or not devices_differ):
        return None
    sizes = [f"spec.mlx5.{SIZES[name]}" for name in wrong if name in SIZES]
    what = "its class devices" if devices_differ or not sizes else " and ".join(sizes)
    changes = [SetParameter(instance, name, value) for name, value in wrong.items()]
    reload = (*changes, *detach_vdpa_steps(seen), Reload(instance))
    if not sizes and not context.claim.unapplied:
        return plan_disruptive(seen, record, what, *reload)
    due, done = (_with_unapplied(context, unapplied=unapplied) for unapplied in (True, False))
    return plan_disruptive(
        seen, record, what, *([] if record == due else [StoreRecord(due)]), *reload, StoreRecord(done)
    )


def _with_unapplied(context: PortContext, *, unapplied: bool) -> Record:
    return msgspec.structs.replace(context.record, claim=msgspec.structs.replace(context.claim, unapplied=unapplied))


def _require_offered(seen: Observation, sizes: list[str], instance: Handle) -> None:
    unoffered = [name for name, value in seen.parameters if value is None and name in sizes]
    if unoffered:
        fields = " and ".join(f"spec.mlx5.{SIZES[name]}" for name in unoffered)
        raise UnsupportedField(
            f"the driver of {instance} has no parameter {' and '.join(unoffered)} for {fields}",
            hint=f"Leave it out; see `devlink dev param show {instance}`. mlx5_core has the sizes of queues since Linux"
            " 5.17, and max_macs where the card's firmware has it.",
        )


def _may_be_moving(context: PortContext) -> bool:
    """Return whether the RDMA device may just be on its way between two network namespaces.

    It is out of sight then, and its verbs device is gone and not yet made anew. Only a moment tells this from an RDMA
    device that is gone: for such a one the function would be reloaded, or the object say that a change is pending.
    """
    seen, record = context.seen, context.record
    whole = seen.rdma is not None and seen.rdma.verbs is not None
    return bool(record.witness.movable) and not whole and context.memory.waited < _MOVING


def _differs(seen: Observation, name: str, value: ParameterValue) -> bool:
    # Where the kernel does not know a flag there is nothing to set: the function has all its class devices.
    return dict(seen.parameters).get(name) not in {None, value}


def _are_parameters_known(seen: Observation) -> bool:
    return bool(seen.parameters) and all(value is not None for _, value in seen.parameters)
