"""A refusal has the words and the `Status` object of the real API server.

The words are those of k8s.io/apimachinery v0.36 (`pkg/api/errors`, `pkg/util/validation/field`): kubectl prints them,
and people search for them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from subfunction_simulator.apiserver.objects import JsonObject

OMITTED: Final = object()
"""The value of a FieldError that does not repeat what was written (objects and lists)."""

_BODIES = {
    "FieldValueRequired": "Required value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueTypeInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
}
_BLOCKING = {
    "FieldValueRequired",
    "FieldValueTypeInvalid",
    "FieldValueNotSupported",
    "FieldValueTooLong",
    "FieldValueTooMany",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """An error says what is wrong with one field."""

    reason: str
    field: str
    detail: str = ""
    value: Any = OMITTED

    @property
    def body(self) -> str:
        """Give the sentence without the field's name."""
        value = "" if self.value is OMITTED else json.dumps(self.value, ensure_ascii=False, separators=(",", ":"))
        return ": ".join(part for part in (_BODIES[self.reason], value, self.detail) if part)

    @property
    def blocking(self) -> bool:
        """Say whether rules cannot be judged while it stands."""
        return self.reason in _BLOCKING

    def __str__(self) -> str:
        """Give the whole sentence."""
        return f"{self.field}: {self.body}"


class RefusedError(Exception):
    """A request is refused, and answered by a `Status` of kind Failure."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: JsonObject | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}

    def to_json(self) -> JsonObject:
        """Give the `Status` object (meta.k8s.io/v1)."""
        body: JsonObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            body["details"] = self.details
        return body

    @classmethod
    def bad_request(cls, message: str) -> Self:
        """Answer 400: the request itself is wrong."""
        return cls(400, "BadRequest", message)

    @classmethod
    def forbidden(cls, verb: str, group: str, plural: str, namespace: str | None) -> Self:
        """Answer 403: a client that shows no token may not do that."""
        scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        what = f'{verb} resource "{plural}" in API group "{group}" {scope}'
        message = f'{_qualify(plural, group)} is forbidden: User "system:anonymous" cannot {what}'
        return cls(403, "Forbidden", message, _details(group, plural, ""))

    @classmethod
    def not_found(cls, group: str, plural: str, name: str) -> Self:
        """Answer 404: there is no object of that name."""
        return cls(404, "NotFound", f'{_qualify(plural, group)} "{name}" not found', _details(group, plural, name))

    @classmethod
    def no_such_path(cls) -> Self:
        """Answer 404: nothing is served there."""
        return cls(404, "NotFound", "the server could not find the requested resource")

    @classmethod
    def method_not_allowed(cls) -> Self:
        """Answer 405: that verb is not served there."""
        message = "the server does not allow this method on the requested resource"
        return cls(405, "MethodNotAllowed", message)

    @classmethod
    def already_exists(cls, group: str, plural: str, name: str) -> Self:
        """Answer 409: a create met an object of that name."""
        message = f'{_qualify(plural, group)} "{name}" already exists'
        return cls(409, "AlreadyExists", message, _details(group, plural, name))

    @classmethod
    def conflict(cls, group: str, plural: str, name: str, why: str) -> Self:
        """Answer 409: the object is not the one the request was made for."""
        message = f'Operation cannot be fulfilled on {_qualify(plural, group)} "{name}": {why}'
        return cls(409, "Conflict", message, _details(group, plural, name))

    @classmethod
    def expired(cls, message: str) -> Self:
        """Answer 410: that revision is no longer remembered."""
        return cls(410, "Expired", message)

    @classmethod
    def unsupported_media_type(cls, accepted: Sequence[str]) -> Self:
        """Answer 415: the body is of a type that this resource does not take."""
        message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(
            accepted
        )
        return cls(415, "UnsupportedMediaType", message)

    @classmethod
    def invalid(cls, group: str, kind: str, name: str, errors: Sequence[FieldError]) -> Self:
        """Answer 422: the object is well-formed, and wrong."""
        listed = str(errors[0]) if len(errors) == 1 else f"[{', '.join(map(str, errors))}]"
        causes = [{"reason": error.reason, "message": error.body, "field": error.field} for error in errors]
        message = f'{_qualify(kind, group)} "{name}" is invalid: {listed}'
        return cls(422, "Invalid", message, {**_details(group, kind, name), "causes": causes})


def _qualify(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def _details(group: str, kind: str, name: str) -> JsonObject:
    return {key: value for key, value in (("name", name), ("group", group), ("kind", kind)) if value}
