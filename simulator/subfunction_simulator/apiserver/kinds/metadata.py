"""The schema of `ObjectMeta` says what a client may write there and what `kubectl explain` tells of it."""

from typing import Final

from subfunction_simulator.apiserver.objects import JsonObject

_TIME: Final[JsonObject] = {"type": "string", "format": "date-time", "nullable": True}
_TEXTS: Final[JsonObject] = {"type": "object", "additionalProperties": {"type": "string"}}

OBJECT_META: Final[JsonObject] = {
    "type": "object",
    "description": "ObjectMeta is metadata that all persisted resources must have.",
    "properties": {
        "name": {"type": "string", "description": "The object's name, unique for its kind and namespace."},
        "generateName": {"type": "string", "description": "What the server begins a name with, where none is given."},
        "namespace": {"type": "string", "description": "The namespace it is in; cluster-scoped kinds have none."},
        "labels": {**_TEXTS, "description": "What it can be selected by."},
        "annotations": {**_TEXTS, "description": "What tools keep with it."},
        "uid": {"type": "string", "description": "Its identity in time and space. Read-only."},
        "resourceVersion": {"type": "string", "description": "Its revision; opaque. Read-only."},
        "generation": {
            "type": "integer",
            "format": "int64",
            "description": "Which version of its spec this is. Read-only.",
        },
        "creationTimestamp": {**_TIME, "description": "When it was made. Read-only."},
        "deletionTimestamp": {**_TIME, "description": "When it was asked to go. Read-only."},
        "deletionGracePeriodSeconds": {"type": "integer", "format": "int64", "description": "Seconds it has to go."},
        "finalizers": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Who must agree before it is gone.",
        },
        "ownerReferences": {
            "type": "array",
            "description": "What it belongs to.",
            "items": {
                "type": "object",
                "required": ["apiVersion", "kind", "name", "uid"],
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "name": {"type": "string"},
                    "uid": {"type": "string"},
                    "controller": {"type": "boolean"},
                    "blockOwnerDeletion": {"type": "boolean"},
                },
            },
        },
        "managedFields": {
            "type": "array",
            "description": "Who wrote which field, and how. Read-only.",
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
        "selfLink": {"type": "string", "description": "Deprecated."},
    },
}
