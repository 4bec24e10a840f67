"""Label and field selectors say which objects a list or a watch is about."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from subfunction_simulator.apiserver.kinds.resources import Resource
from subfunction_simulator.apiserver.objects import JsonObject, dig
from subfunction_simulator.apiserver.status import RefusedError

Requirement: TypeAlias = Callable[[JsonObject], bool]

_TERM = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<not>[^\s,!=()]+)"
    r"|(?P<set>[^\s,!=()]+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)"
    r"|(?P<key>[^\s,!=()]+)\s*(?:(?P<cmp>==|=|!=)\s*(?P<value>[^\s,]*))?)\s*(?:,|$)"
)
_METADATA_FIELDS = ("metadata.name", "metadata.namespace")


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection says what an object must fulfil to be part of a list or a watch."""

    namespace: str | None
    """None: all of them, or a cluster-scoped kind."""
    requirements: tuple[Requirement, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Say whether each object is selected."""
        return self.namespace is None and not self.requirements

    def matches(self, obj: JsonObject) -> bool:
        """Say whether an object is selected."""
        if self.namespace is not None and obj["metadata"].get("namespace") != self.namespace:
            return False
        return all(requirement(obj) for requirement in self.requirements)


def select(resource: Resource, namespace: str | None, labels: str, fields: str) -> Selection:
    """Make the selection that a request's `labelSelector` and `fieldSelector` ask for.

    Raises RefusedError (400) for one that cannot be parsed, or a field this kind cannot be selected by.
    """
    return Selection(namespace, (*_parse_labels(labels), *_parse_fields(resource, fields)))


def _parse_labels(text: str) -> list[Requirement]:
    requirements: list[Requirement] = []
    position = 0
    while position < len(text):
        term = _TERM.match(text, position)
        if not term or term.end() == position:
            raise RefusedError.bad_request(f"unable to parse requirement: found '{text[position:]}' in {text!r}")
        position = term.end()
        requirements.append(_label_requirement(term))
    return requirements


def _label_requirement(term: re.Match[str]) -> Requirement:
    if term["absent"]:
        key = term["not"]
        return lambda obj: key not in _labels(obj)
    if term["set"]:
        key, values = term["set"], {value.strip() for value in term["values"].split(",")}
        if term["op"] == "in":
            return lambda obj: _labels(obj).get(key) in values
        return lambda obj: _labels(obj).get(key) not in values
    key, value = term["key"], term["value"]
    if term["cmp"] is None:
        return lambda obj: key in _labels(obj)
    if term["cmp"] == "!=":
        return lambda obj: _labels(obj).get(key) != value
    return lambda obj: _labels(obj).get(key) == value


def _labels(obj: JsonObject) -> dict[str, str]:
    labels: dict[str, str] = obj["metadata"].get("labels") or {}
    return labels


def _parse_fields(resource: Resource, text: str) -> list[Requirement]:
    requirements: list[Requirement] = []
    for term in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", term)
        if not match:
            raise RefusedError.bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
        key, operator, value = match.groups()
        if key not in _METADATA_FIELDS and key not in resource.selectable:
            raise RefusedError.bad_request(f"field label not supported: {key}")
        requirements.append(_field_requirement(key.split("."), value, wanted=operator != "!="))
    return requirements


def _field_requirement(keys: list[str], value: str, *, wanted: bool) -> Requirement:
    return lambda obj: (_to_text(dig(obj, keys)) == value) is wanted


def _to_text(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
