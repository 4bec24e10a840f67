"""The agent: from an object that changed to a kernel that follows and a status that says so. Level-triggered.

Whatever happens (an object changes, the kernel announces something, the device plugin hands a device out, time passes)
ends as a uid in the backlog; what is then done depends on nothing but what is asked and what is seen.
"""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import logging
from collections.abc import Iterator
from typing import Final

from subfunction.api import SubFunction
from subfunction.errors import ApiRefused, ApiUnavailable, FolderError, SubFunctionError
from subfunction.folder import Folder, Unreadable
from subfunction.journal import concerning
from subfunction.metrics import OTHER, AgentMetrics
from subfunction.reasons import Reason
from subfunction.records import Record
from subfunction.resources import Resources
from subfunction_operator.apiserver import ApiServer
from subfunction_operator.backlog import Backlog
from subfunction_operator.decision import Wait
from subfunction_operator.event import Event
from subfunction_operator.faults import Faults
from subfunction_operator.node import Node, numbers_of
from subfunction_operator.observation import Desired
from subfunction_operator.outcome import Outcome
from subfunction_operator.resourcenames import uncontested
from subfunction_operator.seam import LoggedSteps, Seam
from subfunction_operator.sightings import Sightings
from subfunction_operator.status import announcement, status
from subfunction_operator.step import WriteObject

_LOG = logging.getLogger("subfunction.agent")

_AGAIN: Final = 1.0
"""Seconds until a wait for the kernel is taken up again."""

_BURST: Final = 0.1
"""Seconds until the kernel's announcements are followed: each change of a sub-function makes about ten."""

_STIR: Final = 0.5
"""Seconds until those in trouble are looked at because of news that may not concern them."""

_EVERYTHING: Final = ""
"""What stands in the backlog for a look at all; no object has such a uid."""

_STALE: Final = frozenset({404, 409})
"""What the API server answers when the object is another one than we know, or none any more."""


