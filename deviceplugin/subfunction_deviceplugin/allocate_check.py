"""Checks a device anew before it is allocated: its listed health may be a moment old, longer on a node with many."""

from collections.abc import Mapping

from subfunction.api.reasons import Reason
from subfunction.errors import AllocationRefused, SubFunctionError
from subfunction.state.records import Record
from subfunction_deviceplugin.health import Allocations, UnhealthyReason, check_free, check_ready
from subfunction_deviceplugin.node_state import NodeStateReader

_NO_PROMISES = Allocations.of((), ())


def require_allocatable(
    sources: NodeStateReader, resource: str, device_id: str, uid: str, others: Allocations
) -> Record:
    """Read and check the record of a device that is to be allocated; `others` has all other allocations.

    Raises:
        AllocationRefused: it cannot be allocated.
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
    if (fault := check_ready(record, mismatch, boot=sources.boot) or check_free(record, others)) is not None:
        raise refusal(fault)
    return record


def find_unallocatable(sources: NodeStateReader, resource: str, uids: Mapping[str, str]) -> frozenset[str]:
    """Return the ids that could not be allocated now, by records and witnesses alone; `uids` has the uid of each id."""
    found = set()
    for device_id, uid in uids.items():
        try:
            require_allocatable(sources, resource, device_id, uid, _NO_PROMISES)
        except SubFunctionError:
            found.add(device_id)
    return frozenset(found)


def refusal(fault: UnhealthyReason) -> AllocationRefused:
    """Return the error with which a call for an unhealthy device is refused."""
    return AllocationRefused(fault.reason, fault.message, hint=fault.hint)
