"""The structural schema of a CRD says what of an object is unknown, pruned, filled in by default, and wrong.

What is right is judged by `jsonschema`; its findings are put into the real API server's words (k8s.io/kube-openapi
`pkg/validation`), which people know and search for.
"""

import copy
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from jsonschema import Draft4Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from subfunction_simulator.apiserver.kinds.rules import Rules
from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.status import FieldError

_ROOT = frozenset({"apiVersion", "kind", "metadata"})
_UNCHECKED = FieldError(
    "FieldValueInvalid",
    "<nil>",
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
    None,
)
_FORMATS = FormatChecker(formats=())
_BOUNDS = {
    "minLength": "should be at least {} chars long",
    "minItems": "should have at least {} items",
    "minProperties": "should have at least {} properties",
    "minimum": "should be greater than or equal to {}",
    "maximum": "should be less than or equal to {}",
    "multipleOf": "should be a multiple of {}",
    "pattern": "should match '{}'",
}
_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


@_FORMATS.checks("int32")
def _is_int32(value: object) -> bool:
    return not isinstance(value, int) or -(2**31) <= value < 2**31


@_FORMATS.checks("int64")
def _is_int64(value: object) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or ("T" in value and datetime.fromisoformat(value).tzinfo is not None)


class Schema:
    """A schema judges objects by one version's `openAPIV3Schema`."""

    __slots__ = ("_rules", "_validator", "root")

    def __init__(self, root: JsonObject) -> None:
        self.root = root
        self._validator = Draft4Validator(root, format_checker=_FORMATS)
        self._rules = Rules.compile(root)

    def prune(self, obj: JsonObject) -> tuple[JsonObject, list[str]]:
        """Drop what the schema does not know, and wrong nulls; give the rest, and the paths of what was unknown."""
        dropped: list[str] = []
        kept = {name: value for name, value in obj.items() if name in _ROOT}
        rest = {name: value for name, value in obj.items() if name not in _ROOT}
        return {**kept, **_prune(self.root, rest, "", dropped)}, dropped

    def default(self, obj: JsonObject) -> JsonObject:
        """Copy the object, and fill in the schema's defaults."""
        filled = copy.deepcopy(obj)
        _fill(self.root, filled)
        return filled

    def errors(self, obj: JsonObject, old: JsonObject | None = None) -> list[FieldError]:
        """Tell what is wrong with an object; what was wrong before and did not change is let pass (ratcheting)."""
        found: dict[str, FieldError] = {}
        for failure in self._validator.iter_errors(obj):
            if old is not None and _at(old, failure) == failure.instance:
                continue
            for error in _translate(failure):
                found.setdefault(str(error), error)
        for error in _duplicates(self.root, obj, ""):
            found.setdefault(str(error), error)
        errors = list(found.values())
        if any(error.blocking for error in errors):
            return [*errors, _UNCHECKED]
        return errors + self._rules.errors(obj, old)


def _children(schema: JsonObject, value: Any) -> Iterator[tuple[str, JsonObject | None, Any, Any]]:
    """Give each part of a value: its path's last step, its schema (None where it has none), its key, and itself."""
    if isinstance(value, dict):
        properties, free = schema.get("properties", {}), schema.get("additionalProperties")
        for name, part in value.items():
            yield f".{name}", properties.get(name, free if isinstance(free, dict) else None), name, part
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield f"[{index}]", schema.get("items", {}), index, part


def _prune(schema: JsonObject, value: Any, path: str, dropped: list[str]) -> Any:
    if schema.get("x-kubernetes-preserve-unknown-fields") or not isinstance(value, dict | list):
        return value
    kept: list[tuple[Any, Any]] = []
    for step, part_schema, key, part in _children(schema, value):
        if part_schema is None:
            dropped.append(f"{path}{step}".removeprefix("."))
        elif part is not None or part_schema.get("nullable") or isinstance(value, list):
            kept.append((key, _prune(part_schema, part, path + step, dropped)))
    return dict(kept) if isinstance(value, dict) else [part for _, part in kept]


def _fill(schema: JsonObject, value: Any) -> None:
    if isinstance(value, dict):
        for name, part in schema.get("properties", {}).items():
            if "default" in part and value.get(name) is None and not part.get("nullable"):
                value[name] = copy.deepcopy(part["default"])
    for _, part_schema, _, part in _children(schema, value):
        if part_schema is not None:
            _fill(part_schema, part)


def _duplicates(schema: JsonObject, value: Any, path: str) -> Iterator[FieldError]:
    """Find items that occur twice in a list that is a set or a map (`x-kubernetes-list-type`)."""
    if isinstance(value, list) and schema.get("x-kubernetes-list-type") in ("set", "map"):
        keys = schema.get("x-kubernetes-list-map-keys")
        seen: list[Any] = []
        for index, item in enumerate(value):
            identity = {key: item.get(key) for key in keys} if keys and isinstance(item, dict) else item
            if seen.count(identity) == 1:
                yield FieldError("FieldValueDuplicate", f"{path}[{index}]", value=identity)
            seen.append(identity)
    for step, part_schema, _, part in _children(schema, value):
        if part_schema is not None:
            yield from _duplicates(part_schema, part, (path + step).removeprefix("."))


def _at(value: Any, failure: ValidationError) -> Any:
    for key in failure.absolute_path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return _at  # equal to no JSON value
    return value


def _translate(failure: ValidationError) -> Iterator[FieldError]:
    steps = [f"[{key}]" if isinstance(key, int) else f".{key}" for key in failure.absolute_path]
    path = "".join(steps).removeprefix(".")
    value: Any = failure.instance
    limit: Any = failure.validator_value
    kind = str(failure.validator)
    if kind == "required":
        for name in limit:
            if name not in value:
                yield FieldError("FieldValueRequired", f"{path}.{name}".removeprefix("."))
    elif kind == "type":
        given = _TYPES.get(type(value), "null")
        detail = f'{path} in body must be of type {limit}: "{given}"'
        yield FieldError("FieldValueTypeInvalid", path, detail, given)
    elif kind == "enum":
        yield FieldError("FieldValueNotSupported", path, f"supported values: {', '.join(map(_quote, limit))}", value)
    elif kind == "maxLength":
        yield FieldError("FieldValueTooLong", path, f"may not be more than {limit} bytes")
    elif kind in ("maxItems", "maxProperties"):
        yield FieldError("FieldValueTooMany", path, f"must have at most {limit} items", len(value))
    elif kind == "format":
        # A number out of range leaves the rules to be judged, and their sentences to be read; other forms do not.
        reason = "FieldValueInvalid" if str(limit).startswith("int") else "FieldValueTypeInvalid"
        yield FieldError(reason, path, f"{path} in body must be of type {limit}: {_quote(value)}", value)
    elif kind in _BOUNDS:
        shown = len(value) if kind in ("minItems", "minProperties") else value
        yield FieldError("FieldValueInvalid", path, f"{path} in body {_BOUNDS[kind].format(limit)}", shown)
    else:
        yield FieldError("FieldValueInvalid", path, failure.message, value)


def _quote(value: object) -> str:
    return f'"{value}"'
