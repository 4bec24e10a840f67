"""The API's second object: a SubFunctionNode, by which an agent says what its node can do.

The source of the schema is `crds/subfunctionnodes.yaml`. The agent is the only writer of the status; placement reads
it. Limits stand in it, not counts of what is in use, so that it changes with the hardware and not with the load.
"""

import enum
from typing import Any, Final

import msgspec

from subfunction.api import GROUP, VERSION, Condition, ConditionType, Flavour
from subfunction.reasons import Reason

NODE_PLURAL: Final = "subfunctionnodes"
NODE_KIND: Final = "SubFunctionNode"

MOST_PARENTS: Final = 32
MOST_TYPES: Final = 32
MOST_VIRTUAL_FUNCTIONS: Final = 128
MOST_FOREIGN: Final = 32
MOST_DRIVERS: Final = 32
LONGEST_MESSAGE: Final = 512
LONGEST_CONDITION: Final = 32768
LONGEST_KERNEL: Final = 128
LONGEST_TYPE: Final = 128
LONGEST_WORD: Final = 63
"""What the schema allows of each list and text; what a node has more of is counted or cut."""


class RdmaNamespaces(enum.StrEnum):
    """Who sees an RDMA device: every network namespace, or the one that it is in (`rdma system show`)."""

    SHARED = "shared"
    EXCLUSIVE = "exclusive"


class Possibility(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Whether a parent can make a flavour; `reason` and `message` say why not."""

    name: Flavour
    possible: bool
    reason: Reason | None = None
    message: str = ""


class OfferedType(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A type of mediated devices; `capacity` counts those that exist and those that can be made still."""

    id: str
    api: str = ""
    capacity: int | None = None


class OfferedFunction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A virtual function; `group` is its IOMMU group, without which no vfio driver takes it."""

    index: int
    address: str
    driver: str | None = None
    group: int | None = None


class ForeignSubFunction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A sub-function that no object and no record of this node names; `port` is its devlink port's index."""

    port: int
    number: int | None = None
    controller: int = 0
    mac_address: str | None = None
    state: str = ""


class ParentStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One physical function; `more_...` count what the lists have no room for."""

    device: str
    netdev: str | None = None
    driver: str | None = None
    vendor: str | None = None
    numa_node: int | None = None
    eswitch_mode: str | None = None
    pf: int | None = None
    capacity: int | None = None
    flavours: tuple[Possibility, ...] = ()
    mediated_types: tuple[OfferedType, ...] = ()
    more_mediated_types: int = 0
    virtual_functions: tuple[OfferedFunction, ...] = ()
    more_virtual_functions: int = 0
    foreign_sub_functions: tuple[ForeignSubFunction, ...] = ()
    more_foreign_sub_functions: int = 0


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What one node can do."""

    conditions: tuple[Condition, ...] = ()
    agent_version: str = ""
    kernel: str = ""
    rdma_namespaces: RdmaNamespaces | None = None
    drivers: tuple[str, ...] = ()
    flavours: tuple[Flavour, ...] = ()
    parent_count: int | None = None
    capacity: int | None = None
    parents: tuple[ParentStatus, ...] = ()

    def condition(self, kind: ConditionType) -> Condition | None:
        """Give the condition of one type."""
        return next((condition for condition in self.conditions if condition.type == kind), None)


class OwnerReference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whose object it is: once the owner is gone, the garbage collector takes it away."""

    api_version: str
    kind: str
    name: str
    uid: str

    @classmethod
    def of_node(cls, name: str, uid: str) -> "OwnerReference":
        """Name a Node as the owner."""
        return cls(api_version="v1", kind="Node", name=name, uid=uid)


class NodeMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who the object is, and whose."""

    name: str
    uid: str
    generation: int = 0
    owner_references: tuple[OwnerReference, ...] = ()


class SubFunctionNode(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one node can do, under the Node's name."""

    metadata: NodeMetadata
    status: NodeStatus = NodeStatus()

    @classmethod
    def of(cls, body: Any) -> "SubFunctionNode":
        """Read an object of the API.

        Raises:
            msgspec.ValidationError: it is of another shape than the CRD promises; the message names the field.
        """
        return msgspec.convert(body, cls)


def manifest(owner: OwnerReference) -> dict[str, Any]:
    """Give the object of a Node as it is made: without a status, which is written apart."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": NODE_KIND,
        "metadata": {"name": owner.name, "ownerReferences": [msgspec.to_builtins(owner)]},
    }
