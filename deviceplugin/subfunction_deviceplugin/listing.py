"""Which devices the kubelet is told of, and which of them may be handed out: a pure function of what was read.

A device is Healthy only if its record is of this boot, `ready`, found whole by the agent and borne out by its witness,
and if nobody else was promised its id. A device that somebody holds is never left out, even when its record is gone:
the kubelet would take a missing device for a healthy one in the pod's status.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from subfunction.kubelet.checkpoint import Holding
from subfunction.ledger import Entry
from subfunction.reasons import Reason
from subfunction.records import Record, State, Witness

_STATES = {
    State.PREPARING: Reason.PENDING,
    State.DRAINING: Reason.DRAINING,
    State.RETURNING: Reason.RETURNING,
}


_DELETE_POD = "Delete the pod; its successor gets a device that is whole."


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """Why a device may not be handed out or started with, and what a person does next."""

    reason: Reason
    message: str
    hint: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Device:
    """One device as the kubelet sees it; `uid` is None where its record is gone and only its holder is left."""

    device_id: str
    uid: str | None
    numa_node: int | None = None
    fault: Fault | None = None
    parent: str = ""
    pcie_root: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Promises:
    """Who was promised what, by ledger and checkpoint together; a uid of None is a promise that cannot be read."""

    by_id: Mapping[str, frozenset[str | None]]
    by_uid: Mapping[str, frozenset[str]]
    held: frozenset[tuple[str, str]]
    """Resource and device id of each."""
    complete: bool = True
    """False while the checkpoint cannot be read: there may be promises that nobody else remembers."""

    @classmethod
    def of(cls, entries: Iterable[Entry], holdings: Iterable[Holding] | None) -> "Promises":
        """Put the two accounts together; other people's resources count too, as the same device may be among them."""
        by_id: defaultdict[str, set[str | None]] = defaultdict(set)
        by_uid: defaultdict[str, set[str]] = defaultdict(set)
        held: set[tuple[str, str]] = set()
        everyone: tuple[Entry | Holding, ...] = (*entries, *(holdings or ()))
        for promise in everyone:
            by_id[promise.device_id].add(promise.uid)
            held.add((promise.resource, promise.device_id))
            if promise.uid is not None:
                by_uid[promise.uid].add(promise.device_id)
        return cls(
            {device_id: frozenset(uids) for device_id, uids in by_id.items()},
            {uid: frozenset(ids) for uid, ids in by_uid.items()},
            frozenset(held),
            complete=holdings is not None,
        )


def devices(
    records: Mapping[str, Record],
    mismatches: Mapping[str, str],
    promises: Promises,
    *,
    boot: str,
    resources: Collection[str],
) -> dict[str, tuple[Device, ...]]:
    """List the devices of each resource, sorted by id; `mismatches` says by uid what of a witness no longer holds."""
    claimants: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records.values():
        if record.device_id:
            claimants[record.device_id].append(record)
    found: dict[str, dict[str, Device]] = {resource: {} for resource in resources}
    for resource, device_id in promises.held:
        if resource in found:
            found[resource][device_id] = Device(device_id, None, fault=_gone(device_id, records, promises))
    for device_id, claims in claimants.items():
        # A record of another boot gives way: the kernel has since given its id to somebody else.
        current = [record for record in claims if record.boot_id == boot] or claims
        record = current[0]
        if record.resource not in found:
            continue
        fault = (
            Fault(Reason.ID_TAKEN, f"{device_id} is claimed by {' and '.join(sorted(r.name for r in current))}")
            if len(current) > 1
            else unready(record, mismatches.get(record.uid), boot=boot) or taken(record, promises)
        )
        found[record.resource][device_id] = Device(
            device_id, record.uid, record.numa_node, fault, record.parent, record.pcie_root
        )
    return {resource: tuple(of[key] for key in sorted(of)) for resource, of in found.items()}


def _gone(device_id: str, records: Mapping[str, Record], promises: Promises) -> Fault:
    """Say what became of a device that a container holds and no record claims."""
    record = next((records[uid] for uid in promises.by_id[device_id] if uid is not None and uid in records), None)
    if record is None:
        return Fault(Reason.UNKNOWN_DEVICE, f"{device_id} is held by a container, and its record is gone")
    if record.device_id:
        message = f"{device_id} ({record.name}) was made anew as {record.device_id}"
        return Fault(Reason.STALE_ALLOCATION, message, _DELETE_POD)
    return Fault(Reason.NOT_READY, f"{device_id} ({record.name}): {_why(record)}", _look(record))


def _why(record: Record) -> str:
    return record.health.message or record.health.reason or "the agent finds it unhealthy"


def _look(record: Record) -> str:
    return f"See `kubectl describe subfunction {record.name}`."


