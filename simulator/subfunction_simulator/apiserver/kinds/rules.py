"""The CEL rules of a CRD (`x-kubernetes-validations`) are compiled once and judged on every write.

As the real API server does it (KEP-2876, KEP-4008): a rule that names `oldSelf` is judged on updates only; a rule
that fails on a value which did not change is let pass (ratcheting); items of lists are matched with their old selves
only where the list is a map. The evaluator, the `common-expression-language` library, knows core CEL and no function
of Kubernetes' own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cel

from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.status import OMITTED, FieldError

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule is compiled, and judges one value."""

    program: cel.Program
    message: str
    reason: str
    field_path: str
    is_transition: bool
    """Whether it compares with what was there before."""

    @classmethod
    def compile(cls, written: JsonObject) -> "Rule":
        """Compile a rule from its entry in the CRD; raises ValueError for a wrong or unknown part."""
        unknown = written.keys() - {"rule", "message", "reason", "fieldPath"}
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))} of a rule are not supported here: {written['rule']}")
        program = cel.compile(written["rule"])
        return cls(
            program=program,
            message=written.get("message") or f"failed rule: {written['rule']}",
            reason=written.get("reason", "FieldValueInvalid"),
            field_path=written.get("fieldPath", ""),
            is_transition="oldSelf" in program.variables(),
        )

    def error(self, path: str, value: Any, old: Any) -> FieldError | None:
        """Tell what the rule finds wrong with a value, or None."""
        if old is _ABSENT if self.is_transition else old == value:
            return None
        scope = {"self": value, "oldSelf": old} if self.is_transition else {"self": value}
        try:
            holds = self.program.execute(scope)
        except (ValueError, TypeError, KeyError, RuntimeError, OverflowError) as error:
            return FieldError("FieldValueInvalid", path.removeprefix("."), f"{error} evaluating rule: {self.message}")
        if holds is True:
            return None
        where = f"{path}{self.field_path}".removeprefix(".")
        return FieldError(self.reason, where, self.message, OMITTED if isinstance(value, dict | list) else value)


@dataclass(frozen=True, slots=True)
class Rules:
    """A tree of rules judges one place in a schema and all places below it."""

    own: tuple[Rule, ...]
    properties: dict[str, "Rules"]
    every: "Rules | None"
    """Those of each item of a list, or of each value of a free map."""
    keys: tuple[str, ...]
    """What makes an item of a list the same item (`x-kubernetes-list-map-keys`)."""

    @classmethod
    def compile(cls, schema: JsonObject) -> "Rules":
        """Compile the rules of a schema; raises ValueError for one that cannot be parsed."""
        below = {name: cls.compile(part) for name, part in schema.get("properties", {}).items()}
        each = schema.get("items") or schema.get("additionalProperties")
        every = cls.compile(each) if isinstance(each, dict) else None
        return cls(
            own=tuple(Rule.compile(rule) for rule in schema.get("x-kubernetes-validations", ())),
            properties={name: rules for name, rules in below.items() if rules},
            every=every or None,
            keys=tuple(schema.get("x-kubernetes-list-map-keys", ())),
        )

    def __bool__(self) -> bool:
        return bool(self.own or self.properties or self.every)

    def errors(self, obj: JsonObject, old: JsonObject | None) -> list[FieldError]:
        """Tell what the rules find wrong with a whole object, compared with the one it replaces, if any."""
        before = _ABSENT if old is None else _visible(old)
        return list(self.walk("", _visible(obj), before))

    def walk(self, path: str, value: Any, old: Any) -> Iterator[FieldError]:
        """Tell what they find wrong with the value at a path, compared with what was there."""
        for rule in self.own:
            error = rule.error(path, value, old)
            if error:
                yield error
        if isinstance(value, dict):
            for name, item in value.items():
                rules = self.properties.get(name) or (None if name in self.properties else self.every)
                if rules:
                    before = old.get(name, _ABSENT) if isinstance(old, dict) else _ABSENT
                    # The real server writes a field with a dot, and a key of a free map in brackets.
                    step = f".{name}" if name in self.properties else f"[{name}]"
                    yield from rules.walk(f"{path}{step}", item, before)
        elif isinstance(value, list) and self.every:
            for index, item in enumerate(value):
                yield from self.every.walk(f"{path}[{index}]", item, self._old_self(item, old))

    def _old_self(self, item: Any, old: Any) -> Any:
        if not self.keys or not isinstance(old, list):
            return _ABSENT
        identity = [item.get(key) for key in self.keys]
        return next((before for before in old if [before.get(key) for key in self.keys] == identity), _ABSENT)


def _visible(obj: JsonObject) -> JsonObject:
    """Give the object as rules see it: of its metadata only the name."""
    metadata = obj.get("metadata", {})
    named = {key: metadata[key] for key in ("name", "generateName") if key in metadata}
    return {**obj, "metadata": named}
