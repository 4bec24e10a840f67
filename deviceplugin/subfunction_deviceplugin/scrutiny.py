"""A device looked at afresh before it is given away: the list may be a moment old, or more on a node with many."""

from collections.abc import Mapping

from subfunction.errors import AllocationRefused, SubFunctionError
from subfunction.reasons import Reason
from subfunction.records import Record
from subfunction_deviceplugin.listing import Fault, Promises, taken, unready
from subfunction_deviceplugin.sources import Sources

_NO_PROMISES = Promises.of((), ())


def confirmed(sources: Sources, resource: str, device_id: str, uid: str, others: Promises) -> Record:
    """Read the record of a device that is about to be given; `others` is what anybody else was promised.

    Raises:
        AllocationRefused: it cannot be given.
        FolderError: its record cannot be read.
    """
    record = sources.records.read(uid)
    if record is None or (record.device_id, record.resource) != (device_id, resource):
        raise AllocationRefused(
            Reason.UNKNOWN_DEVICE,
            f"{device_id} is gone since it was listed",
            hint="The list is being corrected; a new pod will do.",
        )
    mismatch = sources.mismatch(record)
    if (fault := unready(record, mismatch, boot=sources.boot) or taken(record, others)) is not None:
        raise refused(fault)
    return record


def unfit(sources: Sources, resource: str, uids: Mapping[str, str]) -> frozenset[str]:
    """Say which devices (their uids by id) could not be given now, by their records and witnesses alone."""
    found = set()
    for device_id, uid in uids.items():
        try:
            confirmed(sources, resource, device_id, uid, _NO_PROMISES)
        except SubFunctionError:
            found.add(device_id)
    return frozenset(found)


def refused(fault: Fault) -> AllocationRefused:
    """Make the refusal that a fault of a device means for whoever asks for it."""
    return AllocationRefused(fault.reason, fault.message, hint=fault.hint)
