"""What a deleted Node left: its agent will not come back to take its finalizer off, and its pools want nothing there.

NotReady is not gone. Gone is a Node that the server, asked by name, does not have, and does not have again after a
while: nothing is concluded from a list, a watch or a failed request. Only objects are cleared away. Should the machine
live on and come back, its agent finds records without objects, and does with each sub-function what its deletionPolicy
says there: `Retain` leaves it in the kernel, all else drains it.
"""

import asyncio
import logging
from typing import Final

from subfunction.errors import ApiConflict
from subfunction_operator.controller.cluster import Cluster
from subfunction_operator.controller.member import Member
from subfunction_operator.controller.writes import Writes

_LOG = logging.getLogger("subfunction.gone")

_AGAIN: Final = 5.0
"""Seconds until a Node is looked for again that is there, though the watch has not told."""


class Gone:
    """The Nodes that are missing, and since when."""

    def __init__(self, cluster: Cluster, writes: Writes, grace: float) -> None:
        self._cluster = cluster
        self._writes = writes
        self._grace = grace
        self._missing: dict[str, float] = {}

    async def work(self, node: str) -> float | None:
        """Look at a Node that is named and not known; gives the seconds until the next look.

        Raises:
            ApiUnavailable, ApiRefused: there is no answer, and nothing is concluded.
        """
        left = [member for member in self._cluster.on(node).values() if _is_left(member)]
        if self._cluster.nodes.get(node) is not None or not left:
            self._missing.pop(node, None)
            return None
        if await self._writes.read_node(node) is not None:
            self._missing.pop(node, None)
            return _AGAIN
        now = asyncio.get_running_loop().time()
        since = self._missing.setdefault(node, now)
        if now < since + self._grace:
            return since + self._grace - now
        _LOG.info("node %s is gone, and left %d SubFunctions to be cleared away", node, len(left))
        for member in left:
            await self._clear(member)
        return None

    async def _clear(self, member: Member) -> None:
        try:
            left: Member | None = member
            if not member.deleting:
                left = await self._writes.delete(member)
            if left is not None and left.held:
                left = await self._writes.release(left)
        except ApiConflict:
            left = await self._writes.read(member.name)
        if left is None:
            self._cluster.members.forget(member)
        else:
            self._cluster.members.answered(left)


def _is_left(member: Member) -> bool:
    """Whether nobody but us will see to it: a pool's, or one that somebody deleted and its agent would have let go."""
    return member.held if member.deleting else member.pool is not None
