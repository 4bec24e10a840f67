"""A body that a client sent is brought into the form of its kind: known fields only, defaults filled in."""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from subfunction_simulator.apiserver.kinds.metadata import OBJECT_META
from subfunction_simulator.apiserver.kinds.resources import Resource
from subfunction_simulator.apiserver.kinds.schema import Schema
from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.status import FieldError, RefusedError

_METADATA: Final = Schema(OBJECT_META)


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """These options say how a write is to be judged."""

    field_validation: str = "Warn"
    """What becomes of unknown fields: Strict refuses, Warn drops them with a warning, Ignore drops them."""
    dry_run: bool = False
    manager: str = "unknown"
    """Who writes: the query's `fieldManager`, else the program that the client says it is."""
    warnings: list[str] = field(default_factory=list)
    """Where warnings for the client are gathered."""


class UnknownFieldsError(RefusedError):
    """The object has fields its schema does not know, and the client wants to hear of them."""

    def __init__(self, resource: Resource, unknown: Sequence[str]) -> None:
        self.resource = resource
        self.unknown = unknown
        self.detail = "strict decoding error: " + ", ".join(f'unknown field "{path}"' for path in unknown)
        super().__init__(400, "BadRequest", f"{_describe_mismatch(resource)}: {self.detail}")

    def as_apply(self, name: str) -> RefusedError:
        """Say the same of an apply: that needs to know each field's owner, and so its schema."""
        kind = f"{self.resource.api_version}, Kind={self.resource.kind}"
        wrong = f".{self.unknown[0]}: field not declared in schema"
        return RefusedError(500, "InternalError", f"failed to create typed patch object (/{name}; {kind}): {wrong}")

    def as_patch(self) -> RefusedError:
        """Say the same of a patch."""
        error = FieldError("FieldValueInvalid", "patch", self.detail)
        causes = [{"reason": error.reason, "message": error.body, "field": error.field}]
        return RefusedError(422, "Invalid", f'"" is invalid: {error}', {"causes": causes})


def decode(resource: Resource, body: JsonObject, options: WriteOptions, *, fills: bool = True) -> JsonObject:
    """Copy the body into its kind's form, to be changed freely; `fills`: with the schema's defaults.

    Raises RefusedError: 400 for no kind or another version, for metadata of a wrong form and, in strict validation, for
    unknown fields; 422 for another kind.
    """
    kind, version = body.get("kind"), body.get("apiVersion")
    if resource.schema and not kind:
        subject = f"the object provided is unrecognized (must be of type {resource.kind})"
        raise RefusedError.bad_request(f"{subject}: Object 'Kind' is missing in '{json.dumps(body)}'")
    if not resource.schema:
        # Kubernetes' own kinds are known by their path.
        kind, version = kind or resource.kind, version or resource.api_version
    if version != resource.api_version:
        expected = f"the expected API version ({resource.api_version})"
        raise RefusedError.bad_request(f"the API version in the data ({version or ''}) does not match {expected}")
    metadata, dropped = _metadata(body)
    if kind != resource.kind:
        error = FieldError("FieldValueInvalid", "kind", f"must be {resource.kind}", kind)
        raise RefusedError.invalid(resource.group, str(kind), str(metadata.get("name") or ""), [error])
    if wrong := [f"metadata.{error}" for error in _METADATA.errors(metadata)]:
        raise RefusedError.bad_request(f"{_describe_mismatch(resource)}: {'; '.join(wrong)}")
    obj = {**body, "apiVersion": version, "kind": kind, "metadata": metadata}
    if resource.schema:
        obj, unknown_here = resource.schema.prune(obj)
        dropped += sorted(unknown_here)
    if dropped and options.field_validation == "Strict":
        raise UnknownFieldsError(resource, dropped)
    if options.field_validation == "Warn":
        options.warnings.extend(f'unknown field "{path}"' for path in dropped)
    return resource.schema.default(obj) if resource.schema and fills else copy.deepcopy(obj)


def _describe_mismatch(resource: Resource) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'


def _metadata(body: JsonObject) -> tuple[JsonObject, list[str]]:
    """Give the metadata without what is null, as tools print it, and the paths of what is unknown there."""
    written = body.get("metadata") or {}
    if not isinstance(written, dict):
        raise RefusedError.bad_request("metadata is an object")
    # The server alone says which manager owns which field.
    known = {name: value for name, value in written.items() if value is not None and name != "managedFields"}
    kept, dropped = _METADATA.prune(known)
    return kept, [f"metadata.{path}" for path in dropped]
