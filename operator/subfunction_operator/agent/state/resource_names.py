"""Stores the node's resource names where the device plugin finds them after a reboot, before there is any record."""

import asyncio
import dataclasses
import logging

from subfunction.errors import FolderError
from subfunction.state.resource_names import ResourceNames
from subfunction.state.store import FileStore
from subfunction_operator.agent.api.cache import SubFunctionCache
from subfunction_operator.agent.model.hooks import StepHooks, call_hooks
from subfunction_operator.agent.model.steps import WriteObject

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(slots=True)
class ResourceNameStore:
    """The file with the resource names that the node's objects ask for."""

    folder: FileStore[ResourceNames]
    cache: SubFunctionCache
    hooks: StepHooks
    _kept: tuple[str, ...] | None = None
    _turn: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)

    async def update(self) -> None:
        """Write the resource names of the known objects, if they changed (best effort)."""
        async with self._turn:
            names = {found.spec.resource for found in self.cache.list()}
            if not self.cache.synced:
                # Not all objects are known yet, so that no name of the existing file may be dropped.
                before = await asyncio.to_thread(self.folder.read, "resources")
                names |= set(before.names) if before else set()
            wanted = tuple(sorted(names))
            if wanted == self._kept:
                return
            try:
                with call_hooks(self.hooks, "resources", WriteObject("names", "resources")):
                    await asyncio.to_thread(self.folder.write, "resources", ResourceNames(names=wanted))
            except FolderError as error:
                # No device of this boot depends on the file; it is tried again with the next reconciliation.
                _LOG.warning("the resource names are not kept for the next boot: %s", error)
                return
            self._kept = wanted
