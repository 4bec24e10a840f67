"""Chooses a node for each SubFunction that names none, and reports why where none fits."""

import asyncio
import logging

from subfunction.api.conditions import ConditionType
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import KIND
from subfunction.errors import ApiRefused
from subfunction_operator.controller.api.executor import PlanExecutor
from subfunction_operator.controller.api.writer import ApiWriter
from subfunction_operator.controller.cluster import Cluster
from subfunction_operator.controller.model.plans import Candidate
from subfunction_operator.controller.model.subfunction import CachedSubFunction
from subfunction_operator.controller.placement.scheduler import PlacementPolicy, Unschedulable, place
from subfunction_operator.controller.placement.status import (
    SchedulingKey,
    previous_condition,
    scheduling_key,
    unplaced_conditions,
)
from subfunction_operator.kube.events import Event
from subfunction_operator.kube.rest import now

_LOG = logging.getLogger(__name__)


class PlacementReconciler:
    """Places SubFunctions without a node; `policy` ranks the nodes that fit."""

    def __init__(self, cluster: Cluster, executor: PlanExecutor, writer: ApiWriter, policy: PlacementPolicy) -> None:
        self._cluster = cluster
        self._executor = executor
        self._writer = writer
        self._policy = policy

    async def reconcile(self) -> None:
        """Choose a node for each that has none, in order of name; of equal ones that fit nowhere only one is computed.

        One that the server refuses to place says so in its conditions, and holds back none of the others.

        Raises:
            ApiUnavailable: the server does not answer.
            ApiRefused: the server refused a write, the first of those that it refused; the others were written.
        """
        refused: ApiRefused | None = None
        candidates: dict[str, Candidate] = {}
        nowhere: dict[SchedulingKey, Unschedulable] = {}
        changed = {node.name for node in self._cluster.nodes}
        for name in sorted(self._cluster.unplaced):
            wanted = self._cluster.unplaced.get(name)
            if wanted is None or wanted.deleting:
                continue
            for node in changed:
                if (known := self._cluster.nodes.get(node)) is not None:
                    candidates[node] = self._cluster.candidate(known)
            changed = set()
            kind = scheduling_key(wanted)
            where = nowhere.get(kind) or place(wanted, candidates.values(), self._policy)
            try:
                if isinstance(where, Unschedulable):
                    nowhere[kind] = where
                    await self._update_status(wanted, where)
                elif await self._place(wanted, where):
                    changed = {where}
            except ApiRefused as error:
                _LOG.warning("%s: %s", name, error)
                refused = refused or error
            await asyncio.sleep(0)
        if refused is not None:
            raise refused

    async def _place(self, wanted: CachedSubFunction, node: str) -> bool:
        """Set the node of one; return whether that was written.

        Raises:
            ApiRefused: the server refused; the object's conditions say so by then.
        """
        try:
            if not await self._executor.write(wanted, self._writer.place(wanted, node)):
                return False
        except ApiRefused as error:
            await self._update_status(wanted, Unschedulable(str(error), error.reason))
            raise
        _LOG.info("placed %s on %s", wanted.name, node)
        await self._writer.record_event(KIND, wanted, Event(Reason.PLACED, f"on node {node}"))
        return True

    async def _update_status(self, wanted: CachedSubFunction, why: Unschedulable) -> None:
        conditions = unplaced_conditions(wanted, why, now())
        if conditions is None:
            return
        if not await self._executor.write(wanted, self._writer.update_unplaced_status(wanted, conditions)):
            return
        if previous_condition(wanted, ConditionType.PLACED) is None:
            await self._writer.record_event(KIND, wanted, Event(why.reason, why.message, warning=True))
