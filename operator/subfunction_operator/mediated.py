"""The flavour `vfio` with a mediated device: a UUID of a named type, on a parent whose driver offers types. Pure."""

import msgspec

from subfunction.api import SubFunction
from subfunction.claims import MediatedDeviceClaim
from subfunction.errors import NoMediatedType, UnsupportedField
from subfunction.kernel.mdev import mediated_uuid
from subfunction.reasons import Reason
from subfunction.records import Record, State
from subfunction_operator.decision import Decision, Steps, Wait
from subfunction_operator.interruption import unready
from subfunction_operator.observation import Desired, Observation, Parent, Policy
from subfunction_operator.offer import Offer, handed_out, offered_or_rest
from subfunction_operator.step import CreateMediated, RemoveMediated, RemoveRecord, StoreRecord


def made(desired: Desired, wanted: SubFunction, seen: Observation, parent: Parent, policy: Policy) -> Decision:
    """Make the mediated device, and bring it to a record that says `ready`.

    Raises:
        NoMediatedType: the parent offers none, or not this type, or no more of it.
    """
    kind = wanted.spec.vfio.mediated_device or ""
    record, device = seen.record, seen.mediated
    claim = MediatedDeviceClaim(parent=seen.handle, type=kind, uuid=mediated_uuid(desired.uid))
    if record is None or not seen.this_boot or record.claim != claim:
        if device is None:
            _room(kind, seen, parent)
        return Steps((StoreRecord(_announced(desired, wanted, seen, claim)),))
    leave = unready(record)
    if device is None:
        _room(kind, seen, parent)
        return Steps((*leave, CreateMediated(parent.function.handle, kind, claim.uuid)))
    if device.vfio is not None and device.removable:
        offered = handed_out(record, device, device.vfio, policy.devices)
        node = parent.function.numa_node
        offered = msgspec.structs.replace(offered, name=desired.name, deletion=wanted.spec.deletion, numa_node=node)
        return offered_or_rest(Offer(record, offered), seen, policy)
    if leave:
        return Steps(leave)
    see = f"See `dmesg | grep {device.uuid}`."
    if not device.removable:
        return Wait(Reason.HELD_OPEN, f"{device.uuid} is being removed, and somebody has it open", kernel=False)
    if device.driver is not None:
        return Wait(Reason.ATTACHING, f"{device.uuid} has no VFIO device node yet", kernel=True, hint=see)
    if record.witness.inodes.get(device.path) == device.inode:
        # Somebody unbound it, and no driver takes such a device but at its creation.
        return Steps((RemoveMediated(device.uuid),))
    return Wait(Reason.ATTACHING, f"no driver has taken {device.uuid} yet", kernel=True, hint=see)


def removed(seen: Observation, record: Record) -> Decision:
    """Take a mediated device that nobody holds out of the kernel, and forget it."""
    device = seen.mediated
    if device is None or not seen.this_boot:
        return Steps((RemoveRecord(record.uid),), last=True)
    if not device.removable:
        return Wait(Reason.HELD_OPEN, f"its removal waits until whoever has {device.uuid} open closes it", kernel=False)
    return Steps((RemoveMediated(device.uuid),))


def _room(kind: str, seen: Observation, parent: Parent) -> None:
    where = parent.function.handle
    if not seen.types:
        raise NoMediatedType(
            f"{parent.function.driver or 'no driver'} of {where} offers no mediated devices",
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


def _announced(desired: Desired, wanted: SubFunction, seen: Observation, claim: MediatedDeviceClaim) -> Record:
    return Record(
        uid=desired.uid,
        name=desired.name,
        boot_id=seen.boot_id,
        state=State.PREPARING,
        generation=seen.record.generation + 1 if seen.record else 1,
        claim=claim,
        resource=wanted.spec.resource,
        deletion=wanted.spec.deletion,
        # A device that is there may have been promised to a pod before the record was lost: who has it is asked by id.
        device_id=claim.uuid if seen.mediated is not None else "",
    )
