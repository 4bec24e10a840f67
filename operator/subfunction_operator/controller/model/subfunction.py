"""A SubFunction as the controller caches it: few fields, since it caches those of all nodes.

It is decoded straight from the server's bytes. Equal values (node, parent, template, labels) are stored once.
"""

from collections.abc import Hashable
from typing import Final, TypeVar

import msgspec

from subfunction.api.conditions import Condition, ConditionType
from subfunction.api.pool import POOL_KIND
from subfunction.api.subfunction import FINALIZER, ParentSpec, Spec, TemplateSpec

T = TypeVar("T", bound=Hashable)

Pairs = frozenset[tuple[str, str]]
"""Labels or annotations."""

_TEMPLATE_FIELDS: Final = tuple(field.name for field in msgspec.structs.fields(TemplateSpec))
_FAILED: Final = "Failed"


class Unplaced(msgspec.Struct, frozen=True, kw_only=True):
    """What placement needs of a SubFunction without a node: its selector, and its conditions as last written."""

    node_selector: dict[str, str]
    conditions: tuple[Condition, ...]


class CachedSubFunction(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One SubFunction; `gc=False` saves 16 bytes and the garbage collector's time: it is in no reference cycle."""

    name: str
    uid: str
    version: str
    generation: int
    spec: TemplateSpec
    node: str | None = None
    parent: str | None = None
    """The devlink handle of its parent, once one is named or chosen."""
    asks: ParentSpec
    """The parent that its spec asks for."""
    number: int | None = None
    pool: str | None = None
    """The uid of the pool that owns it."""
    labels: Pairs = frozenset()
    annotations: Pairs = frozenset()
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    ready: bool = False
    """Whether its agent reports Ready for the present generation."""
    failed: str = ""
    """The reason why it failed; empty if it did not."""
    in_use: bool = False
    unplaced: Unplaced | None = None

    @property
    def has_finalizer(self) -> bool:
        """Return whether it has the agent's finalizer."""
        return FINALIZER in self.finalizers

    @property
    def slot(self) -> int | None:
        """Return its slot in its pool's group, with which its name ends; None for any other name."""
        text = self.name.rpartition("-")[2]
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None


class _Owner(msgspec.Struct):
    kind: str
    uid: str
    controller: bool = False


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    uid: str
    resource_version: str
    generation: int = 0
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[_Owner, ...] = ()


class _Status(msgspec.Struct, rename="camel"):
    observed_generation: int = 0
    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    parent: str | None = None
    number: int | None = None


class _Object(msgspec.Struct):
    metadata: _Metadata
    spec: Spec
    status: _Status = msgspec.field(default_factory=_Status)


class SubFunctionDecoder:
    """Decodes SubFunctions, and stores equal values once."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(_Object)
        self._shared: dict[Hashable, Hashable] = {}

    def read(self, raw: bytes | msgspec.Raw) -> CachedSubFunction:
        """Read one object from its JSON.

        Raises:
            msgspec.DecodeError: it is no SubFunction of the shape that the CRD defines.
        """
        found = self._decoder.decode(raw)
        metadata, spec, status = found.metadata, found.spec, found.status
        conditions = {condition.type: condition for condition in status.conditions}
        ready, in_use = conditions.get(ConditionType.READY), conditions.get(ConditionType.IN_USE)
        owner = next((each for each in metadata.owner_references if each.controller and each.kind == POOL_KIND), None)
        template = TemplateSpec(**{name: getattr(spec, name) for name in _TEMPLATE_FIELDS})
        return CachedSubFunction(
            name=metadata.name,
            uid=metadata.uid,
            version=metadata.resource_version,
            generation=metadata.generation,
            spec=self._once(template),
            node=self._once(spec.node_name),
            parent=self._once(status.parent or spec.parent.device),
            asks=self._once(spec.parent),
            number=spec.number if spec.number is not None else status.number,
            pool=self._once(owner.uid) if owner else None,
            labels=self._once(frozenset(metadata.labels.items())) if owner else frozenset(),
            annotations=self._once(frozenset(metadata.annotations.items())) if owner else frozenset(),
            deleting=metadata.deletion_timestamp is not None,
            finalizers=self._once(metadata.finalizers),
            ready=_is_true(ready) and status.observed_generation >= metadata.generation,
            failed=self._once(ready.reason) if ready is not None and status.phase == _FAILED else "",
            in_use=_is_true(in_use),
            unplaced=None
            if spec.node_name
            else Unplaced(node_selector=spec.node_selector, conditions=status.conditions),
        )

    def _once(self, value: T) -> T:
        return self._shared.setdefault(value, value)  # type: ignore[return-value]  # equal, and so of one type


def _is_true(condition: Condition | None) -> bool:
    return condition is not None and condition.status == "True"
