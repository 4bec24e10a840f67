"""Decodes Nodes and SubFunctionNodes into the few fields that placement and pools need, and SubFunctionPools whole."""

from typing import Final

import msgspec

from subfunction.api.node import NodeStatus
from subfunction.api.pool import SubFunctionPool


class ClusterNode(msgspec.Struct, frozen=True, kw_only=True):
    """A Node of the cluster."""

    name: str
    uid: str
    version: str
    labels: dict[str, str]
    cordoned: bool = False
    ready: bool = False

    def matches(self, selector: dict[str, str]) -> bool:
        """Return whether the Node has these labels."""
        return all(self.labels.get(key) == value for key, value in selector.items())


class NodeInventory(msgspec.Struct, frozen=True, kw_only=True):
    """A SubFunctionNode: what a node's agent reports of its parents."""

    name: str
    uid: str
    version: str
    status: NodeStatus


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    uid: str
    resource_version: str
    labels: dict[str, str] = {}


class _NodeSpec(msgspec.Struct):
    unschedulable: bool = False


class _NodeCondition(msgspec.Struct):
    type: str
    status: str


class _NodeStatus(msgspec.Struct):
    conditions: list[_NodeCondition] = []


class _Node(msgspec.Struct):
    metadata: _Metadata
    spec: _NodeSpec = msgspec.field(default_factory=_NodeSpec)
    status: _NodeStatus = msgspec.field(default_factory=_NodeStatus)


class _SubFunctionNode(msgspec.Struct):
    metadata: _Metadata
    status: NodeStatus = NodeStatus()


_NODE: Final = msgspec.json.Decoder(_Node)
_INVENTORY: Final = msgspec.json.Decoder(_SubFunctionNode)
_POOL: Final = msgspec.json.Decoder(SubFunctionPool)


def read_node(raw: bytes | msgspec.Raw) -> ClusterNode:
    """Read a Node from its JSON; raises msgspec.DecodeError."""
    found = _NODE.decode(raw)
    return ClusterNode(
        name=found.metadata.name,
        uid=found.metadata.uid,
        version=found.metadata.resource_version,
        labels=found.metadata.labels,
        cordoned=found.spec.unschedulable,
        ready=any(each.type == "Ready" and each.status == "True" for each in found.status.conditions),
    )


def read_inventory(raw: bytes | msgspec.Raw) -> NodeInventory:
    """Read a SubFunctionNode from its JSON; raises msgspec.DecodeError."""
    found = _INVENTORY.decode(raw)
    metadata = found.metadata
    return NodeInventory(name=metadata.name, uid=metadata.uid, version=metadata.resource_version, status=found.status)


def read_pool(raw: bytes | msgspec.Raw) -> SubFunctionPool:
    """Read a SubFunctionPool from its JSON; raises msgspec.DecodeError."""
    return _POOL.decode(raw)
