"""What the agent does with a node's parents in several threads, in one."""

import dataclasses

from subfunction.api.subfunction import SubFunction
from subfunction.errors import FamilyMissing, SubFunctionError
from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.link import Links
from subfunction.kernel.sysfs import Sysfs
from subfunction_operator.agent.inventory.discovery import DiscoveredNode, Discovery
from subfunction_operator.agent.inventory.foreign_ports import Numbered
from subfunction_operator.agent.model.number_ranges import NumberRanges
from subfunction_operator.agent.observe.parents import Rank, choose_parent, list_candidates, named_parent, rank_parent


def survey(discovery: Discovery, devlink: Devlink, named: Numbered = frozenset()) -> DiscoveredNode:
    """Read the node, and parent after parent."""
    node, links = discovery.read_node(), Links(devlink._netlink)
    try:
        found = [discovery.read_parent(devlink, links, function, named) for function in discovery.list_functions()]
    except FamilyMissing as error:
        return dataclasses.replace(node, missing=error)
    return dataclasses.replace(node, parents=tuple(parent for parent in found if parent is not None))


def search(wanted: SubFunction, devlink: Devlink, sysfs: Sysfs) -> Handle:
    """Find the parent of one, in one thread."""
    if (handle := named_parent(wanted)) is not None:
        return handle
    ranked: dict[Handle, Rank | SubFunctionError | None] = {}
    candidates = list_candidates(wanted, sysfs)
    if len(candidates) == 1:
        return candidates[0]
    for handle in candidates:
        try:
            ranked[handle] = rank_parent(devlink, handle, NumberRanges())
        except SubFunctionError as error:
            ranked[handle] = error
    return choose_parent(ranked)
