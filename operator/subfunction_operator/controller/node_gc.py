"""Removes the SubFunctions of deleted Nodes, whose agents may never come back to remove their finalizers.

A NotReady Node is not deleted. It counts as deleted once the server, asked by name, does not have it, and still does
not have it after the grace period: nothing is concluded from a list, a watch or a failed request. Only objects are
removed. If the machine comes back, its agent finds records without objects, and treats each sub-function by the
deletionPolicy of its record: `Retain` leaves it in the kernel, `Drain` waits for its pod, and `Force` does not.
"""

import asyncio
import logging
from typing import Final

from subfunction.errors import ApiConflict
from subfunction_operator.controller.api.writer import ApiWriter
from subfunction_operator.controller.cluster import Cluster
from subfunction_operator.controller.model.subfunction import CachedSubFunction

_LOG = logging.getLogger(__name__)

_REQUEUE_SECONDS: Final = 5.0
"""Seconds until a Node is checked again that the server has, though the watch has not delivered it."""


class OrphanedNodeReconciler:
    """Remembers since when each Node is missing, and removes its SubFunctions after `grace` seconds."""

    def __init__(self, cluster: Cluster, writer: ApiWriter, grace: float) -> None:
        self._cluster = cluster
        self._writes = writer
        self._grace = grace
        self._missing: dict[str, float] = {}

    async def reconcile(self, node: str) -> float | None:
        """Check a Node that SubFunctions name and the cache lacks; return the seconds until the next check, if any.

        Raises:
            ApiUnavailable, ApiRefused: the server does not answer, and nothing is concluded.
        """
        left = [member for member in self._cluster.on_node(node).values() if _is_orphaned(member)]
        if self._cluster.nodes.get(node) is not None or not left:
            self._missing.pop(node, None)
            return None
        if await self._writes.read_node(node) is not None:
            self._missing.pop(node, None)
            return _REQUEUE_SECONDS
        now = asyncio.get_running_loop().time()
        since = self._missing.setdefault(node, now)
        if now < since + self._grace:
            return since + self._grace - now
        _LOG.info("node %s is gone, and left %d SubFunctions to be cleared away", node, len(left))
        for member in left:
            await self._clear(member)
        return None

    async def _clear(self, member: CachedSubFunction) -> None:
        try:
            left: CachedSubFunction | None = member
            if not member.deleting:
                left = await self._writes.delete(member)
            if left is not None and left.has_finalizer:
                left = await self._writes.remove_finalizer(left)
        except ApiConflict:
            left = await self._writes.read(member.name)
        if left is None:
            self._cluster.members.delete_known(member)
        else:
            self._cluster.members.upsert_answer(left)


def _is_orphaned(member: CachedSubFunction) -> bool:
    """Return whether only the controller can remove it: it is a pool's, or is being deleted and has its finalizer."""
    return member.has_finalizer if member.deleting else member.pool is not None
