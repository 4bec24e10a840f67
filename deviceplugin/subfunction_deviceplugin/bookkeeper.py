"""The ledger's one writer: it promises, looks again, and only then hands out; and it ends entries.

Everything here runs on the one worker thread, so that no entry ends while it is being written. As nobody else writes
the ledger, what stands in it is also kept in memory; the files are for the agent, and for this program's next run.
"""

import contextlib
import dataclasses
import enum
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

import msgspec

from subfunction.errors import AllocationRefused, FolderError
from subfunction.kubelet.checkpoint import Holding
from subfunction.ledger import NEVER_SEEN_SECONDS, Entry
from subfunction.reasons import Reason
from subfunction.records import Record
from subfunction_deviceplugin.listing import Promises, displaced, stale
from subfunction_deviceplugin.scrutiny import confirmed, refused, unfit
from subfunction_deviceplugin.sources import Sources, ignored

logger = logging.getLogger(__name__)

R = TypeVar("R")

RETRY_SECONDS = 5.0
"""After a file that could not be read or written: a full or read-only /run mends without an announcement."""


class Fate(enum.Enum):
    """What becomes of an entry."""

    KEEP = enum.auto()
    MARK_SEEN = enum.auto()
    END = enum.auto()


def fate(entry: Entry, holders: Collection[str] | None, age: float) -> Fate:
    """Decide an entry's fate by who holds its device in the checkpoint (None: unknown) and its age in seconds."""
    if holders is None:
        return Fate.KEEP
    if set(holders) - set(entry.before):
        return Fate.KEEP if entry.seen_in_checkpoint else Fate.MARK_SEEN
    if holders:
        return Fate.KEEP
    return Fate.END if entry.seen_in_checkpoint or age >= NEVER_SEEN_SECONDS else Fate.KEEP


@dataclasses.dataclass(frozen=True, slots=True)
class Handout:
    """Entries written, and not yet answered for; `replaced` is what stood in the ledger before, by uid."""

    resource: str
    entries: tuple[Entry, ...]
    replaced: Mapping[str, Entry]
    holdings: tuple[Holding, ...]


