"""What the agent writes to its objects: finalizer, status, Events; the seam hears of each."""

import dataclasses
import logging

from subfunction.api import SubFunction
from subfunction.errors import SubFunctionError
from subfunction_operator.apiserver import ApiServer
from subfunction_operator.backlog import Backlog
from subfunction_operator.endpoint import now
from subfunction_operator.event import Event
from subfunction_operator.objects import Objects, asks_otherwise
from subfunction_operator.outcome import Outcome
from subfunction_operator.seam import Seam, heard
from subfunction_operator.status import announcement, status
from subfunction_operator.step import WriteObject

_LOG = logging.getLogger("subfunction.agent")


@dataclasses.dataclass(frozen=True, slots=True)
class Writes:
    """The writes to objects; what the server made of one is what is known from then on."""

    server: ApiServer
    objects: Objects
    backlog: Backlog
    seam: Seam

    async def hold(self, wanted: SubFunction) -> SubFunction:
        """Set our finalizer, and give the object as it is with it.

        Raises:
            ApiConflict: somebody changed it meanwhile.
        """
        with heard(self.seam, wanted.uid, WriteObject("finalizer", wanted.name)):
            return self._answered(await self.server.hold(wanted))

    async def release(self, held: SubFunction) -> None:
        """Take our finalizer off, and know nothing of the object any more."""
        with heard(self.seam, held.uid, WriteObject("release", held.name)):
            await self.server.release(held)
        self.objects.forget(held.uid)

    async def report(self, of: SubFunction, outcome: Outcome) -> None:
        """Write the status if it says something new, and an Event if Ready does."""
        known = self.objects.get(of.uid)
        if known is None or asks_otherwise(known, of):
            return  # something else is asked meanwhile, and will be answered in its turn
        said = status(known, outcome, now())
        if said == known.status:
            return
        news = announcement(known, said)
        with heard(self.seam, of.uid, WriteObject("status", of.name)):
            self._answered(await self.server.write_status(known, said))
        if news is not None:
            level = logging.WARNING if news.warning else logging.INFO
            _LOG.log(level, "%s: %s: %s", known.name, news.reason, news.message)
            await self.announce(known, news)

    async def announce(self, of: SubFunction, event: Event) -> None:
        """Post an Event, as well as that can be done."""
        try:
            with heard(self.seam, of.uid, WriteObject("event", of.name)):
                await self.server.announce(of, event)
        except SubFunctionError as error:
            # The condition has said it already; an Event is the second place.
            _LOG.warning("%s: %s: %s (no Event: %s)", of.name, event.reason, event.message, error)

    def _answered(self, found: SubFunction) -> SubFunction:
        """Take over what the server made of a write: its echo in the watch is no news, what others did meanwhile is."""
        known = self.objects.get(found.uid)
        if known is not None and self.objects.learn(found) and asks_otherwise(found, known):
            # The watch tells of it later, when it is no newer than what is known by then.
            self.backlog.add(found.uid)
        return found
