"""A body that a client sent, brought into the form of its kind: known fields only, defaults filled in."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from subfunction_simulator.apiserver.metadata import OBJECT_META
from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.resources import Resource
from subfunction_simulator.apiserver.schema import Schema
from subfunction_simulator.apiserver.status import FieldError, RefusedError

_METADATA: Final = Schema(OBJECT_META)


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a write is to be judged."""

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
        self.detail = f"strict decoding error: {', '.join(unknown)}"
        subject = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
        super().__init__(400, "BadRequest", f"{subject}: {self.detail}")

    def as_patch(self) -> RefusedError:
        """The same, said of a patch."""
        error = FieldError("FieldValueInvalid", "patch", self.detail)
        causes = [{"reason": error.reason, "message": error.body, "field": error.field}]
        return RefusedError(422, "Invalid", f'"" is invalid: {error}', {"causes": causes})


def decode(resource: Resource, body: JsonObject, options: WriteOptions, *, fills: bool = True) -> JsonObject:
    """The object in its kind's form, as a copy of the body that may be changed; `fills`: with the schema's defaults.

    Raises RefusedError (400) for another kind, for metadata of a wrong form and, in strict validation, for unknown
    fields.
    """
    kind, version = body.get("kind", resource.kind), body.get("apiVersion", resource.api_version)
    if version != resource.api_version:
        raise RefusedError.bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})"
        )
    metadata, dropped = _metadata(body)
    wrong = [] if kind == resource.kind else [f"{kind} cannot be handled as a {resource.kind}"]
    wrong += [f"metadata.{error}" for error in _METADATA.errors(metadata)]
    if wrong:
        raise RefusedError.bad_request(f'{kind} in version "{resource.version}": {"; ".join(wrong)}')
    obj = {**body, "apiVersion": version, "kind": kind, "metadata": metadata}
    if resource.schema:
        obj, unknown_here = resource.schema.prune(obj)
        dropped += unknown_here
    unknown = [f'unknown field "{path}"' for path in dropped]
    if unknown and options.field_validation == "Strict":
        raise UnknownFieldsError(resource, unknown)
    if options.field_validation == "Warn":
        options.warnings.extend(unknown)
    return resource.schema.default(obj) if resource.schema and fills else copy.deepcopy(obj)


def _metadata(body: JsonObject) -> tuple[JsonObject, list[str]]:
    """The metadata without what is null, as tools print it, and the paths of what is unknown there."""
    written = body.get("metadata") or {}
    if not isinstance(written, dict):
        raise RefusedError.bad_request("metadata is an object")
    # Who owns which field is the server's to say.
    known = {name: value for name, value in written.items() if value is not None and name != "managedFields"}
    kept, dropped = _METADATA.prune(known)
    return kept, [f"metadata.{path}" for path in dropped]
