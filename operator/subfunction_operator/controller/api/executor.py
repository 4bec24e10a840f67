"""Carries out the controller's writes: several at once for a pool's plan; the answers go into the cache."""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from subfunction.api.pool import LONGEST_TROUBLE, SubFunctionPool, Trouble
from subfunction.errors import ApiConflict, ApiRefused
from subfunction_operator.controller.api.writer import ApiWriter
from subfunction_operator.controller.cluster import Cluster
from subfunction_operator.controller.model.plans import Change, Creation, Plan
from subfunction_operator.controller.model.subfunction import CachedSubFunction

_LOG = logging.getLogger(__name__)

CHANGED: Final = frozenset({404, 409, 422})
"""Status codes for an object that is not as cached: deleted, changed, or a patch with a `test` that failed."""


class PlanExecutor:
    """Carries out plans and single writes; up to `workers` writes are under way at once."""

    def __init__(self, cluster: Cluster, writer: ApiWriter, workers: int) -> None:
        self._cluster = cluster
        self._writer = writer
        self._gate = asyncio.Semaphore(workers)

    async def execute(self, pool: SubFunctionPool, todo: Plan) -> Trouble | None:
        """Carry out a plan; return the server's first refusal, after which no further write begins, or None."""
        refusals: list[Trouble] = []

        async def guarded(node: str, job: Callable[[], Awaitable[None]]) -> None:
            async with self._gate:
                if refusals:
                    return
                try:
                    await job()
                except ApiRefused as error:
                    words = str(error)[:LONGEST_TROUBLE]
                    refusals.append(Trouble(node=node, reason=error.reason, message=words))

        jobs = [guarded(made.node, functools.partial(self._create, pool, made)) for made in todo.creations]
        jobs += [guarded(gone.node or "", functools.partial(self._delete, gone)) for gone in todo.deletions]
        jobs += [guarded(each.member.node or "", functools.partial(self._change, each)) for each in todo.changes]
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        for result in outcomes:
            if isinstance(result, BaseException):
                raise result
        if refusals:
            _LOG.warning("pool %s: %s", pool.name, refusals[0].message)
        return refusals[0] if refusals else None

    async def _create(self, pool: SubFunctionPool, made: Creation) -> None:
        try:
            self._cluster.members.upsert_answer(await self._writer.create(pool, made))
            _LOG.info("pool %s: made %s", pool.name, made.name)
        except ApiConflict:
            # Another controller was faster, the answer to our own request was lost, or a foreign object has the name.
            await self._refresh(made.name)

    async def _delete(self, member: CachedSubFunction) -> None:
        try:
            left = await self._writer.delete(member)
        except ApiConflict:
            await self._refresh(member.name)
            return
        _LOG.info("deleted %s", member.name)
        self._store_rest(member, left)

    async def _change(self, change: Change) -> None:
        if change.replace:
            await self._delete(change.member)
            return
        await self.write(change.member, self._writer.change(change))

    async def write(self, member: CachedSubFunction, write: Awaitable[CachedSubFunction]) -> bool:
        """Await a write that applies only to the cached version of a member; return whether it was applied."""
        try:
            self._cluster.members.upsert_answer(await write)
        except ApiRefused as error:
            known = self._cluster.members.get(member.name)
            if error.status not in CHANGED or not await self._refresh(member.name, known):
                raise
            return False
        return True

    async def _refresh(self, name: str, before: CachedSubFunction | None = None) -> bool:
        """Read an object anew that is not as cached; return whether it differs from `before`."""
        found = await self._writer.read(name)
        if found is None:
            if (known := self._cluster.members.get(name)) is not None:
                self._cluster.members.delete_known(known)
            return True
        self._cluster.members.upsert_answer(found)
        return before is None or (found.uid, found.version) != (before.uid, before.version)

    def _store_rest(self, member: CachedSubFunction, left: CachedSubFunction | None) -> None:
        if left is None:
            self._cluster.members.delete_known(member)
        else:
            self._cluster.members.upsert_answer(left)
