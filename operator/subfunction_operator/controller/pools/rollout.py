"""Orders a pool's changes over all nodes: within maxUnavailable, and devices in use last. Pure."""

from collections.abc import Iterable

from subfunction.api.pool import SubFunctionPool, UpdateType
from subfunction_operator.controller.model.plans import NodePlan, Plan


def plan_rollout(pool: SubFunctionPool, nodes: Iterable[NodePlan]) -> Plan:
    """Combine the nodes' plans: all deletions and creations at once, changes in turns.

    Those that are not ready are changed at once, since no pod can get them anyway; those that are ready within
    maxUnavailable; those in use last of all, once all others have had their turn and maxUnavailable is not used up
    (by one that did not get ready again, say), and all at once: a device in use is available to no other pod, and its
    change waits for its pod. Nodes that are not Ready come after all others: a device that is changed there stays
    unavailable for long, and holds up the rest.
    """
    seen = sorted(nodes, key=lambda node: (node.down, node.node))
    creations = tuple(each for node in seen for each in node.creations)
    deletions = tuple(each for node in seen for each in node.deletions)
    changes = [change for node in seen for change in node.changes]
    now = [change for change in changes if change.quiet]
    if pool.spec.update_strategy.type is UpdateType.ROLLING_UPDATE:
        loud = [change for change in changes if not change.quiet]
        idle = [change for change in loud if not change.member.in_use]
        now += [change for change in idle if not change.member.ready]
        waiting = [change for change in idle if change.member.ready]
        most = pool.spec.update_strategy.most_unavailable(sum(node.desired for node in seen))
        budget = max(0, most - sum(node.unavailable for node in seen))
        now += waiting[:budget]
        if len(waiting) < budget:
            now += [change for change in loud if change.member.in_use]
    else:
        now = []
    return Plan(creations, deletions, tuple(now))
