"""Health rules: the devices that the kubelet is shown, and which of them may be allocated. Pure.

A device is Healthy only if its record is of this boot, `ready`, healthy by the agent's word and confirmed by its
witness, and if its id is not allocated to another sub-function. A device that a container has is never left out, even
when its record is gone: the kubelet would take a missing device for a healthy one in the pod's status.

sysfs is not watched. The comparisons of witnesses with it (`mismatches`) are as old as the last read of the list: a
changed record or a re-send that is due causes one (`device_list.py`). Allocate and PreStartContainer compare anew.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from subfunction.api.reasons import Reason
from subfunction.kubelet.checkpoint import DeviceAllocation
from subfunction.state.ledger import LedgerEntry
from subfunction.state.records import Record, State, Witness

_STATES = {
    State.PREPARING: Reason.PENDING,
    State.DRAINING: Reason.DRAINING,
    State.RETURNING: Reason.RETURNING,
}


_DELETE_POD = "Delete the pod; its successor gets a device that is whole."


@dataclasses.dataclass(frozen=True, slots=True)
class UnhealthyReason:
    """Why a device may not be allocated, or its container not start, and what a person does next."""

    reason: Reason
    message: str
    hint: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Device:
    """One device as the kubelet sees it; `uid` is None where its record is gone, but a container still has it."""

    device_id: str
    uid: str | None
    numa_node: int | None = None
    fault: UnhealthyReason | None = None
    parent: str = ""
    pcie_root: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Allocations:
    """The allocations of ledger and checkpoint together; a uid is None where the checkpoint does not show it."""

    by_id: Mapping[str, frozenset[str | None]]
    by_uid: Mapping[str, frozenset[str]]
    held: frozenset[tuple[str, str]]
    """Resource and device id of each allocation."""
    complete: bool = True
    """False while the checkpoint cannot be read: there may be allocations that only it has."""

    @classmethod
    def of(cls, entries: Iterable[LedgerEntry], holdings: Iterable[DeviceAllocation] | None) -> "Allocations":
        """Merge ledger and checkpoint; resources of other plugins count too, as the same device may be among them."""
        by_id: defaultdict[str, set[str | None]] = defaultdict(set)
        by_uid: defaultdict[str, set[str]] = defaultdict(set)
        held: set[tuple[str, str]] = set()
        everyone: tuple[LedgerEntry | DeviceAllocation, ...] = (*entries, *(holdings or ()))
        for allocation in everyone:
            by_id[allocation.device_id].add(allocation.uid)
            held.add((allocation.resource, allocation.device_id))
            if allocation.uid is not None:
                by_uid[allocation.uid].add(allocation.device_id)
        return cls(
            {device_id: frozenset(uids) for device_id, uids in by_id.items()},
            {uid: frozenset(ids) for uid, ids in by_uid.items()},
            frozenset(held),
            complete=holdings is not None,
        )


def list_devices(
    records: Mapping[str, Record],
    mismatches: Mapping[str, str],
    allocations: Allocations,
    *,
    boot: str,
    resources: Collection[str],
) -> dict[str, tuple[Device, ...]]:
    """List the devices of each resource, sorted by id; `mismatches` has by uid how sysfs differs from a witness."""
    claimants: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records.values():
        if record.device_id:
            claimants[record.device_id].append(record)
    found: dict[str, dict[str, Device]] = {resource: {} for resource in resources}
    for resource, device_id in allocations.held:
        if resource in found:
            found[resource][device_id] = Device(device_id, None, fault=_missing_reason(device_id, records, allocations))
    for device_id, claims in claimants.items():
        # A record of this boot goes first: the kernel has since given the id to another device.
        current = [record for record in claims if record.boot_id == boot] or claims
        record = current[0]
        if record.resource not in found:
            continue
        fault = (
            UnhealthyReason(
                Reason.ID_TAKEN, f"{device_id} is claimed by {' and '.join(sorted(r.name for r in current))}"
            )
            if len(current) > 1
            else check_ready(record, mismatches.get(record.uid), boot=boot) or check_free(record, allocations)
        )
        found[record.resource][device_id] = Device(
            device_id, record.uid, record.numa_node, fault, record.parent, record.pcie_root
        )
    return {resource: tuple(of[key] for key in sorted(of)) for resource, of in found.items()}


def _missing_reason(device_id: str, records: Mapping[str, Record], allocations: Allocations) -> UnhealthyReason:
    """Return why a device is unhealthy that a container has and no record claims."""
    record = next((records[uid] for uid in allocations.by_id[device_id] if uid is not None and uid in records), None)
    if record is None:
        return UnhealthyReason(Reason.UNKNOWN_DEVICE, f"{device_id} is held by a container, and its record is gone")
    if record.device_id:
        message = f"{device_id} ({record.name}) was made anew as {record.device_id}"
        return UnhealthyReason(Reason.STALE_ALLOCATION, message, _DELETE_POD)
    return UnhealthyReason(
        Reason.NOT_READY, f"{device_id} ({record.name}): {_health_message(record)}", _look_hint(record)
    )


def _health_message(record: Record) -> str:
    return record.health.message or record.health.reason or "the agent finds it unhealthy"


def _look_hint(record: Record) -> str:
    return f"See `kubectl describe subfunction {record.name}`."


def check_ready(record: Record, mismatch: str | None, *, boot: str) -> UnhealthyReason | None:
    """Return why a device may not be allocated, by its record and its witness; None if it may."""
    if (fault := check_verified(record, mismatch, boot=boot)) is not None:
        return fault
    if record.state is not State.READY:
        return UnhealthyReason(
            _STATES[record.state], f"{record.device_id} ({record.name}) is {record.state}", _look_hint(record)
        )
    if not record.health.healthy:
        outlived = record.health.reason == Reason.STALE_ALLOCATION
        message = f"{record.device_id} ({record.name}): {_health_message(record)}"
        return UnhealthyReason(Reason.STALE_ALLOCATION if outlived else Reason.NOT_READY, message, _look_hint(record))
    return None


def check_verified(record: Record, mismatch: str | None, *, boot: str) -> UnhealthyReason | None:
    """Return why a record cannot be matched to the device that the kernel has under this id; None if it can."""
    name = f"{record.device_id} ({record.name})"
    if record.boot_id != boot:
        hint = "The agent verifies it soon after it starts; see its pod on this node."
        return UnhealthyReason(Reason.NOT_READY, f"{name} is known from an earlier boot only", hint)
    if record.witness == Witness():
        return UnhealthyReason(Reason.NOT_READY, f"{name} has no witness yet")
    if mismatch is not None:
        hint = "The device went away or was made anew; the agent looks into it."
        return UnhealthyReason(Reason.NOT_READY, f"{name} is not as recorded: {mismatch}", hint)
    return None


def check_free(record: Record, allocations: Allocations) -> UnhealthyReason | None:
    """Return why a device is not free: its id is another sub-function's, or a pod has it by another id; else None."""
    hint = "It is free again once that pod is deleted."
    if allocations.by_id.get(record.device_id, frozenset()) - {record.uid}:
        message = f"{record.device_id} is held by a pod that was promised another sub-function than {record.name}"
        return UnhealthyReason(Reason.ID_TAKEN, message, hint)
    if others := allocations.by_uid.get(record.uid, frozenset()) - {record.device_id}:
        return UnhealthyReason(Reason.ID_TAKEN, f"{record.name} is held by a pod as {', '.join(sorted(others))}", hint)
    if not allocations.complete and record.uid not in allocations.by_uid:
        message = f"whether a pod has {record.device_id} ({record.name}) as another sub-function is unknown"
        return UnhealthyReason(
            Reason.ID_TAKEN, message, "The kubelet's checkpoint cannot be read; see the device plugin's log."
        )
    return None