@dataclasses.dataclass(slots=True)
class Agent:
    """What one node's agent knows: its objects as last seen, and the backlog of what to look at."""

    node: Node
    server: ApiServer
    records: Folder[Record]
    resources: Folder[Resources]
    usage_interval: float
    seam: Seam = dataclasses.field(default_factory=LoggedSteps)
    metrics: AgentMetrics = dataclasses.field(default_factory=AgentMetrics)
    backlog: Backlog = dataclasses.field(default_factory=Backlog)
    _objects: dict[str, SubFunction] = dataclasses.field(default_factory=dict)
    _sightings: Sightings = dataclasses.field(default_factory=Sightings)
    _expectant: set[str] = dataclasses.field(default_factory=set)
    """Those that news of a stranger may concern: in trouble, or with a netdev that is away and may come back anew."""
    _faults: Faults = dataclasses.field(default_factory=Faults)
    _listed: bool = False
    _names: tuple[str, ...] | None = None
    _naming: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)

    # --- what wakes it ---

    def seen(self, found: SubFunction, *, deleted: bool = False) -> None:
        """Hear from the watch that an object is as it is, or is gone."""
        if deleted:
            self._objects.pop(found.uid, None)
            self.backlog.add(found.uid)
        elif self._learned(found):
            self.backlog.add(found.uid)

    def look_at(self, device: str) -> None:
        """Hear that something happened to a port (`pci/0000:05:00.0/32768`) or an instance of the kernel."""
        if (uid := self._sightings.of_device(device)) is not None:
            self.look_soon(uid)

    def look_at_link(self, ifindex: int) -> None:
        """Hear that a network link changed, or left."""
        if (uid := self._sightings.of_link(ifindex)) is not None:
            self.look_soon(uid)
        else:
            self.look_at_expectant()

    def look_at_path(self, path: str) -> None:
        """Hear that something happened to a device, by its directory in sysfs."""
        if (uid := self._sightings.of_path(path)) is not None:
            self.look_soon(uid)
        else:
            self.look_at_expectant()

    def look_at_expectant(self) -> None:
        """Hear of something that is nobody's yet: a driver, a parent, a bridge, a netdev that somebody waits for."""
        for uid in self._expectant:
            self.backlog.add(uid, max(_STIR, self._faults.pause(uid)))

    def look_at_all_soon(self) -> None:
        """Hear that much may have happened, and perhaps more is to come."""
        self.backlog.add(_EVERYTHING, _STIR)

    def look_soon(self, uid: str) -> None:
        """Hear that something of a sub-function changed; one that keeps failing is not its own next try."""
        self.backlog.add(uid, max(_BURST, self._faults.pause(uid)))

    async def look_at_all(self) -> None:
        """Hear that anything may have happened."""
        contents = await asyncio.to_thread(self.records.read_all)
        for file in contents.unreadable:
            # That of a known object is seen to when that one has its turn: nobody else writes it then.
            if self._listed and file.uid not in self._objects:
                await self._set_aside(file, None)
        for uid in (*self._objects, *contents.items):
            self.backlog.add(uid)

    async def compare(self) -> None:
        """Compare what is known with a fresh LIST: a watch that was cut off never tells of what was deleted meanwhile.

        Raises:
            ApiUnavailable, ApiRefused: there is no list; nothing is concluded from that.
        """
        before = set(self._objects)
        found_now, unreadable = await self.server.list()
        listed = {found.uid: found for found in found_now}
        # What came to be known while the list was made may be newer than the list.
        for uid in before - set(listed) - unreadable:
            self._objects.pop(uid, None)
        for found in listed.values():
            self._learned(found)
        self._listed = True
        await self._keep_names()
        await self.look_at_all()

    def named(self) -> frozenset[tuple[str, int]]:
        """Give parent and number of each sub-function that an object of this node names."""
        seen = ((found.status.parent, found.status.number) for found in self._objects.values())
        return frozenset((parent, number) for parent, number in seen if parent is not None and number is not None)

    def objects(self) -> tuple[SubFunction, ...]:
        """Give this node's objects as last seen; any thread may ask."""
        return tuple(self._objects.copy().values())

    def flavour(self, uid: str) -> str:
        """Give the flavour of an object; any thread may ask."""
        known = self._objects.get(uid)
        return OTHER if known is None else known.spec.flavour

    # --- what it does ---

    async def work(self, uid: str) -> None:
        """Bring one sub-function nearer to what is asked, and say how it is; whatever fails is tried again."""
        if uid == _EVERYTHING:
            await self.look_at_all()
            return
        with concerning(self._name(uid)):
            delay = await self._worked(uid)
        if delay is not None:
            self.backlog.add(uid, delay)

    async def _worked(self, uid: str) -> float | None:
        try:
            return await self._work(uid)
        except SubFunctionError as error:
            return await self._failed(uid, error)
        except Exception as fault:  # noqa: BLE001  # one object's trouble must not be every other's
            _LOG.critical("%s: a fault of the agent", self._name(uid), exc_info=fault)
            hint = "This is a fault of the agent: report it with the agent's log."
            return await self._failed(uid, SubFunctionError(f"unexpected: {fault!r}", hint=hint, retry_after=60.0))

    async def _failed(self, uid: str, error: SubFunctionError) -> float | None:
        """Say on the object what came between, where that can be said; give the seconds until the next try."""
        _LOG.warning("%s: %s", self._name(uid), error)
        self.metrics.failed(error.reason)
        self._expectant.add(uid)
        try:
            if isinstance(error, ApiRefused) and error.status in _STALE:
                await self._reread(uid)
            elif not isinstance(error, ApiRefused | ApiUnavailable) and (known := self._objects.get(uid)) is not None:
                await self._report(known, Outcome(None, error=error))
        except SubFunctionError as unsaid:
            _LOG.warning("%s: %s", self._name(uid), unsaid)
        return error.retry_after

    async def _work(self, uid: str) -> float | None:
        await self._keep_names()
        await self._look_at_record(uid)
        desired = await self._desired(uid)
        if desired is None:
            return None
        wanted = desired.object
        if wanted is not None and wanted.status.parent is None and not self._listed:
            return None  # those that have a place go first, and are not all known before the first LIST
        if wanted is not None and not wanted.deleting and not wanted.held:
            # The finalizer is stored before anything is: from now on no deletion can pass us by.
            with self._heard(uid, WriteObject("finalizer", wanted.name)):
                wanted = self._wrote(await self.server.hold(wanted))
            desired = Desired.of(wanted)
        outcome = await self._settled(desired, uid)
        if outcome.error is not None:
            self.metrics.failed(outcome.error.reason)
        if outcome.seen is not None:
            self._sightings.remember(uid, outcome.seen)
        expects = outcome.error is not None or (outcome.seen is not None and outcome.seen.away)
        (self._expectant.add if expects else self._expectant.discard)(uid)
        self._faults.ended(uid, failed=outcome.error is not None)
        if desired.deleting and outcome.gone:
            await self._let_go(uid)
            return None
        if wanted is not None:
            await self._report(wanted, outcome)
        return self._again(outcome)

    async def _settled(self, desired: Desired, uid: str) -> Outcome:
        if desired.object is not None and not desired.deleting:
            uncontested(desired.object, self._objects.values())
        return await self.node.settle(desired, lambda parent: numbers_of(list(self._objects.values()), parent, uid))

    async def _desired(self, uid: str) -> Desired | None:
        known = self._objects.get(uid)
        if known is not None:
            return Desired.of(known)
        record = await asyncio.to_thread(self.records.read, uid)
        if record is None:
            return None
        if not self._listed:
            return None  # most objects are not known yet, and the first LIST looks at every record again
        # A record without an object: only the server's own answer that there is none makes it an orphan.
        found = await self.server.get(record.name)
        if found is not None and found.uid == uid:
            self._objects[uid] = found
            return Desired.of(found)
        return Desired.orphan(record)

    def _again(self, outcome: Outcome) -> float | None:
        """Say when to look again if nobody says a word: None where the kernel or the API will."""
        if outcome.error is not None:
            return outcome.error.retry_after
        if isinstance(outcome.decision, Wait):
            if outcome.decision.reason is Reason.FORCED:
                return 0.0  # it is said by now
            return _AGAIN if outcome.decision.kernel else self.usage_interval
        held = outcome.seen is not None and (outcome.seen.usage.held or outcome.seen.away)
        return self.usage_interval if held else None

    async def _report(self, of: SubFunction, outcome: Outcome) -> None:
        """Write the status if it says something new, and an Event if Ready does."""
        known = self._objects.get(of.uid)
        if known is None or _asks_otherwise(known, of):
            return  # something else is asked meanwhile, and will be answered in its turn
        said = status(known, outcome, _now())
        if said == known.status:
            return
        news = announcement(known, said)
        with self._heard(of.uid, WriteObject("status", of.name)):
            self._wrote(await self.server.write_status(known, said))
        if news is not None:
            _LOG.log(
                logging.WARNING if news.warning else logging.INFO, "%s: %s: %s", known.name, news.reason, news.message
            )
            await self._announce(known, news)

    async def _let_go(self, uid: str) -> None:
        known = self._objects.get(uid)
        if known is not None and known.held:
            with self._heard(uid, WriteObject("release", known.name)):
                await self.server.release(known)
            self._objects.pop(uid, None)
        self._sightings.forget(uid)
        self._expectant.discard(uid)
        self._faults.ended(uid, failed=False)

    async def _announce(self, of: SubFunction, event: Event) -> None:
        try:
            with self._heard(of.uid, WriteObject("event", of.name)):
                await self.server.announce(of, event, _now())
        except SubFunctionError as error:
            # The condition has said it already; an Event is the second place.
            _LOG.warning("%s: %s: %s (no Event: %s)", of.name, event.reason, event.message, error)

    async def _reread(self, uid: str) -> None:
        known = self._objects.get(uid)
        if known is None:
            return
        found = await self.server.get(known.name)
        if found is not None and found.uid == uid:
            self._objects[uid] = found
        else:
            self._objects.pop(uid, None)

    def _wrote(self, found: SubFunction) -> SubFunction:
        """Take over what the server made of a write: its echo in the watch is no news, what others did meanwhile is."""
        known = self._objects.get(found.uid)
        if known is not None and self._learned(found) and _asks_otherwise(found, known):
            # The watch tells of it later, when it is no newer than what is known by then.
            self.backlog.add(found.uid)
        return found

    def _learned(self, found: SubFunction) -> bool:
        """Take over an object unless what is known is as new: a list or an echo may come late."""
        known = self._objects.get(found.uid)
        if known is not None and not _newer(found, known):
            return False
        self._objects[found.uid] = found
        return True

    # --- what it keeps ---

    async def _keep_names(self) -> None:
        """Keep the node's resource names where the plugin finds them after a reboot."""
        async with self._naming:
            names = {found.spec.resource for found in self._objects.values()}
            if not self._listed:
                # Not all objects are known yet: none that stands there from before is dropped on that.
                kept = await asyncio.to_thread(self.resources.read, "resources")
                names |= set(kept.names) if kept else set()
            wanted = tuple(sorted(names))
            if wanted == self._names:
                return
            try:
                with self._heard("resources", WriteObject("names", "resources")):
                    await asyncio.to_thread(self.resources.write, "resources", Resources(names=wanted))
            except FolderError as error:
                # The devices themselves do not depend on it; it is tried again with the next object.
                _LOG.warning("the resource names are not kept for the next boot: %s", error)
                return
            self._names = wanted

    async def _look_at_record(self, uid: str) -> None:
        """Move a record aside that cannot be read, before another is written in its place."""
        if not self._listed and uid not in self._objects:
            return
        found = await asyncio.to_thread(self.records.examine, uid)
        if isinstance(found, Unreadable):
            await self._set_aside(found, self._objects.get(uid))

    async def _set_aside(self, file: Unreadable, of: SubFunction | None) -> None:
        """Move away what is no record of ours, and say so on the object it was of."""
        try:
            aside = await asyncio.to_thread(self.records.set_aside, file)
        except FolderError as error:
            _LOG.warning("%s", error)
            return
        message = f"the record {file.path.name} {file.why}; it is at {aside} now, and the kernel is looked at instead"
        _LOG.warning("%s", message)
        if of is not None:
            await self._announce(of, Event(Reason.RECORD_UNREADABLE, message, warning=True))

    @contextlib.contextmanager
    def _heard(self, uid: str, write: WriteObject) -> Iterator[None]:
        """Let the seam hear of a write; one that failed had no effect that we know of."""
        self.seam.about_to(uid, write)
        yield
        self.seam.done(uid, write)

    def _name(self, uid: str) -> str:
        known = self._objects.get(uid)
        return known.name if known else uid


def _asks_otherwise(found: SubFunction, known: SubFunction) -> bool:
    return (found.metadata.generation, found.deleting) != (known.metadata.generation, known.deleting)


def _newer(found: SubFunction, known: SubFunction) -> bool:
    """Compare resourceVersions, numbers with every server of today; where they are not, what comes is news."""
    ours, theirs = known.metadata.resource_version, found.metadata.resource_version
    return int(theirs) > int(ours) if ours.isdecimal() and theirs.isdecimal() else ours != theirs


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
