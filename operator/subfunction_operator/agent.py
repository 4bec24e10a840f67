"""The agent: from an object that changed to a kernel that follows and a status that says so. Level-triggered.

Whatever happens (an object changes, the kernel announces something, the device plugin hands a device out, time passes)
ends as a uid in the backlog; what is then done depends on nothing but what is asked and what is seen.
"""

import asyncio
import dataclasses
import datetime as dt
import logging
from typing import Final

from subfunction.api import SubFunction
from subfunction.errors import ApiConflict, FolderError, SubFunctionError
from subfunction.folder import Folder, Unreadable
from subfunction.ledger import Entry
from subfunction.reasons import Reason
from subfunction.records import Record
from subfunction.resources import Resources
from subfunction_operator.apiserver import ApiServer
from subfunction_operator.backlog import Backlog
from subfunction_operator.node import Node, numbers_of
from subfunction_operator.observation import Desired
from subfunction_operator.outcome import Outcome
from subfunction_operator.status import Event, announcement, status
from subfunction_operator.step import Wait

_LOG = logging.getLogger("subfunction.agent")

_AGAIN: Final = 1.0
"""Seconds until a wait for the kernel is taken up again."""


@dataclasses.dataclass(slots=True)
class Agent:
    """What one node's agent knows: its objects as last seen, and the backlog of what to look at."""

    node: Node
    server: ApiServer
    records: Folder[Record]
    ledger: Folder[Entry]
    resources: Folder[Resources]
    usage_interval: float
    backlog: Backlog = dataclasses.field(default_factory=Backlog)
    _objects: dict[str, SubFunction] = dataclasses.field(default_factory=dict)
    _written: dict[str, str] = dataclasses.field(default_factory=dict)
    _devices: dict[str, str] = dataclasses.field(default_factory=dict)
    _names: tuple[str, ...] | None = None

    # --- what wakes it ---

    def seen(self, found: SubFunction, *, deleted: bool = False) -> None:
        """Hear from the watch that an object is as it is, or is gone."""
        if deleted:
            self._objects.pop(found.uid, None)
            self.backlog.add(found.uid)
        elif self._written.get(found.uid) != found.metadata.resource_version:
            self._objects[found.uid] = found
            self.backlog.add(found.uid)

    def look_at(self, device: str) -> None:
        """Hear that something happened to a port (`pci/0000:05:00.0/32768`) or an instance of the kernel."""
        if (uid := self._devices.get(device)) is not None:
            self.backlog.add(uid)

    async def look_at_all(self) -> None:
        """Hear that anything may have happened."""
        contents = await asyncio.to_thread(self.records.read_all)
        for file in contents.unreadable:
            await self._set_aside(file)
        for uid in (*self._objects, *contents.items):
            self.backlog.add(uid)

    async def resync(self) -> None:
        """Compare what is known with a fresh LIST: a watch that was cut off never tells of what was deleted meanwhile.

        Raises:
            ApiUnavailable, ApiRefused: there is no list; nothing is concluded from that.
        """
        listed = {found.uid: found for found in await self.server.list()}
        for uid in set(self._objects) - set(listed):
            del self._objects[uid]
        self._objects.update(listed)
        await self.look_at_all()

    # --- what it does ---

    async def work(self, uid: str) -> None:
        """Bring one sub-function nearer to what is asked, and say how it is; whatever fails is tried again."""
        try:
            delay = await self._work(uid)
        except ApiConflict:
            await self._reread(uid)
            delay = ApiConflict.default_retry
        except SubFunctionError as error:
            _LOG.warning("%s: %s", self._name(uid), error)
            delay = error.retry_after or self.usage_interval
        if delay is not None:
            self.backlog.add(uid, delay)

    async def _work(self, uid: str) -> float | None:
        await self._keep_names()
        desired = await self._desired(uid)
        if desired is None:
            return None
        wanted = desired.object
        if wanted is not None and not wanted.deleting and not wanted.held:
            # The finalizer is stored before anything is: from now on no deletion can pass us by.
            wanted = self._wrote(await self.server.hold(wanted))
            desired = Desired.of(wanted)

        async def told(outcome: Outcome) -> None:
            await self._report(uid, outcome)

        outcome = await self.node.settle(
            desired, lambda parent: numbers_of(list(self._objects.values()), parent, uid), told
        )
        self._remember(uid, outcome)
        if desired.deleting and outcome.gone:
            await self._let_go(uid)
            return None
        await self._report(uid, outcome)
        return self._again(outcome)

    async def _desired(self, uid: str) -> Desired | None:
        known = self._objects.get(uid)
        if known is not None:
            return Desired.of(known)
        record = await asyncio.to_thread(self.records.read, uid)
        if record is None:
            return None
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
            return _AGAIN if outcome.decision.kernel else self.usage_interval
        held = outcome.seen is not None and (outcome.seen.usage.held or outcome.seen.away)
        return self.usage_interval if held else None

    async def _report(self, uid: str, outcome: Outcome) -> None:
        """Write the status if it says something new, and an Event if Ready does."""
        known = self._objects.get(uid)
        if known is None:
            return
        said = status(known, outcome, _now())
        if said == known.status:
            return
        news = announcement(known, said)
        self._wrote(await self.server.write_status(known, said))
        if news is not None:
            await self._announce(known, news)

    async def _let_go(self, uid: str) -> None:
        known = self._objects.get(uid)
        if known is not None and known.held:
            await self.server.release(known)
            self._objects.pop(uid, None)
        self._written.pop(uid, None)
        self._devices = {device: owner for device, owner in self._devices.items() if owner != uid}

    async def _announce(self, of: SubFunction, event: Event) -> None:
        try:
            await self.server.announce(of, event, _now())
        except SubFunctionError as error:
            # The condition has said it already; an Event is the second place.
            _LOG.warning("%s: %s: %s (no Event: %s)", of.name, event.reason, event.message, error)

    async def _reread(self, uid: str) -> None:
        known = self._objects.get(uid)
        if known is None:
            return
        try:
            found = await self.server.get(known.name)
        except SubFunctionError as error:
            _LOG.warning("%s: %s", known.name, error)
            return
        if found is not None and found.uid == uid:
            self._objects[uid] = found
        else:
            self._objects.pop(uid, None)

    def _wrote(self, found: SubFunction) -> SubFunction:
        """Take over what the server made of a write; its echo in the watch is no news."""
        self._objects[found.uid] = found
        self._written[found.uid] = found.metadata.resource_version
        return found

    # --- what it keeps ---

    def _remember(self, uid: str, outcome: Outcome) -> None:
        seen = outcome.seen
        if seen is not None and seen.port is not None:
            self._devices[f"{seen.port.handle}/{seen.port.index}"] = uid
        if seen is not None and seen.auxiliary is not None:
            self._devices[str(seen.auxiliary.handle)] = uid

    async def _keep_names(self) -> None:
        """Keep the node's resource names where the plugin finds them after a reboot."""
        names = tuple(sorted({found.spec.resource for found in self._objects.values()}))
        if names != self._names:
            await asyncio.to_thread(self.resources.write, "resources", Resources(names=names))
            self._names = names

    async def _set_aside(self, file: Unreadable) -> None:
        """Move away what is no record of ours, and say so on the object it was of."""
        try:
            aside = await asyncio.to_thread(self.records.set_aside, file)
        except FolderError as error:
            _LOG.warning("%s", error)
            return
        message = f"the record {file.path.name} {file.why}; it is at {aside} now, and the kernel is looked at instead"
        _LOG.warning("%s", message)
        if (known := self._objects.get(file.uid)) is not None:
            await self._announce(known, Event(Reason.RECORD_UNREADABLE, message, warning=True))

    def _name(self, uid: str) -> str:
        known = self._objects.get(uid)
        return known.name if known else uid


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
