"""OpenAPI v3 tells kubectl what it needs to explain a kind, and that the server validates fields."""

import hashlib
import json
from typing import Any, Final

from subfunction_simulator.apiserver.answers.discovery import version as server_version
from subfunction_simulator.apiserver.kinds.catalogue import Catalogue
from subfunction_simulator.apiserver.kinds.metadata import OBJECT_META
from subfunction_simulator.apiserver.kinds.resources import Resource
from subfunction_simulator.apiserver.media_types import APPLY_PATCH, JSON_PATCH, MERGE_PATCH
from subfunction_simulator.apiserver.objects import JsonObject

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_PARAMETERS: Final = ("dryRun", "fieldManager", "fieldValidation")


def index(catalogue: Catalogue) -> JsonObject:
    """Give `/openapi/v3`: where the document of each group and version is."""
    paths: JsonObject = {}
    for root, (group, version) in _roots(catalogue).items():
        text = json.dumps(document(catalogue, group, version), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        paths[root] = {"serverRelativeURL": f"/openapi/v3/{root}?hash={digest}"}
    return {"paths": paths}


def document_at(catalogue: Catalogue, root: str) -> JsonObject | None:
    """Give the document at `api/v1` or `apis/GROUP/VERSION`, or None."""
    place = _roots(catalogue).get(root)
    return document(catalogue, *place) if place else None


def document(catalogue: Catalogue, group: str, version: str) -> JsonObject:
    """Give the document of one group and version."""
    paths: JsonObject = {}
    schemas: JsonObject = {_META: OBJECT_META}
    for resource in catalogue.within(group, version):
        schemas[_schema_name(resource)] = _schema(resource)
        scope = "/namespaces/{namespace}" if resource.namespaced else ""
        collection = f"{resource.root}{scope}/{resource.plural}"
        paths[collection] = {"get": _operation(resource, "list"), "post": _operation(resource, "post")}
        item = {verb: _operation(resource, verb) for verb in ("get", "put", "patch", "delete")}
        paths[f"{collection}/{{name}}"] = item
        if resource.has_status:
            paths[f"{collection}/{{name}}/status"] = {verb: item[verb] for verb in ("get", "put", "patch")}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": server_version()["gitVersion"]},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _roots(catalogue: Catalogue) -> dict[str, tuple[str, str]]:
    return {resource.root.lstrip("/"): (resource.group, resource.version) for resource in catalogue.resources}


def _schema_name(resource: Resource) -> str:
    reversed_group = ".".join(reversed(resource.group.split("."))) if resource.group else "io.k8s.api.core"
    return f"{reversed_group}.{resource.version}.{resource.kind}"


def _kind(resource: Resource) -> JsonObject:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _schema(resource: Resource) -> JsonObject:
    meta = {
        "allOf": [{"$ref": f"#/components/schemas/{_META}"}],
        "description": "Standard object's metadata.",
        "default": {},
    }
    if resource.schema:
        schema: JsonObject = _strip_rules(resource.schema.root)
        schema["properties"]["metadata"] = meta
    else:
        rest = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": meta}
        schema = {
            "type": "object",
            "description": f"{resource.kind} of Kubernetes; this server stores its fields as given.",
            "properties": {**properties, "spec": rest, **({"status": rest} if resource.has_status else {})},
            "x-kubernetes-preserve-unknown-fields": True,
        }
    return {**schema, "x-kubernetes-group-version-kind": [_kind(resource)]}


def _strip_rules(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strip_rules(item) for item in schema]
    if isinstance(schema, dict):
        return {name: _strip_rules(part) for name, part in schema.items() if name != "x-kubernetes-validations"}
    return schema


def _operation(resource: Resource, verb: str) -> JsonObject:
    reference = {"schema": {"$ref": f"#/components/schemas/{_schema_name(resource)}"}}
    operation: JsonObject = {
        "x-kubernetes-action": verb,
        "x-kubernetes-group-version-kind": _kind(resource),
        "responses": {"200": {"description": "OK", "content": {"application/json": reference}}},
    }
    if verb in ("post", "put", "patch"):
        parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in _PARAMETERS]
        bodies = (JSON_PATCH, MERGE_PATCH, APPLY_PATCH) if verb == "patch" else ("application/json",)
        operation["parameters"] = parameters
        operation["requestBody"] = {"content": dict.fromkeys(bodies, reference)}
    return operation
