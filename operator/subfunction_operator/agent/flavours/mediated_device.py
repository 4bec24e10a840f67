"""Plans flavour `vfio` with a mediated device: one UUID of a type that the parent's driver offers. Pure."""

import msgspec

from subfunction.api.reasons import Reason
from subfunction.errors import NoMediatedType, UnsupportedField
from subfunction.kernel.bus.mdev import MediatedDevice, derive_uuid
from subfunction.state.claims import MediatedDeviceClaim
from subfunction.state.records import Record
from subfunction_operator.agent.model.context import PlanContext
from subfunction_operator.agent.model.decision import Decision, Steps, Wait
from subfunction_operator.agent.model.observation import Observation
from subfunction_operator.agent.model.record import build_record
from subfunction_operator.agent.model.steps import CreateMediated, RemoveMediated, RemoveRecord, StoreRecord
from subfunction_operator.agent.offer.publish import Publication, plan_publish, vfio_record
from subfunction_operator.agent.offer.withdraw import withdraw_steps


def plan_create_mdev(context: PlanContext) -> Decision:
    """Plan the next steps to a mediated device and its record in state `ready`.

    Raises:
        NoMediatedType: the parent offers no types, or not this one, or has no more devices of it.
        UnsupportedField: devices of this type are no PCI devices.
    """
    seen, wanted = context.seen, context.wanted
    kind = wanted.spec.vfio.mediated_device or ""
    record, device = seen.record, seen.mediated
    claim = MediatedDeviceClaim(parent=seen.handle, type=kind, uuid=derive_uuid(context.desired.uid))
    if record is None or not seen.this_boot or record.claim != claim:
        if device is None:
            _require_room(context, kind)
        # An existing device may have been allocated to a pod before the record was lost: the kubelet is asked by id.
        device_id = claim.uuid if device is not None else ""
        return Steps((StoreRecord(build_record(context, claim, device_id=device_id)),))
    withdrawal = withdraw_steps(record)
    if device is None:
        _require_room(context, kind)
        return Steps((*withdrawal, CreateMediated(context.parent.function.handle, kind, claim.uuid)))
    if device.vfio is not None and device.removable:
        offered = vfio_record(record, device, device.vfio, context.policy.devices)
        offered = msgspec.structs.replace(
            offered,
            name=context.desired.name,
            deletion=wanted.spec.deletion,
            numa_node=context.parent.function.numa_node,
        )
        return plan_publish(Publication(record, offered), seen, context.policy)
    return Steps(withdrawal) if withdrawal else _plan_unusable(device, record)


def _plan_unusable(device: MediatedDevice, record: Record) -> Decision:
    """Wait for the VFIO node of a device; remove a device that was unbound, since nothing binds it again."""
    see = f"See `dmesg | grep {device.uuid}`."
    if not device.removable:
        return Wait(Reason.HELD_OPEN, f"{device.uuid} is being removed, and a process has it open", kernel=False)
    if device.driver is not None:
        return Wait(Reason.ATTACHING, f"{device.uuid} has no VFIO device node yet", kernel=True, hint=see)
    if record.witness.inodes.get(device.path) == device.inode:
        # It was unbound by hand, and a driver binds to such a device only when it is created.
        return Steps((RemoveMediated(device.uuid),))
    return Wait(Reason.ATTACHING, f"no driver has taken {device.uuid} yet", kernel=True, hint=see)


def plan_remove_mdev(seen: Observation, record: Record) -> Decision:
    """Plan the removal of a mediated device that no pod uses, and of its record."""
    device = seen.mediated
    if device is None or not seen.this_boot:
        return Steps((RemoveRecord(record.uid),), last=True)
    if not device.removable:
        return Wait(
            Reason.HELD_OPEN, f"its removal waits until the process that has {device.uuid} open closes it", kernel=False
        )
    return Steps((RemoveMediated(device.uuid),))


def _require_room(context: PlanContext, kind: str) -> None:
    seen, function = context.seen, context.parent.function
    where = function.handle
    if not seen.types:
        raise NoMediatedType(
            f"{function.driver or 'no driver'} of {where} offers no mediated devices",
            hint="No driver of a NIC in the upstream kernel does; a vendor's may. Take vfio.virtualFunction instead.",
        )
    found = next((each for each in seen.types if each.id == kind), None)
    if found is None:
        offered = ", ".join(each.id for each in seen.types)
        raise NoMediatedType(f"{where} offers no mediated device of type {kind}", hint=f"It offers: {offered}.")
    if found.api not in {"", "vfio-pci"}:
        raise UnsupportedField(f"{kind} of {where} is a device of {found.api}, not of PCI", hint="Take another type.")
    if found.available == 0:
        raise NoMediatedType(f"{where} has no more mediated devices of type {kind}", hint="Delete one of them.")
