"""A path names an object or a collection."""

from dataclasses import dataclass
from typing import Final

from subfunction_simulator.apiserver.kinds.catalogue import Catalogue
from subfunction_simulator.apiserver.kinds.resources import Resource
from subfunction_simulator.apiserver.objects import Key

_OF_NAMESPACES: Final = frozenset({"status"})


@dataclass(frozen=True, slots=True)
class Place:
    """A place is what a request is about: a kind, and perhaps a namespace, a name and a subresource."""

    resource: Resource
    namespace: str | None = None
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> Key:
        """Give the key under which the object is kept."""
        return (self.namespace or "", self.name)


def locate(catalogue: Catalogue, path: str) -> Place | None:
    """Find the place of a path like `/apis/GROUP/VERSION/[namespaces/NS/]PLURAL[/NAME[/SUBRESOURCE]]`, or None."""
    match path.strip("/").split("/"):
        case ["api", version, *rest] if rest:
            return _within(catalogue, "", version, rest)
        case ["apis", group, version, *rest] if rest:
            return _within(catalogue, group, version, rest)
    return None


def _within(catalogue: Catalogue, group: str, version: str, rest: list[str]) -> Place | None:
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in _OF_NAMESPACES:
        namespace, (plural, *names) = rest[1], rest[2:]
        resource = catalogue.find(group, version, plural)
        return _place(resource, namespace, names) if resource and resource.namespaced else None
    resource = catalogue.find(group, version, rest[0])
    if not resource or (resource.namespaced and len(rest) > 1):
        return None
    return _place(resource, None, rest[1:])


def _place(resource: Resource, namespace: str | None, names: list[str]) -> Place | None:
    match names:
        case []:
            return Place(resource, namespace)
        case [name]:
            return Place(resource, namespace, name)
        case [name, subresource] if subresource in resource.subresources:
            return Place(resource, namespace, name, subresource)
    return None
