"""The kind SubFunctionPool, which keeps a number of like sub-functions on many parents.

The source of the schema is `crds/subfunctionpools.yaml`. The controller is the only writer of the status.
"""

import enum
from typing import Any, Final

import msgspec

from subfunction.api.conditions import ConditionedStatus
from subfunction.api.subfunction import GROUP, ParentSpec, TemplateSpec

POOL_PLURAL: Final = "subfunctionpools"
POOL_KIND: Final = "SubFunctionPool"
POOL_LABEL: Final = f"{GROUP}/pool"
"""The label on each sub-function of a pool; its value is the pool's name."""

MOST_TROUBLE: Final = 32
LONGEST_TROUBLE: Final = 512
"""The longest list of troubles, and the longest text of each, that the schema allows."""


class Per(enum.StrEnum):
    """The unit for which `replicas` is counted."""

    PARENT = "Parent"
    NODE = "Node"


class UpdateType(enum.StrEnum):
    """The ways in which a template's change reaches existing sub-functions."""

    ROLLING_UPDATE = "RollingUpdate"
    ON_DELETE = "OnDelete"


class UpdateStrategy(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The way a template's change reaches sub-functions; `max_unavailable` is a count or a share like `10%`."""

    type: UpdateType = UpdateType.ROLLING_UPDATE
    max_unavailable: int | str = 1

    def most_unavailable(self, of: int) -> int:
        """Return `max_unavailable` as a count out of `of`: at least one, a share is rounded up."""
        given = self.max_unavailable
        if isinstance(given, int):
            return max(1, given)
        return max(1, -(-of * int(given.removesuffix("%")) // 100))


class TemplateMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Labels and annotations of each sub-function, beside the pool's own label."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Template(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The template from which each sub-function is made."""

    spec: TemplateSpec
    metadata: TemplateMetadata = TemplateMetadata()


class PoolSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The desired number of sub-functions, the parents to place them on, and their template."""

    template: Template
    node_selector: dict[str, str] = {}
    parents: tuple[ParentSpec, ...] = ()
    replicas: int = 1
    per: Per = Per.PARENT
    update_strategy: UpdateStrategy = UpdateStrategy()


class Trouble(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The reason why a pool cannot reach its goal on one node."""

    node: str
    reason: str
    message: str = ""


class PoolStatus(ConditionedStatus, frozen=True, kw_only=True, rename="camel"):
    """The state of a pool as the controller last saw it; `current` leaves out sub-functions that are being deleted."""

    observed_generation: int = 0
    replicas: int = 0
    selector: str = ""
    nodes: int = 0
    desired: int = 0
    current: int = 0
    ready: int = 0
    updated: int = 0
    in_use: int = 0
    trouble: tuple[Trouble, ...] = ()
    more_trouble: int = 0


class PoolMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The identity of the object; `deletion_timestamp` is set once its deletion was requested."""

    name: str
    uid: str
    generation: int = 0
    resource_version: str = ""
    deletion_timestamp: str | None = None


class SubFunctionPool(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A number of like sub-functions on many parents."""

    metadata: PoolMetadata
    spec: PoolSpec
    status: PoolStatus = PoolStatus()

    @classmethod
    def of(cls, body: Any) -> "SubFunctionPool":
        """Parse an object of the API.

        Raises:
            msgspec.ValidationError: the object does not match the CRD; the message names the field.
        """
        return msgspec.convert(body, cls)

    @property
    def name(self) -> str:
        """Return the pool's name."""
        return self.metadata.name

    @property
    def uid(self) -> str:
        """Return the uid, by which its sub-functions refer to the pool."""
        return self.metadata.uid

    @property
    def version(self) -> str:
        """Return the resourceVersion."""
        return self.metadata.resource_version

    @property
    def deleting(self) -> bool:
        """Return whether its deletion was requested."""
        return self.metadata.deletion_timestamp is not None
