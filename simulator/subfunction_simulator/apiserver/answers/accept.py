"""A client says in its Accept header in which form it wants its answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from subfunction_simulator.apiserver.answers.table import partial, table
from subfunction_simulator.apiserver.kinds.resources import Resource
from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.status import RefusedError
from subfunction_simulator.apiserver.storage.watch import Event

Shape: TypeAlias = Literal["plain", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"]
_SHAPES: Final[tuple[Shape, ...]] = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
_PLAIN: Final = frozenset({"application/json", "application/*", "*/*"})


@dataclass(frozen=True, slots=True)
class Form:
    """A form puts objects, lists and events into the shape that a client wants."""

    shape: Shape
    include: str = "Metadata"
    """What of each object a table's row carries: None, Metadata or Object."""

    def one(self, resource: Resource, obj: JsonObject) -> JsonObject:
        """Put one object into this form."""
        if self.shape == "Table":
            return table(resource, [obj], {"resourceVersion": obj["metadata"]["resourceVersion"]}, self.include)
        return obj if self.shape == "plain" else partial(obj)

    def many(self, resource: Resource, objects: Sequence[JsonObject], metadata: JsonObject) -> JsonObject:
        """Put a list into this form."""
        if self.shape == "Table":
            return table(resource, objects, metadata, self.include)
        if self.shape == "plain":
            kind, version = resource.list_kind, resource.api_version
            return {"kind": kind, "apiVersion": version, "metadata": metadata, "items": list(objects)}
        items = [partial(obj) for obj in objects]
        kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        return {"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}

    def event(self, resource: Resource, event: Event) -> JsonObject:
        """Put an event of a watch into this form."""
        obj = event.object
        if event.kind == "BOOKMARK" and self.shape == "Table":
            obj = table(resource, [], obj["metadata"], self.include)
        elif event.kind != "ERROR":
            obj = self.one(resource, obj)
        return {"type": event.kind, "object": obj}


def negotiate(accept: str, include: str) -> Form:
    """Find the first form of an Accept header that is served; raises RefusedError (406) when none is."""
    for media, parameters in _parse(accept or "*/*"):
        shape = parameters.get("as")
        for served in _SHAPES:
            if shape == served and parameters.get("v") == "v1" and media in _PLAIN:
                return Form(served, include or "Metadata")
        if shape is None and media in _PLAIN:
            return Form("plain")
    raise RefusedError(406, "NotAcceptable", "only the following media types are accepted: application/json")


def discovery_form(accept: str) -> str | None:
    """Give `v2` or `v2beta1` where a client takes aggregated discovery, else None."""
    for _, parameters in _parse(accept):
        if parameters.get("as") == "APIGroupDiscoveryList" and parameters.get("v") in ("v2", "v2beta1"):
            return parameters["v"]
    return None


def _parse(accept: str) -> Iterator[tuple[str, dict[str, str]]]:
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        yield media, dict(parameter.partition("=")[::2] for parameter in parameters)