class Bookkeeper:
    """Keeps the ledger. `clock` is monotonic and counts ages; `wall` dates entries, for people."""

    def __init__(
        self, sources: Sources, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._sources = sources
        self._clock = clock
        self._wall = wall
        # A node without a battery-backed clock jumps years at its first NTP answer: ages are not taken from `at`.
        self._known_since: dict[tuple[str, float], float] = {}
        self._entries: dict[str, Entry] = {}

    def load(self) -> None:
        """Read the ledger from its folder: what an earlier run of this program promised.

        A promise that this run made stands even if its file was torn since.
        """
        contents = self._sources.ledger.read_all()
        self._sources.complain("ledger", ignored(contents.unreadable))
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
        """Promise devices (their uids by id), look at them afresh, and answer with their records by id.

        Raises:
            AllocationRefused: one of them cannot be given, or `until` (on the monotonic clock) has passed; then none is
                promised.
            FolderError: the checkpoint cannot be read or the ledger not be written; then none is promised either.
        """
        handout = self.promise(resource, uids)
        with contextlib.ExitStack() as unless_answered:
            unless_answered.callback(self.withdraw, handout)
            found = answer({record.device_id: record for record in self.confirm(handout)})
            self._in_time(until)
            unless_answered.pop_all()
        return found

    def promise(self, resource: str, uids: Mapping[str, str]) -> Handout:
        """Write an entry for each device: the first half of handing out.

        Raises:
            CheckpointUnreadable: a pod may hold one of them as another, and nobody would know.
            FolderError: the ledger cannot be written.
        """
        holdings = self._sources.account()
        handout = Handout(resource, (), {}, holdings)
        for device_id, uid in sorted(uids.items()):
            before = tuple(sorted(holding.holder for holding in holdings if holding.device_id == device_id))
            entry = Entry(uid=uid, resource=resource, device_id=device_id, at=self._wall(), before=before)
            old = self._entries.get(uid)
            replaced = dict(handout.replaced) if old is None else {**handout.replaced, uid: old}
            try:
                self._write(entry)
            except FolderError:
                self.withdraw(handout)
                raise
            handout = dataclasses.replace(handout, entries=(*handout.entries, entry), replaced=replaced)
            self._known_since[uid, entry.at] = self._clock()
        return handout

    def confirm(self, handout: Handout) -> tuple[Record, ...]:
        """Read each record now that its entry stands: the second half. Whoever is refused withdraws.

        Raises:
            AllocationRefused: a device cannot be given.
        """
        others = self._others(handout)
        return tuple(
            confirmed(self._sources, entry.resource, entry.device_id, entry.uid, others) for entry in handout.entries
        )

    def unfit(self, resource: str, uids: Mapping[str, str]) -> frozenset[str]:
        """Say which devices (their uids by id) could not be handed out now, whatever was listed; promise nothing."""
        return unfit(self._sources, resource, uids)

    def withdraw(self, handout: Handout) -> None:
        """Take entries back, to what stood there before: an older promise may still be held.

        One that cannot be taken back stands until the kubelet has not shown it for long enough.
        """
        for entry in handout.entries:
            try:
                if (old := handout.replaced.get(entry.uid)) is None:
                    self._remove(entry.uid)
                else:
                    self._write(old)
            except FolderError as error:
                logger.warning("the promise of %s could not be taken back: %s", entry.device_id, error)

    def verify(self, resource: str, uids: Mapping[str, str | None]) -> None:
        """Compare what a container was given with what there is, before it starts.

        Raises:
            AllocationRefused: a device is not, or cannot be shown to be, the one that was promised.
            CheckpointUnreadable: the answer that the kubelet replays cannot be looked at.
        """
        holdings = self._sources.account()
        promises = Promises.of(self._entries.values(), holdings)
        records: list[Record] = []
        for device_id, uid in sorted(uids.items()):
            record = None if uid is None else self._sources.records.read(uid)
            if record is not None and (record.device_id, record.resource) != (device_id, resource):
                record = None
            mismatch = None if record is None else self._sources.mismatch(record)
            if (fault := stale(device_id, record, mismatch, promises, boot=self._sources.boot)) is not None:
                raise refused(fault)
            records += [] if record is None else [record]
        if (fault := displaced(resource, records, holdings)) is not None:
            raise refused(fault)

    def settle(self, holdings: tuple[Holding, ...] | None) -> tuple[Mapping[str, Entry], float | None]:
        """End the entries that are over; give those that stand, by uid, and the seconds until one is due by its age."""
        due: list[float] = []
        complaints: list[str] = []
        for uid, entry in tuple(self._entries.items()):
            age = self._clock() - self._known_since.setdefault((uid, entry.at), self._clock())
            holders = None if holdings is None else {h.holder for h in holdings if h.device_id == entry.device_id}
            decided = fate(entry, holders, age)
            if decided is Fate.KEEP and holders == set() and not entry.seen_in_checkpoint:
                due.append(NEVER_SEEN_SECONDS - age)
            try:
                self._carry_out(decided, entry)
            except FolderError as error:
                # It stands as it was, and no list waits for it.
                complaints.append(str(error))
                due.append(RETRY_SECONDS)
        self._sources.complain("promises", complaints)
        keep = {(uid, entry.at) for uid, entry in self._entries.items()}
        self._known_since = {key: since for key, since in self._known_since.items() if key in keep}
        return dict(self._entries), min(due, default=None)

    def _carry_out(self, decided: Fate, entry: Entry) -> None:
        if decided is Fate.END:
            self._remove(entry.uid)
            logger.info("%s is free again (%s)", entry.device_id, entry.uid)
        elif decided is Fate.MARK_SEEN:
            self._write(msgspec.structs.replace(entry, seen_in_checkpoint=True))

    def _write(self, entry: Entry) -> None:
        self._sources.ledger.write(entry.uid, entry)
        self._entries[entry.uid] = entry

    def _remove(self, uid: str) -> None:
        self._sources.ledger.remove(uid)
        self._entries.pop(uid, None)

    def _in_time(self, until: float) -> None:
        if self._clock() > until:
            raise AllocationRefused(Reason.KERNEL_BUSY, "the answer came too late to be given")

    def _others(self, handout: Handout) -> Promises:
        own = {entry.uid for entry in handout.entries}
        entries = [entry for uid, entry in self._entries.items() if uid not in own]
        return Promises.of([*entries, *handout.replaced.values()], handout.holdings)
