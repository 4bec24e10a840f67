"""The kind SubFunctionNode, in which the agent reports what its node can do.

The source of the schema is `crds/subfunctionnodes.yaml`. The agent is the only writer of the status; placement reads
it. The status has capacities and no counts of devices in use, so that it changes with the hardware, not with the load.
"""

import enum
from typing import Any, Final

import msgspec

from subfunction.api.conditions import ConditionedStatus
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import GROUP, VERSION, Flavour

NODE_PLURAL: Final = "subfunctionnodes"
NODE_KIND: Final = "SubFunctionNode"

MOST_PARENTS: Final = 32
MOST_TYPES: Final = 32
MOST_VIRTUAL_FUNCTIONS: Final = 128
MOST_FOREIGN: Final = 32
MOST_NAMES: Final = 16
LONGEST_NAME: Final = 127
LONGEST_MESSAGE: Final = 512
LONGEST_CONDITION: Final = 32768
LONGEST_KERNEL: Final = 128
LONGEST_TYPE: Final = 128
LONGEST_WORD: Final = 63
"""The longest lists and texts that the schema allows; what exceeds them is counted (lists) or cut (texts)."""


class RdmaNamespaces(enum.StrEnum):
    """The network namespaces that see an RDMA device: all, or only the one that it is in (`rdma system show`)."""

    SHARED = "shared"
    EXCLUSIVE = "exclusive"


class FlavourCapability(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One flavour, and whether a parent can make it; `reason` and `message` explain why not."""

    name: Flavour
    possible: bool
    reason: Reason | None = None
    message: str = ""


class OfferedType(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A type of mediated devices; `capacity` counts existing devices and those that can still be made."""

    id: str
    api: str = ""
    capacity: int | None = None


class OfferedFunction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A virtual function; `group` is its IOMMU group, without which no VFIO driver binds to it."""

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
    """One physical function; the fields `more_...` count what the lists have no room for."""

    device: str
    netdev: str | None = None
    alternative_names: tuple[str, ...] = ()
    driver: str | None = None
    vendor: str | None = None
    numa_node: int | None = None
    eswitch_mode: str | None = None
    pf: int | None = None
    capacity: int | None = None
    flavours: tuple[FlavourCapability, ...] = ()
    mediated_types: tuple[OfferedType, ...] = ()
    more_mediated_types: int = 0
    virtual_functions: tuple[OfferedFunction, ...] = ()
    more_virtual_functions: int = 0
    foreign_sub_functions: tuple[ForeignSubFunction, ...] = ()
    more_foreign_sub_functions: int = 0


class NodeStatus(ConditionedStatus, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The capabilities of one node."""

    agent_version: str = ""
    kernel: str = ""
    rdma_namespaces: RdmaNamespaces | None = None
    drivers: tuple[str, ...] = ()
    flavours: tuple[Flavour, ...] = ()
    parent_count: int | None = None
    capacity: int | None = None
    parents: tuple[ParentStatus, ...] = ()


class OwnerReference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The owner of an object: once the owner is gone, the garbage collector deletes the object."""

    api_version: str
    kind: str
    name: str
    uid: str

    @classmethod
    def of_node(cls, name: str, uid: str) -> "OwnerReference":
        """Build the reference to a Node as the owner."""
        return cls(api_version="v1", kind="Node", name=name, uid=uid)


class NodeMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The identity of the object, and its owners."""

    name: str
    uid: str
    generation: int = 0
    owner_references: tuple[OwnerReference, ...] = ()


class SubFunctionNode(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The capabilities of one node; the object has the name of the Node."""

    metadata: NodeMetadata
    status: NodeStatus = NodeStatus()

    @classmethod
    def of(cls, body: Any) -> "SubFunctionNode":
        """Parse an object of the API.

        Raises:
            msgspec.ValidationError: the object does not match the CRD; the message names the field.
        """
        return msgspec.convert(body, cls)


def build_manifest(owner: OwnerReference) -> dict[str, Any]:
    """Build the object to create for a Node, without a status: that is written separately."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": NODE_KIND,
        "metadata": {"name": owner.name, "ownerReferences": [msgspec.to_builtins(owner)]},
    }
