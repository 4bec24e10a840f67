"""SubFunctions without a node brought to one, and told why where none fits."""

import asyncio
import logging

from subfunction.api import KIND, ConditionType
from subfunction.reasons import Reason
from subfunction_operator.controller.cluster import Cluster
from subfunction_operator.controller.execution import Execution
from subfunction_operator.controller.member import Member
from subfunction_operator.controller.placement import Candidate, Nowhere, Policy, place
from subfunction_operator.controller.unplaced import Signature, signature, told, unplaced_conditions
from subfunction_operator.controller.writes import Writes
from subfunction_operator.endpoint import now
from subfunction_operator.event import Event

_LOG = logging.getLogger("subfunction.controller")


class Placing:
    """The work on those without a node; `policy` says which node of those that fit."""

    def __init__(self, cluster: Cluster, execution: Execution, writes: Writes, policy: Policy) -> None:
        self._cluster = cluster
        self._execution = execution
        self._writes = writes
        self._policy = policy

    async def work(self) -> None:
        """Find a node for each that has none, by name; those that are alike and fit nowhere are asked about once.

        Raises:
            ApiUnavailable, ApiRefused: the server does not answer, or would not have it.
        """
        candidates: dict[str, Candidate] = {}
        nowhere: dict[Signature, Nowhere] = {}
        changed = {node.name for node in self._cluster.nodes}
        for name in sorted(self._cluster.unplaced):
            wanted = self._cluster.unplaced.get(name)
            if wanted is None or wanted.deleting:
                continue
            for node in changed:
                if (known := self._cluster.nodes.get(node)) is not None:
                    candidates[node] = self._cluster.candidate(known)
            changed = set()
            kind = signature(wanted)
            where = nowhere.get(kind) or place(wanted, candidates.values(), self._policy)
            if isinstance(where, Nowhere):
                nowhere[kind] = where
                await self._tell(wanted, where)
            elif await self._execution.written(wanted, self._writes.place(wanted, where)):
                _LOG.info("placed %s on %s", name, where)
                changed = {where}
                await self._writes.announce(KIND, wanted, Event(Reason.PLACED, f"on node {where}"))
            await asyncio.sleep(0)

    async def _tell(self, wanted: Member, why: Nowhere) -> None:
        conditions = unplaced_conditions(wanted, why, now())
        if conditions is None:
            return
        if not await self._execution.written(wanted, self._writes.tell_unplaced(wanted, conditions)):
            return
        if told(wanted, ConditionType.PLACED) is None:
            await self._writes.announce(KIND, wanted, Event(Reason.NO_NODE_FITS, why.message, warning=True))