def check_start(
    device_id: str, record: Record | None, mismatch: str | None, allocations: Allocations, *, boot: str
) -> UnhealthyReason | None:
    """Return why a container must not start with a device that was allocated to it earlier; None if it may.

    A device that is being drained may start: its container uses it, and draining waits for that container.
    """
    hint = _DELETE_POD
    if record is None:
        return UnhealthyReason(Reason.STALE_ALLOCATION, f"{device_id} no longer exists", hint)
    promised = allocations.by_id.get(device_id, frozenset())
    if not promised:
        return UnhealthyReason(
            Reason.STALE_ALLOCATION, f"neither ledger nor checkpoint has an allocation of {device_id}", hint
        )
    if promised != {record.uid}:
        return UnhealthyReason(
            Reason.STALE_ALLOCATION, f"{device_id} was promised as another sub-function than {record.name}", hint
        )
    if (fault := check_verified(record, mismatch, boot=boot)) is not None:
        return UnhealthyReason(Reason.STALE_ALLOCATION, fault.message, hint)
    if record.remade:
        message = f"{device_id} ({record.name}) was made anew since it was promised"
        return UnhealthyReason(Reason.STALE_ALLOCATION, message, hint)
    if record.lent and record.cdi_netdev:
        message = f"{record.cdi_netdev} of {device_id} is in the pod already, and container runtimes move it there once"
        return UnhealthyReason(Reason.STALE_ALLOCATION, message, hint)
    return None


def check_replay(
    resource: str, records: Iterable[Record], holdings: Iterable[DeviceAllocation]
) -> UnhealthyReason | None:
    """Return why a container must not start with the answer that the kubelet replays to it; None if it may.

    The answer names the device nodes as of Allocate. Their numbers depend on the order of the probes, so that after a
    reboot, or a reload of a driver, they may be another pod's, though each device itself is the one that was allocated.
    A CDI name stands for the nodes behind it, since it changes as soon as one of them does.
    """
    found = tuple(records)
    ids = {record.device_id for record in found}
    named_by_cdi = frozenset(record.cdi_name for record in found if record.cdi_name)
    wanted = frozenset(node.host_path for record in found for node in record.nodes) | named_by_cdi
    held: defaultdict[str, set[str]] = defaultdict(set)
    answers: dict[str, frozenset[str]] = {}
    for holding in holdings:
        if holding.resource == resource:
            held[holding.holder].add(holding.device_id)
            answers[holding.holder] = holding.paths | holding.cdi_names
    # The call does not name its container, but has all its ids: an init container that had more asks for all of them.
    replayed = [paths for holder, paths in answers.items() if held[holder] == ids]
    named = ", ".join(sorted(ids))
    if not replayed:
        message = f"the kubelet's checkpoint does not say which device nodes were promised with {named}"
        return UnhealthyReason(Reason.STALE_ALLOCATION, message, _DELETE_POD)
    for paths in replayed:
        if paths != wanted:
            then, now = (", ".join(sorted(each)) or "nothing" for each in (paths, wanted))
            message = f"{named} was promised with {then}, and is {now} by now"
            return UnhealthyReason(Reason.STALE_ALLOCATION, message, _DELETE_POD)
    return None