def unready(record: Record, mismatch: str | None, *, boot: str) -> Fault | None:
    """Say what keeps a device from being handed out, by its record and its witness; None if nothing does."""
    if (fault := unverified(record, mismatch, boot=boot)) is not None:
        return fault
    if record.state is not State.READY:
        return Fault(_STATES[record.state], f"{record.device_id} ({record.name}) is {record.state}", _look(record))
    if not record.health.healthy:
        outlived = record.health.reason == Reason.STALE_ALLOCATION
        message = f"{record.device_id} ({record.name}): {_why(record)}"
        return Fault(Reason.STALE_ALLOCATION if outlived else Reason.NOT_READY, message, _look(record))
    return None


def unverified(record: Record, mismatch: str | None, *, boot: str) -> Fault | None:
    """Say why a record cannot be taken for the device that the kernel has under this id; None if it can."""
    name = f"{record.device_id} ({record.name})"
    if record.boot_id != boot:
        hint = "The agent verifies it soon after it starts; see its pod on this node."
        return Fault(Reason.NOT_READY, f"{name} is known from an earlier boot only", hint)
    if record.witness == Witness():
        return Fault(Reason.NOT_READY, f"{name} has no witness yet")
    if mismatch is not None:
        hint = "The device went away or was made anew; the agent looks into it."
        return Fault(Reason.NOT_READY, f"{name} is not as recorded: {mismatch}", hint)
    return None


def taken(record: Record, promises: Promises) -> Fault | None:
    """Say whether another sub-function was promised under this id, or this one under another id."""
    hint = "It is free again once that pod is deleted."
    if promises.by_id.get(record.device_id, frozenset()) - {record.uid}:
        message = f"{record.device_id} is held by a pod that was promised another sub-function than {record.name}"
        return Fault(Reason.ID_TAKEN, message, hint)
    if others := promises.by_uid.get(record.uid, frozenset()) - {record.device_id}:
        return Fault(Reason.ID_TAKEN, f"{record.name} is held by a pod as {', '.join(sorted(others))}", hint)
    if not promises.complete and record.uid not in promises.by_uid:
        message = f"whether a pod holds {record.device_id} ({record.name}) as another one cannot be told"
        return Fault(Reason.ID_TAKEN, message, "The kubelet's checkpoint cannot be read; see the device plugin's log.")
    return None


def stale(
    device_id: str, record: Record | None, mismatch: str | None, promises: Promises, *, boot: str
) -> Fault | None:
    """Say why a container must not start with a device that it was given earlier; None if it may.

    A device being drained may: its container holds it, and draining waits for that container.
    """
    hint = _DELETE_POD
    if record is None:
        return Fault(Reason.STALE_ALLOCATION, f"{device_id} no longer exists", hint)
    promised = promises.by_id.get(device_id, frozenset())
    if not promised:
        return Fault(Reason.STALE_ALLOCATION, f"nobody remembers whom {device_id} was promised to", hint)
    if promised != {record.uid}:
        return Fault(Reason.STALE_ALLOCATION, f"{device_id} was promised as another one than {record.name}", hint)
    if (fault := unverified(record, mismatch, boot=boot)) is not None:
        return Fault(Reason.STALE_ALLOCATION, fault.message, hint)
    if record.remade:
        message = f"{device_id} ({record.name}) was made anew since it was promised"
        return Fault(Reason.STALE_ALLOCATION, message, hint)
    if record.lent and record.cdi_netdev:
        message = f"{record.cdi_netdev} of {device_id} is in the pod already, and container runtimes move it there once"
        return Fault(Reason.STALE_ALLOCATION, message, hint)
    return None


def displaced(resource: str, records: Iterable[Record], holdings: Iterable[Holding]) -> Fault | None:
    """Say why a container must not start with the answer that the kubelet replays to it; None if it may.

    The answer names device nodes of the day of Allocate. Their numbers go by the order of the probes, so that after a
    reboot, or a reload of a driver, they may be another pod's, though each device itself is the one that was promised.
    A CDI name says the same of the nodes behind it, since it is another one as soon as one of them is.
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
    # Which container starts is not said. An init container may have had others beside these; it asks for all of them.
    replayed = [paths for holder, paths in answers.items() if held[holder] == ids]
    named = ", ".join(sorted(ids))
    if not replayed:
        message = f"the kubelet's checkpoint does not say which device nodes were promised with {named}"
        return Fault(Reason.STALE_ALLOCATION, message, _DELETE_POD)
    for paths in replayed:
        if paths != wanted:
            then, now = (", ".join(sorted(each)) or "nothing" for each in (paths, wanted))
            message = f"{named} was promised with {then}, and is {now} by now"
            return Fault(Reason.STALE_ALLOCATION, message, _DELETE_POD)
    return None
