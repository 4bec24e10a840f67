"""Some requests are about no object: they ask what is served, and what it looks like."""

import json
from dataclasses import dataclass

from subfunction_simulator.apiserver.answers import discovery, openapi, openapi_v2
from subfunction_simulator.apiserver.answers.accept import discovery_form
from subfunction_simulator.apiserver.kinds.catalogue import Catalogue
from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.status import RefusedError


@dataclass(frozen=True, slots=True)
class Document:
    """A document is an answer and its media type."""

    content: bytes
    media: str = "application/json"


def describe(catalogue: Catalogue, path: str, accept: str, minor: int = discovery.MINOR) -> Document:
    """Give the document at a path, in a form that the client takes; raises RefusedError (404)."""
    steps, form = path.strip("/").split("/"), discovery_form(accept)
    if steps == ["openapi", "v2"] and openapi_v2.ASKED in accept:
        return Document(openapi_v2.document(catalogue), openapi_v2.MEDIA)
    if steps in (["api"], ["apis"]) and form:
        groups = ("",) if steps == ["api"] else catalogue.groups()
        media = f"application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList"
        return Document(json.dumps(discovery.aggregate(catalogue, groups, form)).encode(), media)
    found = discovery.version(minor) if steps == ["version"] else _find(catalogue, steps)
    if found is None:
        raise RefusedError.no_such_path()
    return Document(json.dumps(found).encode())


def _find(catalogue: Catalogue, steps: list[str]) -> JsonObject | None:
    match steps:
        case ["api"]:
            return discovery.core_versions()
        case ["apis"]:
            return discovery.group_list(catalogue)
        case ["api", version] if version in catalogue.versions(""):
            return discovery.resource_list(catalogue, "", version)
        case ["apis", group] if group in catalogue.groups():
            return discovery.group(catalogue, group)
        case ["apis", group, version] if version in catalogue.versions(group):
            return discovery.resource_list(catalogue, group, version)
        case ["openapi", "v3"]:
            return openapi.index(catalogue)
        case ["openapi", "v3", *root]:
            return openapi.document_at(catalogue, "/".join(root))
    return None
