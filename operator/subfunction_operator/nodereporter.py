"""The SubFunctionNode kept true: a look when something was announced, a write when the look found something new.

Announcements come in bursts, and most are of what an object asked for: however many there are, there is one look in
`pace` seconds, and so at most one write. The object is read at the beginning and with each comparison, never watched.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from subfunction.api_node import NodeStatus, OwnerReference, SubFunctionNode
from subfunction.errors import ApiRefused, SubFunctionError
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.transport import Transport
from subfunction.kernel.worker import Worker
from subfunction_operator.endpoint import now
from subfunction_operator.nodeclient import NodeClient
from subfunction_operator.nodestatus import About, node_status, unseen_status
from subfunction_operator.survey import Numbered, Survey, Surveyor

_LOG = logging.getLogger("subfunction.node")

_GATHER: Final = 0.2
"""The part of a pace for which announcements are gathered before the look."""

_AGAIN: Final = 30.0
"""Seconds until the next try after a fault that does not say so itself."""


def _unheard(_: SubFunctionError | None) -> None:
    """Take no notice."""


class NodeReporter:
    """What keeps one node's object true. `named` gives the sub-functions that objects name; `pace` is in seconds.

    `looked` hears of each look at the kernel, with what came between.
    """

    def __init__(  # noqa: PLR0913  # what it stands on, each once
        self,
        surveyor: Surveyor,
        transport: Transport,
        client: NodeClient,
        about: About,
        named: Callable[[], Numbered],
        *,
        pace: float,
        deadline: float,
        looked: Callable[[SubFunctionError | None], None] = _unheard,
    ) -> None:
        self._surveyor = surveyor
        self._client = client
        self._about = about
        self._named = named
        self._pace = pace
        self._deadline = deadline
        self._looked = looked
        self._netlink = Netlink(transport)
        # Of its own: a parent that hangs delays this look, and nobody's else.
        self._worker = Worker("survey")
        self._wanted = asyncio.Event()
        self._listed = False
        self._owner: OwnerReference | None = None
        self._known: SubFunctionNode | None = None
        self._written: NodeStatus | None = None
        self._answered: NodeStatus | None = None

    def wake(self) -> None:
        """Hear that something of the node may have changed."""
        if self._listed:
            self._wanted.set()

    def listed(self) -> None:
        """Hear that this node's objects are known, as of now."""
        self._listed = True
        self.compare()

    def compare(self) -> None:
        """Read the object anew at the next look: nobody tells of what others did to it."""
        self._known = None
        self.wake()

    def stop(self) -> None:
        """Let the thread end after what it has in hand, with its socket."""
        self._worker.stop(self._netlink.close)

    async def report(self) -> None:
        """Look and write for ever, once the first LIST was heard of."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(self._pace * _GATHER)
            self._wanted.clear()
            try:
                await self._report()
            except SubFunctionError as error:
                _LOG.warning("the SubFunctionNode is not as the node is: %s", error)
                if isinstance(error, ApiRefused):
                    self._known = None  # it may be another one by now, or none
                self._wake_in(error.retry_after)
            await asyncio.sleep(self._pace * (1 - _GATHER))

    async def _report(self) -> None:
        outcome = await self._surveyed()
        known = self._known = self._known or await self._found()
        if isinstance(outcome, Survey):
            said = node_status(outcome, self._about, known.status, now())
        else:
            said = unseen_status(outcome, self._about, known.status, now())
        # A CRD older than the agent drops what it does not know: that the server has less than we said is no news.
        unlearned = known.status == self._answered and said == self._written
        if said == known.status or unlearned:
            return
        self._known = await self._client.write(known, said)
        self._written, self._answered = said, self._known.status
        _LOG.info("the SubFunctionNode says: %s", said)

    async def _surveyed(self) -> Survey | SubFunctionError:
        named = self._named()
        try:
            survey = await self._worker.run(
                "survey the node", lambda: self._surveyor.look(Devlink(self._netlink), named), self._deadline
            )
        except SubFunctionError as error:
            self._looked(error)
            _LOG.warning("the node cannot be surveyed: %s", error)
            self._wake_in(error.retry_after)
            return error
        self._looked(None)
        return survey

    async def _found(self) -> SubFunctionNode:
        """Give the object as the server has it, made if there is none; the Node of now owns it."""
        found = await self._client.find()
        if found is None or self._owner is None:
            self._owner = await self._client.owner()
        if found is None:
            return await self._client.make(self._owner)
        if self._owner not in found.metadata.owner_references:
            return await self._client.give_to(found, self._owner)
        return found

    def _wake_in(self, seconds: float | None) -> None:
        asyncio.get_running_loop().call_later(_AGAIN if seconds is None else seconds, self._wanted.set)
