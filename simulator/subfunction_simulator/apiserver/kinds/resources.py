"""A resource is one kind of object this server keeps, with where and how it is shown."""

from collections.abc import Callable
from dataclasses import dataclass

from subfunction_simulator.apiserver.kinds.scale import SUBRESOURCE, Scale
from subfunction_simulator.apiserver.kinds.schema import Schema
from subfunction_simulator.apiserver.objects import JsonObject

READ_VERBS = ("get", "list", "watch")
WRITE_VERBS = ("create", "delete", "deletecollection", "patch", "update")


@dataclass(frozen=True, slots=True)
class Column:
    """A column reads one cell of each row of a table."""

    name: str
    read: Callable[[JsonObject], object]
    type: str = "string"
    wide: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """A resource describes one kind of object, in one version."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    """What a field selector may name beside metadata.name and metadata.namespace, like `spec.nodeName`."""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = True
    """Whether spec and status are written apart."""
    keeps_status_on_create: bool = False
    """Whether a create may bring a status (a kubelet registers its Node with one)."""
    scale: Scale | None = None
    read_only: bool = False
    schema: Schema | None = None
    """Absent for Kubernetes' own kinds: they are stored as given."""

    @property
    def api_version(self) -> str:
        """Give `v1` or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """Give the path its group and version are served under."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def list_kind(self) -> str:
        """Give the kind of a list of it."""
        return f"{self.kind}List"

    @property
    def subresources(self) -> tuple[str, ...]:
        """List what may be asked of an object beside itself."""
        return (*(("status",) if self.has_status else ()), *((SUBRESOURCE,) if self.scale else ()))

    @property
    def verbs(self) -> tuple[str, ...]:
        """List what may be asked, as discovery says it."""
        return READ_VERBS if self.read_only else tuple(sorted(READ_VERBS + WRITE_VERBS))
