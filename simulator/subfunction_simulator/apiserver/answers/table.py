"""A table (meta.k8s.io/v1 `Table`) is printed by `kubectl get` as it comes."""

from collections.abc import Sequence

from subfunction_simulator.apiserver.kinds.resources import Resource
from subfunction_simulator.apiserver.objects import JsonObject


def table(resource: Resource, objects: Sequence[JsonObject], metadata: JsonObject, include: str) -> JsonObject:
    """Make a table of objects; `include` is the request's `includeObject`: None, Metadata (the default) or Object."""
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
    """Give an object's metadata alone, as `PartialObjectMetadata`."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
