"""Keeps the SubFunctionNode up to date: discovers the node after an event, and writes the status if it changed.

Events come in bursts, and most are about changes that a SubFunction asked for. However many there are, the node is
discovered once in `pace` seconds, and so written at most once. The object is read at the start and with each resync,
never watched.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol

from subfunction.api.node import NodeStatus, OwnerReference, SubFunctionNode
from subfunction.errors import ApiRefused, KernelBusy, SubFunctionError
from subfunction.kernel.address import Handle
from subfunction_operator.agent.inventory.client import InventoryClient
from subfunction_operator.agent.inventory.discovery import DiscoveredNode
from subfunction_operator.agent.inventory.discovery_thread import DiscoveryThread
from subfunction_operator.agent.inventory.status import NodeFacts, build_node_status, build_unseen_status
from subfunction_operator.kube.backoff import RateLimiter
from subfunction_operator.kube.rest import now

_LOG = logging.getLogger(__name__)

_GATHER: Final = 0.2
"""The part of a pace for which events are gathered before the node is discovered."""

_DISCOVERY, _WRITE = "discovery", "write"
"""What is backed off, each by itself."""

_REQUEUE_SECONDS: Final = 30.0
"""Seconds until the next try after an error that has no `retry_after`."""


class DiscoveryObserver(Protocol):
    """What is called after each discovery."""

    def __call__(self, errors: Sequence[SubFunctionError], *, answered: bool) -> None:
        """Handle the errors of single parents or of the whole; `answered` is False if the kernel answered nothing."""


def _ignore(errors: Sequence[SubFunctionError], *, answered: bool) -> None:
    """Do nothing about a discovery, whatever it found."""
    del errors, answered


class InventoryReporter:
    """Keeps one node's object up to date.

    `pace` is in seconds. `on_discovered` is called after each discovery.
    """

    def __init__(
        self,
        discovery: DiscoveryThread,
        client: InventoryClient,
        facts: NodeFacts,
        *,
        pace: float,
        on_discovered: DiscoveryObserver = _ignore,
    ) -> None:
        self._discovery = discovery
        self._client = client
        self._facts = facts
        self._pace = pace
        self._on_discovered = on_discovered
        self._wanted = asyncio.Event()
        self._limiter = RateLimiter()
        self._synced = False
        self._owner: OwnerReference | None = None
        self._known: SubFunctionNode | None = None
        self._written: NodeStatus | None = None
        self._answered: NodeStatus | None = None
        self._logged: dict[Handle, str] = {}
        """The error of each parent that has one, as logged."""

    def wake(self) -> None:
        """Request a discovery: something of the node may have changed."""
        if self._synced:
            self._wanted.set()

    def on_listed(self) -> None:
        """Start to discover: this node's objects were listed, so that the foreign sub-functions can be told."""
        self._synced = True
        self.resync()

    def resync(self) -> None:
        """Request a discovery that also reads the object anew: it is not watched, and others may have changed it."""
        self._known = None
        self.wake()

    def stop(self) -> None:
        """End the discovery's thread after its current job."""
        self._discovery.stop()

    async def run(self) -> None:
        """Discover and write for ever, after `on_listed` was called once."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(self._pace * _GATHER)
            self._wanted.clear()
            try:
                await self._reconcile()
                self._limiter.forget(_WRITE)
            except SubFunctionError as error:
                _LOG.warning("the SubFunctionNode is not up to date: %s", error)
                if isinstance(error, ApiRefused):
                    self._known = None  # the object may have been replaced or deleted
                self._wake_after(self._limiter.when(_WRITE, error))
            await asyncio.sleep(self._pace * (1 - _GATHER))

    async def _reconcile(self) -> None:
        result = await self._discover()
        known = self._known = self._known or await self._get_or_create()
        if isinstance(result, DiscoveredNode):
            status = build_node_status(result, self._facts, known.status, now())
        else:
            status = build_unseen_status(result, self._facts, known.status, now())
        # A CRD older than the agent drops unknown fields: the same status is not written again to add them.
        pruned = known.status == self._answered and status == self._written
        if status == known.status or pruned:
            return
        self._known = await self._client.update_status(known, status)
        self._written, self._answered = status, self._known.status
        _LOG.info("wrote the status of the SubFunctionNode: %s", status)

    async def _discover(self) -> DiscoveredNode | SubFunctionError:
        try:
            node = await self._discovery.discover()
        except SubFunctionError as error:
            self._on_discovered((error,), answered=not isinstance(error, KernelBusy))
            _LOG.warning("the node cannot be surveyed: %s", error)
            self._wake_after(self._limiter.when(_DISCOVERY, error))
            return error
        silent = all(isinstance(parent.error, KernelBusy) for parent in node.parents)
        errors = {parent.function.handle: parent.error for parent in node.parents if parent.error is not None}
        self._on_discovered(tuple(errors.values()), answered=not (errors and silent))
        self._log_changes({handle: str(error) for handle, error in errors.items()})
        if errors:
            # Nothing announces that a card answers again.
            self._wake_after(self._limiter.when(_DISCOVERY, next(iter(errors.values()))))
        else:
            self._limiter.forget(_DISCOVERY)
        return node

    def _log_changes(self, errors: dict[Handle, str]) -> None:
        for handle, words in errors.items():
            if self._logged.get(handle) != words:
                _LOG.warning("%s cannot be surveyed: %s", handle, words)
        for handle in self._logged.keys() - errors.keys():
            _LOG.info("%s answers again", handle)
        self._logged = errors

    async def _get_or_create(self) -> SubFunctionNode:
        """Return the object as the server has it; create it if there is none, and let the present Node own it."""
        found = await self._client.get()
        if found is None or self._owner is None:
            self._owner = await self._client.read_owner()
        if found is None:
            return await self._client.create(self._owner)
        if self._owner not in found.metadata.owner_references:
            return await self._client.set_owner(found, self._owner)
        return found

    def _wake_after(self, seconds: float | None) -> None:
        asyncio.get_running_loop().call_later(_REQUEUE_SECONDS if seconds is None else seconds, self._wanted.set)
