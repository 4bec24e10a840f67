"""The agent: from an object that changed to a kernel that follows and a status that says so. Level-triggered.

Whatever happens (an object changes, the kernel announces something, the device plugin hands a device out, time passes)
ends as a uid in the backlog; what is then done depends on nothing but what is asked and what is seen.
"""

import asyncio
import dataclasses
import logging
from typing import Final

from subfunction.api import SubFunction
from subfunction.errors import ApiRefused, ApiUnavailable, SubFunctionError
from subfunction.folder import Folder
from subfunction.journal import concerning
from subfunction.metrics import AgentMetrics
from subfunction.reasons import Reason
from subfunction.records import Record
from subfunction_operator.apiserver import ApiServer
from subfunction_operator.attention import EVERYTHING, Attention
from subfunction_operator.backlog import Backlog
from subfunction_operator.decision import Wait
from subfunction_operator.keptnames import KeptNames
from subfunction_operator.node import Node, numbers_of
from subfunction_operator.objects import Objects
from subfunction_operator.observation import Desired
from subfunction_operator.outcome import Outcome
from subfunction_operator.resourcenames import uncontested
from subfunction_operator.tornrecords import TornRecords
from subfunction_operator.writes import Writes

_LOG = logging.getLogger("subfunction.agent")

_AGAIN: Final = 1.0
"""Seconds until a wait for the kernel is taken up again."""

_STALE: Final = frozenset({404, 409})
"""What the API server answers when the object is another one than we know, or none any more."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Agent:
    """One node's agent: what it knows, what it works with, and the backlog of what to look at."""

    objects: Objects
    node: Node
    server: ApiServer
    writes: Writes
    records: Folder[Record]
    torn: TornRecords
    names: KeptNames
    backlog: Backlog
    attention: Attention
    metrics: AgentMetrics
    usage_interval: float

    # --- what wakes it ---

    def seen(self, found: SubFunction, *, deleted: bool = False) -> None:
        """Hear from the watch that an object is as it is, or is gone."""
        if deleted:
            self.objects.forget(found.uid)
            self.backlog.add(found.uid)
        elif self.objects.learn(found):
            self.backlog.add(found.uid)

    async def compare(self) -> None:
        """Compare what is known with a fresh LIST: a watch that was cut off never tells of what was deleted meanwhile.

        Raises:
            ApiUnavailable, ApiRefused: there is no list; nothing is concluded from that.
        """
        before = self.objects.uids()
        found, strange = await self.server.list()
        self.objects.take_list(found, before - strange)
        await self.names.keep()
        await self.look_at_all()

    async def look_at_all(self) -> None:
        """Hear that anything may have happened."""
        contents = await asyncio.to_thread(self.records.read_all)
        await self.torn.look_at_strangers(contents.unreadable)
        for uid in (*self.objects.uids(), *contents.items):
            self.backlog.add(uid)

    # --- what it does ---

    async def work(self, uid: str) -> None:
        """Bring one sub-function nearer to what is asked, and say how it is; whatever fails is tried again."""
        if uid == EVERYTHING:
            await self.look_at_all()
            return
        with concerning(self.objects.name(uid)):
            delay = await self._worked(uid)
        if delay is not None:
            self.backlog.add(uid, delay)

    async def _worked(self, uid: str) -> float | None:
        try:
            return await self._work(uid)
        except SubFunctionError as error:
            return await self._failed(uid, error)
        except Exception as fault:  # noqa: BLE001  # one object's trouble must not be every other's
            _LOG.critical("%s: a fault of the agent", self.objects.name(uid), exc_info=fault)
            hint = "This is a fault of the agent: report it with the agent's log."
            return await self._failed(uid, SubFunctionError(f"unexpected: {fault!r}", hint=hint, retry_after=60.0))

    async def _work(self, uid: str) -> float | None:
        await self.names.keep()
        await self.torn.look_at(uid)
        desired = await self._desired(uid)
        if desired is None:
            return None
        wanted = desired.object
        if wanted is not None and wanted.status.parent is None and not self.objects.listed:
            return None  # those that have a place go first, and are not all known before the first LIST
        if wanted is not None and not wanted.deleting and not wanted.held:
            # The finalizer is stored before anything is: from now on no deletion can pass us by.
            wanted = await self.writes.hold(wanted)
            desired = Desired.of(wanted)
        outcome = await self._settled(desired, uid)
        if outcome.error is not None:
            self.metrics.failed(outcome.error.reason)
        self.attention.looked_at(uid, outcome)
        if desired.deleting and outcome.gone:
            await self._let_go(uid)
            return None
        if wanted is not None:
            await self.writes.report(wanted, outcome)
        return self._again(outcome)

    async def _desired(self, uid: str) -> Desired | None:
        known = self.objects.get(uid)
        if known is not None:
            return Desired.of(known)
        record = await asyncio.to_thread(self.records.read, uid)
        if record is None:
            return None
        if not self.objects.listed:
            return None  # most objects are not known yet, and the first LIST looks at every record again
        # A record without an object: only the server's own answer that there is none makes it an orphan.
        found = await self._asked(uid, record.name)
        return Desired.of(found) if found is not None else Desired.orphan(record)

    async def _settled(self, desired: Desired, uid: str) -> Outcome:
        if desired.object is not None and not desired.deleting:
            uncontested(desired.object, self.objects.all())
        return await self.node.settle(desired, lambda parent: numbers_of(self.objects.all(), parent, uid))

    async def _let_go(self, uid: str) -> None:
        known = self.objects.get(uid)
        if known is not None and known.held:
            await self.writes.release(known)
        self.attention.forget(uid)

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

    async def _failed(self, uid: str, error: SubFunctionError) -> float | None:
        """Say on the object what came between, where that can be said; give the seconds until the next try."""
        _LOG.warning("%s: %s", self.objects.name(uid), error)
        self.metrics.failed(error.reason)
        self.attention.expect_news(uid)
        if (known := self.objects.get(uid)) is None:
            return error.retry_after
        try:
            if isinstance(error, ApiRefused) and error.status in _STALE:
                await self._asked(uid, known.name)
            elif not isinstance(error, ApiRefused | ApiUnavailable):
                await self.writes.report(known, Outcome(None, error=error))
        except SubFunctionError as unsaid:
            _LOG.warning("%s: %s", known.name, unsaid)
        return error.retry_after

    async def _asked(self, uid: str, name: str) -> SubFunction | None:
        """Ask the server for an object by its name, and take over what it says."""
        return self.objects.correct(uid, await self.server.get(name))
