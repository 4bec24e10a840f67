"""A plan -> writes, many at once, and what the server made of them -> what is known."""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from subfunction.api_pool import LONGEST_TROUBLE, SubFunctionPool, Trouble
from subfunction.errors import ApiConflict, ApiRefused
from subfunction_operator.controller.cluster import Cluster
from subfunction_operator.controller.member import Member
from subfunction_operator.controller.rollout import Change, Creation, Plan
from subfunction_operator.controller.writes import Writes

_LOG = logging.getLogger("subfunction.pools")

CHANGED: Final = frozenset({404, 409, 422})
"""What a server answers when an object is another one than we know: gone, changed, or a patch's `test` that failed."""


class Execution:
    """Carries out what was decided; up to `workers` writes are under way at once."""

    def __init__(self, cluster: Cluster, writes: Writes, workers: int) -> None:
        self._cluster = cluster
        self._writes = writes
        self._gate = asyncio.Semaphore(workers)

    async def carry_out(self, pool: SubFunctionPool, todo: Plan) -> Trouble | None:
        """Do what is to be done; gives what the server would not have, after which nothing more of it is tried."""
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
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        if refusals:
            _LOG.warning("pool %s: %s", pool.name, refusals[0].message)
        return refusals[0] if refusals else None

    async def _create(self, pool: SubFunctionPool, made: Creation) -> None:
        try:
            self._cluster.members.answered(await self._writes.create(pool, made))
            _LOG.info("pool %s: made %s", pool.name, made.name)
        except ApiConflict:
            # Another controller was faster, or the answer to our own was lost; or a stranger has that slot's name.
            await self._reread(made.name)

    async def _delete(self, member: Member) -> None:
        try:
            left = await self._writes.delete(member)
        except ApiConflict:
            await self._reread(member.name)
            return
        _LOG.info("deleted %s", member.name)
        self._left(member, left)

    async def _change(self, change: Change) -> None:
        if change.replace:
            await self._delete(change.member)
            return
        await self.written(change.member, self._writes.change(change))

    async def written(self, member: Member, write: Awaitable[Member]) -> bool:
        """Make a write that hits a member only as it is known; gives whether it did."""
        try:
            self._cluster.members.answered(await write)
        except ApiRefused as error:
            known = self._cluster.members.get(member.name)
            if error.status not in CHANGED or not await self._reread(member.name, known):
                raise
            return False
        return True

    async def _reread(self, name: str, before: Member | None = None) -> bool:
        """Look an object up that is not as we thought; gives whether it is another than before."""
        found = await self._writes.read(name)
        if found is None:
            if (known := self._cluster.members.get(name)) is not None:
                self._cluster.members.forget(known)
            return True
        self._cluster.members.answered(found)
        return before is None or (found.uid, found.version) != (before.uid, before.version)

    def _left(self, member: Member, left: Member | None) -> None:
        if left is None:
            self._cluster.members.forget(member)
        else:
            self._cluster.members.answered(left)
