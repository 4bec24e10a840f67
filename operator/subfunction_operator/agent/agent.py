"""The agent: makes the kernel follow the SubFunction objects, and writes their status. Level-triggered.

Every event (an object changes, the kernel changes a device, the device plugin allocates one, time passes) only adds a
uid to the work queue. What is then done depends on the object, the observation and what was tried already, not on the
event. `Agent._reconcile` does it in this order:

    resource names       the file by which the device plugin registers after a reboot (state/resource_names.py)
    quarantine           a record that cannot be read is moved aside (state/quarantine.py)
    desired state        the object, or the deletion of a record whose object the server does not have
    finalizer            added before the first observation, so before anything is made
    run until settled    observe, plan, execute in the parent's thread (reconcile/dispatcher.py)
    finalizer or status  removed where a deletion has left nothing to do; else the status is written if it differs
    requeue              after an error or while it waits, with a delay
"""

import asyncio
import dataclasses
import logging
from typing import Final

from subfunction.api.reasons import Reason
from subfunction.api.subfunction import SubFunction
from subfunction.errors import ApiRefused, ApiUnavailable, SubFunctionError
from subfunction.process.log import log_context
from subfunction.process.metrics import AgentMetrics
from subfunction.state.records import Record
from subfunction.state.store import FileStore
from subfunction_operator.agent.api.cache import SubFunctionCache
from subfunction_operator.agent.api.client import SubFunctionClient
from subfunction_operator.agent.api.writer import StatusWriter
from subfunction_operator.agent.model.decision import ReconcileResult, Wait
from subfunction_operator.agent.model.observation import Desired
from subfunction_operator.agent.plan.resource_name import require_resource_name
from subfunction_operator.agent.reconcile.dispatcher import KernelDispatcher, reserved_numbers
from subfunction_operator.agent.state.quarantine import RecordQuarantine
from subfunction_operator.agent.state.resource_names import ResourceNameStore
from subfunction_operator.agent.triggers.enqueue import EVERYTHING, EventEnqueuer
from subfunction_operator.kube.backoff import RateLimiter
from subfunction_operator.kube.workqueue import WorkQueue

_LOG = logging.getLogger(__name__)

_REQUEUE_SECONDS: Final = 1.0
"""Seconds until a sub-function that waits for the kernel is reconciled again."""

