"""Moves records that cannot be read aside before another one is written, and posts an Event about each."""

import asyncio
import dataclasses
import logging
from collections.abc import Iterable

from subfunction.api.reasons import Reason
from subfunction.errors import FolderError
from subfunction.state.records import Record
from subfunction.state.store import CorruptFile, FileStore
from subfunction_operator.agent.api.cache import SubFunctionCache
from subfunction_operator.agent.api.writer import StatusWriter
from subfunction_operator.kube.events import Event

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class RecordQuarantine:
    """Moves unreadable records aside; before the first LIST only those of objects that are known."""

    records: FileStore[Record]
    cache: SubFunctionCache
    writer: StatusWriter

    async def check(self, uid: str) -> None:
        """Move the record of one sub-function aside if it cannot be read; only for the worker that has its key."""
        if not self.cache.synced and self.cache.get(uid) is None:
            return
        found = await asyncio.to_thread(self.records.examine, uid)
        if isinstance(found, CorruptFile):
            await self._set_aside(found)

    async def check_unowned(self, files: Iterable[CorruptFile]) -> None:
        """Move the files of no known object aside; the file of an object is checked by the worker that has its key."""
        for file in files:
            if self.cache.synced and self.cache.get(file.uid) is None:
                await self._set_aside(file)

    async def _set_aside(self, file: CorruptFile) -> None:
        try:
            aside = await asyncio.to_thread(self.records.quarantine, file)
        except FolderError as error:
            _LOG.warning("%s", error)
            return
        message = f"the record {file.path.name} {file.why}; it is at {aside} now, and the kernel is looked at instead"
        _LOG.warning("%s", message)
        if (of := self.cache.get(file.uid)) is not None:
            await self.writer.record_event(of, Event(Reason.RECORD_UNREADABLE, message, warning=True))
