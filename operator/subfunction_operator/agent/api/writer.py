"""Writes finalizer, status and Events of SubFunctions; the hooks are called around each write."""

import dataclasses
import logging

from subfunction.api.subfunction import KIND, SubFunction
from subfunction_operator.agent.api.cache import SubFunctionCache, differs_in_spec
from subfunction_operator.agent.api.client import SubFunctionClient
from subfunction_operator.agent.api.status import build_status, event_for
from subfunction_operator.agent.model.decision import ReconcileResult
from subfunction_operator.agent.model.hooks import StepHooks, call_hooks
from subfunction_operator.agent.model.steps import WriteObject
from subfunction_operator.kube.events import Event, EventRecorder, ObjectReference
from subfunction_operator.kube.rest import now
from subfunction_operator.kube.workqueue import WorkQueue

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class StatusWriter:
    """Writes to objects, and stores the server's answer in the cache."""

    client: SubFunctionClient
    events: EventRecorder
    cache: SubFunctionCache
    queue: WorkQueue
    hooks: StepHooks

    async def add_finalizer(self, wanted: SubFunction) -> SubFunction:
        """Add our finalizer, and return the object with it.

        Raises:
            ApiConflict: the object was changed meanwhile.
        """
        with call_hooks(self.hooks, wanted.uid, WriteObject("finalizer", wanted.name)):
            return self._store_answer(await self.client.add_finalizer(wanted))

    async def remove_finalizer(self, known: SubFunction) -> None:
        """Remove our finalizer, and delete the object from the cache."""
        with call_hooks(self.hooks, known.uid, WriteObject("release", known.name)):
            await self.client.remove_finalizer(known)
        self.cache.delete_known(known)

    async def update_status(self, of: SubFunction, result: ReconcileResult) -> None:
        """Write the status if it differs from the known one, and post an Event if Ready changed."""
        known = self.cache.get(of.uid)
        if known is None or differs_in_spec(known, of):
            return  # the spec changed meanwhile, and the key is in the queue for that
        status = build_status(known, result, now())
        if status == known.status:
            return
        event = event_for(known, status)
        with call_hooks(self.hooks, of.uid, WriteObject("status", of.name)):
            self._store_answer(await self.client.update_status(known, status))
        if event is not None:
            level = logging.WARNING if event.warning else logging.INFO
            _LOG.log(level, "%s: %s: %s", known.name, event.reason, event.message)
            await self.record_event(known, event)

    async def record_event(self, of: SubFunction, event: Event) -> None:
        """Post an Event about an object."""
        with call_hooks(self.hooks, of.uid, WriteObject("event", of.name)):
            await self.events.record(ObjectReference(KIND, of.name, of.uid, of.metadata.resource_version), event)

    def _store_answer(self, found: SubFunction) -> SubFunction:
        """Store the server's answer to a write; enqueue the key if the answer also has a change by another client."""
        known = self.cache.get(found.uid)
        if known is not None and self.cache.upsert_answer(found) and differs_in_spec(found, known):
            # The watch reports that change later, but by then the cache has it, so that the watch would not enqueue it.
            self.queue.add(found.uid)
        return found
