"""The API's third object: a SubFunctionPool, by which sub-functions of one kind are kept on many parents.

The source of the schema is `crds/subfunctionpools.yaml`. The controller is the only writer of the status.
"""

import enum
from typing import Any, Final

import msgspec

from subfunction.api import GROUP, Condition, ConditionType, ParentSpec, TemplateSpec

POOL_PLURAL: Final = "subfunctionpools"
POOL_KIND: Final = "SubFunctionPool"
POOL_LABEL: Final = f"{GROUP}/pool"
"""On each sub-function of a pool, with the pool's name."""

MOST_TROUBLE: Final = 32
LONGEST_TROUBLE: Final = 512
"""What the schema allows of troubles and of the text of each."""


class Per(enum.StrEnum):
    """What `replicas` counts for."""

    PARENT = "Parent"
    NODE = "Node"


class UpdateType(enum.StrEnum):
    """How sub-functions follow a template that changed."""

    ROLLING_UPDATE = "RollingUpdate"
    ON_DELETE = "OnDelete"


class UpdateStrategy(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How sub-functions follow a template that changed; `max_unavailable` is a count, or a part like `10%`."""

    type: UpdateType = UpdateType.ROLLING_UPDATE
    max_unavailable: int | str = 1

    def most_unavailable(self, of: int) -> int:
        """Give the count that it comes to: at least one, a part rounded up."""
        given = self.max_unavailable
        if isinstance(given, int):
            return max(1, given)
        return max(1, -(-of * int(given.removesuffix("%")) // 100))


class TemplateMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What each sub-function carries beside the pool's own label."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Template(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What each sub-function is."""

    spec: TemplateSpec
    metadata: TemplateMetadata = TemplateMetadata()


class PoolSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How many sub-functions there should be, where, and what they are."""

    template: Template
    node_selector: dict[str, str] = {}
    parents: tuple[ParentSpec, ...] = ()
    replicas: int = 1
    per: Per = Per.PARENT
    update_strategy: UpdateStrategy = UpdateStrategy()


class Trouble(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What stands in the way on one node."""

    node: str
    reason: str
    message: str = ""


class PoolStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What there is of a pool, as the controller saw it last; `current` leaves aside those on their way out."""

    observed_generation: int = 0
    replicas: int = 0
    selector: str = ""
    nodes: int = 0
    desired: int = 0
    current: int = 0
    ready: int = 0
    updated: int = 0
    in_use: int = 0
    conditions: tuple[Condition, ...] = ()
    trouble: tuple[Trouble, ...] = ()
    more_trouble: int = 0

    def condition(self, kind: ConditionType) -> Condition | None:
        """Give the condition of one type."""
        return next((condition for condition in self.conditions if condition.type == kind), None)


class PoolMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who the object is."""

    name: str
    uid: str
    generation: int = 0
    resource_version: str = ""
    deletion_timestamp: str | None = None


class SubFunctionPool(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Sub-functions of one kind on many parents."""

    metadata: PoolMetadata
    spec: PoolSpec
    status: PoolStatus = PoolStatus()

    @classmethod
    def of(cls, body: Any) -> "SubFunctionPool":
        """Read an object of the API.

        Raises:
            msgspec.ValidationError: it is of another shape than the CRD promises; the message names the field.
        """
        return msgspec.convert(body, cls)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.metadata.name

    @property
    def uid(self) -> str:
        """What its sub-functions know it by."""
        return self.metadata.uid

    @property
    def version(self) -> str:
        """Its resourceVersion."""
        return self.metadata.resource_version

    @property
    def deleting(self) -> bool:
        """Whether somebody deleted it."""
        return self.metadata.deletion_timestamp is not None