_STALE: Final = frozenset({404, 409})
"""HTTP statuses of a write whose object was changed, replaced or deleted meanwhile."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Agent:
    """One node's agent: its cache of objects, its work queue, and the parts that reconcile a key."""

    cache: SubFunctionCache
    dispatcher: KernelDispatcher
    client: SubFunctionClient
    writer: StatusWriter
    records: FileStore[Record]
    quarantine: RecordQuarantine
    resource_names: ResourceNameStore
    queue: WorkQueue
    enqueuer: EventEnqueuer
    metrics: AgentMetrics
    usage_interval: float
    limiter: RateLimiter = dataclasses.field(default_factory=RateLimiter)

    # --- what wakes it ---

    def on_event(self, found: SubFunction, *, deleted: bool = False) -> None:
        """Handle an event of the watch: store or delete the object, and enqueue its key if that is new."""
        if deleted:
            self.cache.delete(found)
            self.queue.add(found.uid)
        elif self.cache.upsert(found):
            self.queue.add(found.uid)

    async def relist(self) -> None:
        """Replace the cache by a new LIST: a watch that was cut off never reports what was deleted meanwhile.

        Raises:
            ApiUnavailable, ApiRefused: there is no list, and the cache stays as it is.
        """
        found = await self.client.list()
        self.cache.replace(found.items, found.version, keep=found.undecodable)
        await self.resource_names.update()
        await self.enqueue_all()

    async def enqueue_all(self) -> None:
        """Enqueue the key of every object and of every record."""
        contents = await asyncio.to_thread(self.records.read_all)
        await self.quarantine.check_unowned(contents.unreadable)
        for uid in (*self.cache.items, *contents.items):
            self.queue.add(uid)

    # --- what it does ---

    async def reconcile(self, uid: str) -> None:
        """Reconcile one sub-function and write its status; a failure is requeued, never raised."""
        if uid == EVERYTHING:
            await self.enqueue_all()
            return
        with log_context(self.cache.name(uid)):
            delay = await self._reconcile_safely(uid)
        if delay is not None:
            self.queue.add(uid, delay)

    async def _reconcile_safely(self, uid: str) -> float | None:
        try:
            return await self._reconcile(uid)
        except SubFunctionError as error:
            return await self._handle_error(uid, error)
        except Exception as fault:  # noqa: BLE001  # a fault in one object must not end the others
            _LOG.critical("%s: a fault of the agent", self.cache.name(uid), exc_info=fault)
            hint = "This is a fault of the agent: report it with the agent's log."
            return await self._handle_error(
                uid, SubFunctionError(f"unexpected: {fault!r}", hint=hint, retry_after=60.0)
            )

    async def _reconcile(self, uid: str) -> float | None:
        """Reconcile one sub-function; return the seconds until a requeue, None where only an event is waited for.

        The order is that of the module's docstring. Before the first LIST nothing is done for a record without a known
        object, or for an object whose status names no parent.

        Raises:
            SubFunctionError: the API server or a file failed. What the kernel refused is in the status instead.
        """
        await self.resource_names.update()
        await self.quarantine.check(uid)
        desired = await self._read_desired(uid)
        if desired is None:
            return None
        wanted = desired.object
        if wanted is not None and wanted.status.parent is None and not self.cache.synced:
            return None  # objects with a parent come first, and not all are known before the first LIST
        if wanted is not None and not wanted.deleting and not wanted.has_finalizer:
            # The finalizer is added before anything is created, so that no deletion is missed from now on.
            wanted = await self.writer.add_finalizer(wanted)
            desired = Desired.of(wanted)
        self.enqueuer.on_start(uid)
        result = await self._run_until_settled(desired, uid)
        if result.error is not None:
            self.metrics.record_error(result.error.reason)
        self.enqueuer.on_result(uid, result)
        if desired.deleting and result.released:
            await self._remove_finalizer_if_present(uid)
            return None
        if wanted is not None:
            await self.writer.update_status(wanted, result)
        return self._requeue_after(uid, result)

    async def _read_desired(self, uid: str) -> Desired | None:
        known = self.cache.get(uid)
        if known is not None:
            return Desired.of(known)
        record = await asyncio.to_thread(self.records.read, uid)
        if record is None:
            return None
        if not self.cache.synced:
            return None  # most objects are not known yet; the first LIST enqueues every record again
        # A record without a known object is an orphan only if the server answers that there is no such object.
        found = await self._refresh(uid, record.name)
        return Desired.of(found) if found is not None else Desired.orphan(record)

    async def _run_until_settled(self, desired: Desired, uid: str) -> ReconcileResult:
        if desired.object is not None and not desired.deleting:
            require_resource_name(desired.object, self.cache.list())
        return await self.dispatcher.run_until_settled(
            desired, lambda parent: reserved_numbers(self.cache.list(), parent, uid)
        )

    async def _remove_finalizer_if_present(self, uid: str) -> None:
        known = self.cache.get(uid)
        if known is not None and known.has_finalizer:
            await self.writer.remove_finalizer(known)
        self.enqueuer.forget(uid)
        self.limiter.forget(uid)

    def _requeue_after(self, uid: str, result: ReconcileResult) -> float | None:
        """Return the seconds until a requeue without an event; None where events of the kernel and the API suffice."""
        if result.error is not None:
            return self.limiter.when(uid, result.error)
        self.limiter.forget(uid)
        self.enqueuer.on_success(uid)
        if isinstance(result.decision, Wait):
            if result.decision.reason is Reason.FORCED:
                return 0.0  # the status reports it by now
            return _REQUEUE_SECONDS if result.decision.kernel else self.usage_interval
        return self.usage_interval if result.seen is not None and result.seen.in_use else None

    async def _handle_error(self, uid: str, error: SubFunctionError) -> float | None:
        """Report an error in the object's status, if it can be written; return the seconds until the next try."""
        _LOG.warning("%s: %s", self.cache.name(uid), error)
        self.metrics.record_error(error.reason)
        self.enqueuer.on_error(uid)
        if (known := self.cache.get(uid)) is None:
            return self.limiter.when(uid, error)
        try:
            if isinstance(error, ApiRefused) and error.status in _STALE:
                await self._refresh(uid, known.name)
            elif not isinstance(error, ApiRefused | ApiUnavailable):
                await self.writer.update_status(known, ReconcileResult(None, error=error))
        except SubFunctionError as unreported:
            _LOG.warning("%s: %s", known.name, unreported)
        return self.limiter.when(uid, error)

    async def _refresh(self, uid: str, name: str) -> SubFunction | None:
        """Read an object from the server by its name, store it, and return it; None where uid is gone."""
        return self.cache.overwrite(uid, await self.client.get(name))
