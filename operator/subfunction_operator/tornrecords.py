"""Records that cannot be read: each is moved aside before another is written in its place, and its object says so."""

import asyncio
import dataclasses
import logging
from collections.abc import Iterable

from subfunction.errors import FolderError
from subfunction.folder import Folder, Unreadable
from subfunction.reasons import Reason
from subfunction.records import Record
from subfunction_operator.event import Event
from subfunction_operator.objects import Objects
from subfunction_operator.writes import Writes

_LOG = logging.getLogger("subfunction.agent")


@dataclasses.dataclass(frozen=True, slots=True)
class TornRecords:
    """Who moves them; before the first LIST only those of objects that are known."""

    records: Folder[Record]
    objects: Objects
    writes: Writes

    async def look_at(self, uid: str) -> None:
        """Move the record of one sub-function aside if it cannot be read; only while it is that one's turn."""
        if not self.objects.listed and self.objects.get(uid) is None:
            return
        found = await asyncio.to_thread(self.records.examine, uid)
        if isinstance(found, Unreadable):
            await self._set_aside(found)

    async def look_at_strangers(self, files: Iterable[Unreadable]) -> None:
        """Move those aside that are of no object; that of an object has its turn, when nobody else writes it."""
        for file in files:
            if self.objects.listed and self.objects.get(file.uid) is None:
                await self._set_aside(file)

    async def _set_aside(self, file: Unreadable) -> None:
        try:
            aside = await asyncio.to_thread(self.records.set_aside, file)
        except FolderError as error:
            _LOG.warning("%s", error)
            return
        message = f"the record {file.path.name} {file.why}; it is at {aside} now, and the kernel is looked at instead"
        _LOG.warning("%s", message)
        if (of := self.objects.get(file.uid)) is not None:
            await self.writes.announce(of, Event(Reason.RECORD_UNREADABLE, message, warning=True))
