"""Tables (meta.k8s.io/v1 `Table`), which `kubectl get` prints as they come."""

from collections.abc import Sequence

from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.resources import Resource


def table(resource: Resource, objects: Sequence[JsonObject], metadata: JsonObject, include: str) -> JsonObject:
    """A table of objects; `include` is the request's `includeObject`: None, Metadata (the default) or Object."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [
            {
                "name": column.name,
                "type": column.type,
                "format": "name" if column.name == "Name" else "",
                "description": column.description,
                "priority": int(column.wide),
            }
            for column in resource.columns
        ],
        "rows": [_row(resource, obj, include) for obj in objects],
    }


def _row(resource: Resource, obj: JsonObject, include: str) -> JsonObject:
    row: JsonObject = {"cells": [column.read(obj) for column in resource.columns]}
    if include == "Object":
        row["object"] = obj
    elif include != "None":
        row["object"] = partial(obj)
    return row


def partial(obj: JsonObject) -> JsonObject:
    """An object's metadata alone, as `PartialObjectMetadata`."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
