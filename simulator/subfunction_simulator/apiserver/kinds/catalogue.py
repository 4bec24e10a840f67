"""The catalogue holds the kinds this server keeps: those of Kubernetes that the project needs, and those of CRDs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from subfunction_simulator.apiserver.kinds import columns
from subfunction_simulator.apiserver.kinds.resources import Column, Resource
from subfunction_simulator.apiserver.kinds.scale import Scale
from subfunction_simulator.apiserver.kinds.schema import Schema
from subfunction_simulator.apiserver.objects import JsonObject

NAMESPACES: Final = Resource(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    singular="namespace",
    namespaced=False,
    columns=columns.NAMESPACE,
    selectable=("status.phase",),
    short_names=("ns",),
)
NODES: Final = Resource(
    group="",
    version="v1",
    kind="Node",
    plural="nodes",
    singular="node",
    namespaced=False,
    columns=columns.NODE,
    selectable=("spec.unschedulable",),
    short_names=("no",),
    keeps_status_on_create=True,
)
PODS: Final = Resource(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    singular="pod",
    namespaced=True,
    columns=columns.POD,
    selectable=("spec.nodeName", "spec.schedulerName", "spec.restartPolicy", "status.phase", "status.podIP"),
    short_names=("po",),
    categories=("all",),
)
EVENTS: Final = Resource(
    group="",
    version="v1",
    kind="Event",
    plural="events",
    singular="event",
    namespaced=True,
    columns=columns.EVENT,
    selectable=(
        *(f"involvedObject.{part}" for part in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")),
        *("reason", "type", "source", "reportingComponent"),
    ),
    short_names=("ev",),
    has_status=False,
)
CONFIG_MAPS: Final = Resource(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    singular="configmap",
    namespaced=True,
    columns=columns.CONFIG_MAP,
    short_names=("cm",),
    has_status=False,
)
LEASES: Final = Resource(
    group="coordination.k8s.io",
    version="v1",
    kind="Lease",
    plural="leases",
    singular="lease",
    namespaced=True,
    columns=columns.LEASE,
    has_status=False,
)
CRDS: Final = Resource(
    group="apiextensions.k8s.io",
    version="v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    singular="customresourcedefinition",
    namespaced=False,
    columns=columns.CRD,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    read_only=True,
)


_LOADER: Final = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class UnusableCrdError(Exception):
    """This server cannot serve a CRD as it is written."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The catalogue holds all kinds, and the CRD objects that some of them come from."""

    resources: tuple[Resource, ...]
    crds: tuple[JsonObject, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> "Catalogue":
        """Load the built-in kinds and those of CRDs in a folder's `*.yaml`; raises UnusableCrdError with the file."""
        crds: list[JsonObject] = []
        resources = [NAMESPACES, NODES, PODS, EVENTS, CONFIG_MAPS, LEASES, CRDS]
        for path in sorted(folder.glob("*.yaml")):
            try:
                for document in filter(None, yaml.load_all(path.read_text(), Loader=_LOADER)):
                    resources.append(_resource(document))
                    crds.append(document)
            except (OSError, ValueError, KeyError, yaml.YAMLError) as error:
                raise UnusableCrdError(f"{path}: {error}") from error
        if not crds:
            raise UnusableCrdError(f"no CustomResourceDefinition in {folder}; name the folder of the project's CRDs")
        return cls(tuple(resources), tuple(crds))

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Find the kind served under a group, a version and a plural name."""
        wanted = (group, version, plural)
        return next((item for item in self.resources if (item.group, item.version, item.plural) == wanted), None)

    def versions(self, group: str) -> tuple[str, ...]:
        """List the versions of a group, in the order they were declared."""
        return tuple(dict.fromkeys(item.version for item in self.resources if item.group == group))

    def groups(self) -> tuple[str, ...]:
        """List the groups beside the core one."""
        return tuple(dict.fromkeys(item.group for item in self.resources if item.group))

    def within(self, group: str, version: str) -> tuple[Resource, ...]:
        """List the kinds of one group and version."""
        return tuple(item for item in self.resources if (item.group, item.version) == (group, version))


def _resource(crd: JsonObject) -> Resource:
    if crd.get("kind") != "CustomResourceDefinition":
        raise ValueError(f"is a {crd.get('kind')}, not a CustomResourceDefinition")
    spec, names = crd["spec"], crd["spec"]["names"]
    version, *others = spec["versions"]
    if others:
        raise ValueError("has several versions; this server converts between none")
    return Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular", names["kind"].lower()),
        namespaced=spec["scope"] == "Namespaced",
        columns=tuple(_columns(version.get("additionalPrinterColumns"))),
        selectable=tuple(field["jsonPath"].removeprefix(".") for field in version.get("selectableFields", ())),
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        has_status="status" in version.get("subresources", {}),
        scale=Scale.read(version.get("subresources", {}).get("scale")),
        schema=Schema(version["schema"]["openAPIV3Schema"]),
    )


def _columns(written: Iterable[JsonObject] | None) -> Iterator[Column]:
    yield columns.NAME
    yield from (columns.custom(column) for column in written) if written is not None else (columns.AGE,)
