"""The ledger's only writer: it writes an entry, checks the device again, and only then answers; and it ends entries.

Everything here runs on the one worker thread, so that no entry ends while it is being written. As no other program
writes the ledger, its entries are also kept in memory; the files are for the agent, and for this program's next run.
"""

import contextlib
import dataclasses
import enum
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

import msgspec

from subfunction.api.reasons import Reason
from subfunction.errors import AllocationRefused, FolderError
from subfunction.kubelet.checkpoint import DeviceAllocation
from subfunction.state.ledger import NEVER_SEEN_SECONDS, LedgerEntry
from subfunction.state.records import Record
from subfunction_deviceplugin.allocate_check import find_unallocatable, refusal, require_allocatable
from subfunction_deviceplugin.health import Allocations, check_replay, check_start
from subfunction_deviceplugin.node_state import NodeStateReader, describe_ignored

_LOG = logging.getLogger(__name__)

R = TypeVar("R")

RETRY_SECONDS = 5.0
"""Seconds until the next try of a file that cannot be read or written: a full or read-only /run recovers silently."""


class LedgerAction(enum.Enum):
    """What to do with an entry."""

    KEEP = enum.auto()
    MARK_SEEN = enum.auto()
    END = enum.auto()


def next_action(entry: LedgerEntry, holders: Collection[str] | None, age: float) -> LedgerAction:
    """Decide by the containers that have the device in the checkpoint (None: unknown), and by the age in seconds."""
    if holders is None:
        return LedgerAction.KEEP
    if set(holders) - set(entry.before):
        return LedgerAction.KEEP if entry.seen_in_checkpoint else LedgerAction.MARK_SEEN
    if holders:
        return LedgerAction.KEEP
    return LedgerAction.END if entry.seen_in_checkpoint or age >= NEVER_SEEN_SECONDS else LedgerAction.KEEP


@dataclasses.dataclass(frozen=True, slots=True)
class PendingAllocation:
    """Entries written for an Allocate that is not answered yet; `replaced` has the entries before them, by uid."""

    entries: tuple[LedgerEntry, ...]
    replaced: Mapping[str, LedgerEntry]
    holdings: tuple[DeviceAllocation, ...]


