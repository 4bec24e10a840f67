"""The node's resource names, kept where the plugin finds them after a reboot, before there is any record."""

import asyncio
import dataclasses
import logging

from subfunction.errors import FolderError
from subfunction.folder import Folder
from subfunction.resources import Resources
from subfunction_operator.objects import Objects
from subfunction_operator.seam import Seam, heard
from subfunction_operator.step import WriteObject

_LOG = logging.getLogger("subfunction.agent")


@dataclasses.dataclass(slots=True)
class KeptNames:
    """The names that the node's objects ask to be offered under, in their file."""

    folder: Folder[Resources]
    objects: Objects
    seam: Seam
    _kept: tuple[str, ...] | None = None
    _turn: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)

    async def keep(self) -> None:
        """Bring the file to what is known, as well as that can be done."""
        async with self._turn:
            names = {found.spec.resource for found in self.objects.all()}
            if not self.objects.listed:
                # Not all objects are known yet: none that stands there from before is dropped on that.
                before = await asyncio.to_thread(self.folder.read, "resources")
                names |= set(before.names) if before else set()
            wanted = tuple(sorted(names))
            if wanted == self._kept:
                return
            try:
                with heard(self.seam, "resources", WriteObject("names", "resources")):
                    await asyncio.to_thread(self.folder.write, "resources", Resources(names=wanted))
            except FolderError as error:
                # The devices themselves do not depend on it; it is tried again with the next object.
                _LOG.warning("the resource names are not kept for the next boot: %s", error)
                return
            self._kept = wanted
