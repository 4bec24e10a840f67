"""The one thing that kubectl reads in OpenAPI v2: that a PATCH takes `fieldValidation`, so the server validates.

kubectl asks for it where OpenAPI v3 does not name a kind: for the `v1 List` that a file with several objects may be. It
asks in protobuf only. What is written here is the part of google/gnostic-models' `openapi.v2.Document`
(`openapiv2/OpenAPIv2.proto`) that says it, in protobuf's wire format: a field is its tag, its length and its content.
"""

import json
from typing import Final

from subfunction_simulator.apiserver.kinds.catalogue import Catalogue
from subfunction_simulator.apiserver.kinds.resources import Resource

ASKED: Final = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
"""How clients ask for it."""
MEDIA: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""What it is sent as: the `@` that clients write is not legal in a media type."""


def document(catalogue: Catalogue) -> bytes:
    """Build `/openapi/v2`, without definitions."""
    paths = b"".join(_field(2, _path(resource)) for resource in catalogue.resources if not resource.read_only)
    return _field(1, b"2.0") + _field(8, paths)


def _path(resource: Resource) -> bytes:
    """Build NamedPathItem, PathItem, and the Operation of its PATCH."""
    kind = json.dumps({"group": resource.group, "version": resource.version, "kind": resource.kind})
    extension = _field(1, b"x-kubernetes-group-version-kind") + _field(2, _field(2, kind.encode()))
    operation = _field(8, _parameter(b"fieldValidation")) + _field(13, extension)
    scope = "namespaces/{namespace}/" if resource.namespaced else ""
    name = f"{resource.root}/{scope}{resource.plural}/{{name}}"
    return _field(1, name.encode()) + _field(2, _field(8, operation))


def _parameter(name: bytes) -> bytes:
    """Build ParametersItem, Parameter, NonBodyParameter, QueryParameterSubSchema: a parameter of the query."""
    return _field(1, _field(2, _field(3, _field(2, b"query") + _field(4, name))))


def _field(number: int, content: bytes) -> bytes:
    """Encode a field of bytes: wire type 2."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