class Allocator:
    """Keeps the ledger. `clock` is monotonic and counts ages; `wall` dates entries, for people."""

    def __init__(
        self,
        sources: NodeStateReader,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.sources = sources
        self._clock = clock
        self._wall = wall
        # A node without a battery-backed clock jumps years at its first NTP answer: ages are not taken from `at`.
        self._known_since: dict[tuple[str, float], float] = {}
        self._entries: dict[str, LedgerEntry] = {}

    def load(self) -> None:
        """Read the ledger from its folder: the allocations of an earlier run of this program.

        An entry that this run wrote stays even if its file was torn since.
        """
        contents = self.sources.ledger.read_all()
        self.sources.log_once("ledger", describe_ignored(contents.unreadable))
        torn = {file.uid for file in contents.unreadable}
        self._entries = {uid: entry for uid, entry in self._entries.items() if uid in torn} | contents.items

    def allocate(
        self,
        resource: str,
        uids: Mapping[str, str],
        answer: Callable[[Mapping[str, Record]], R],
        *,
        until: float = float("inf"),
    ) -> R:
        """Write devices (their uids by id) to the ledger, check them again, and return `answer` of their records by id.

        Raises:
            AllocationRefused: one of them cannot be allocated, or `until` (on the monotonic clock) has passed; the
                entries are rolled back.
            FolderError: the checkpoint cannot be read, or the ledger cannot be written; the entries are rolled back.
        """
        pending = self.reserve(resource, uids)
        with contextlib.ExitStack() as unless_answered:
            unless_answered.callback(self.rollback, pending)
            found = answer({record.device_id: record for record in self.validate(pending)})
            self._in_time(until)
            unless_answered.pop_all()
        return found

    def reserve(self, resource: str, uids: Mapping[str, str]) -> PendingAllocation:
        """Write an entry for each device: the first half of an allocation.

        Raises:
            CheckpointUnreadable: a pod may have one of them as another sub-function, which cannot be ruled out.
            FolderError: the ledger cannot be written.
        """
        holdings = self.sources.account()
        pending = PendingAllocation((), {}, holdings)
        for device_id, uid in sorted(uids.items()):
            before = tuple(sorted(holding.holder for holding in holdings if holding.device_id == device_id))
            entry = LedgerEntry(uid=uid, resource=resource, device_id=device_id, at=self._wall(), before=before)
            old = self._entries.get(uid)
            replaced = dict(pending.replaced) if old is None else {**pending.replaced, uid: old}
            try:
                self._write(entry)
            except FolderError:
                self.rollback(pending)
                raise
            pending = dataclasses.replace(pending, entries=(*pending.entries, entry), replaced=replaced)
            self._known_since[uid, entry.at] = self._clock()
        return pending

    def validate(self, pending: PendingAllocation) -> tuple[Record, ...]:
        """Check each record once its entry is written: the second half. The caller rolls back after a refusal.

        Raises:
            AllocationRefused: a device cannot be allocated.
        """
        others = self._others(pending)
        return tuple(
            require_allocatable(self.sources, entry.resource, entry.device_id, entry.uid, others)
            for entry in pending.entries
        )

    def find_unallocatable(self, resource: str, uids: Mapping[str, str]) -> frozenset[str]:
        """Return which devices (their uids by id) could not be allocated now, whatever was listed; write nothing."""
        return find_unallocatable(self.sources, resource, uids)

    def rollback(self, pending: PendingAllocation) -> None:
        """Restore the entries that stood there before: a pod may still use an older allocation.

        An entry that cannot be removed ends later, as any other that the kubelet does not show (`expire`).
        """
        for entry in pending.entries:
            try:
                if (old := pending.replaced.get(entry.uid)) is None:
                    self._remove(entry.uid)
                else:
                    self._write(old)
            except FolderError as error:
                _LOG.warning("the ledger entry of %s could not be rolled back: %s", entry.device_id, error)

    def validate_start(self, resource: str, uids: Mapping[str, str | None]) -> None:
        """Compare the devices allocated to a container with those that exist, before it starts.

        Raises:
            AllocationRefused: a device is not, or cannot be shown to be, the one that was allocated.
            CheckpointUnreadable: the answer that the kubelet replays cannot be read.
        """
        holdings = self.sources.account()
        allocations = Allocations.of(self._entries.values(), holdings)
        records: list[Record] = []
        for device_id, uid in sorted(uids.items()):
            record = None if uid is None else self.sources.records.read(uid)
            if record is not None and (record.device_id, record.resource) != (device_id, resource):
                record = None
            mismatch = None if record is None else self.sources.mismatch(record)
            if (fault := check_start(device_id, record, mismatch, allocations, boot=self.sources.boot)) is not None:
                raise refusal(fault)
            records += [] if record is None else [record]
        if (fault := check_replay(resource, records, holdings)) is not None:
            raise refusal(fault)

    def expire(self, holdings: tuple[DeviceAllocation, ...] | None) -> tuple[Mapping[str, LedgerEntry], float | None]:
        """End the entries that are over; return the others, by uid, and the seconds until one is due by its age."""
        due: list[float] = []
        complaints: list[str] = []
        for uid, entry in tuple(self._entries.items()):
            age = self._clock() - self._known_since.setdefault((uid, entry.at), self._clock())
            holders = None if holdings is None else {h.holder for h in holdings if h.device_id == entry.device_id}
            decided = next_action(entry, holders, age)
            if decided is LedgerAction.KEEP and holders == set() and not entry.seen_in_checkpoint:
                due.append(NEVER_SEEN_SECONDS - age)
            try:
                self._carry_out(decided, entry)
            except FolderError as error:
                # The entry stays as it was, and the lists are published all the same.
                complaints.append(str(error))
                due.append(RETRY_SECONDS)
        self.sources.log_once("allocations", complaints)
        keep = {(uid, entry.at) for uid, entry in self._entries.items()}
        self._known_since = {key: since for key, since in self._known_since.items() if key in keep}
        return dict(self._entries), min(due, default=None)

    def _carry_out(self, decided: LedgerAction, entry: LedgerEntry) -> None:
        if decided is LedgerAction.END:
            self._remove(entry.uid)
            _LOG.info("%s is free again (%s)", entry.device_id, entry.uid)
        elif decided is LedgerAction.MARK_SEEN:
            self._write(msgspec.structs.replace(entry, seen_in_checkpoint=True))

    def _write(self, entry: LedgerEntry) -> None:
        self.sources.ledger.write(entry.uid, entry)
        self._entries[entry.uid] = entry

    def _remove(self, uid: str) -> None:
        self.sources.ledger.remove(uid)
        self._entries.pop(uid, None)

    def _in_time(self, until: float) -> None:
        if self._clock() > until:
            raise AllocationRefused(Reason.KERNEL_BUSY, "the answer came too late to be given")

    def _others(self, pending: PendingAllocation) -> Allocations:
        own = {entry.uid for entry in pending.entries}
        entries = [entry for uid, entry in self._entries.items() if uid not in own]
        return Allocations.of([*entries, *pending.replaced.values()], pending.holdings)
