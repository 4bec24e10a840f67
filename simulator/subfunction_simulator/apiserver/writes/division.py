"""An object is divided among those who write to it: some of its fields have owners of their own.

As k8s.io structured-merge-diff does it by the schema's `x-kubernetes-list-type` and `-map-type`; of Kubernetes' own
kinds, which have no schema here, by the names of the well-known lists. A field's path is written as in `fieldsV1`:
`f:NAME`, `k:{"type":"Ready"}` for an item of a list that is a map, `v:"x"` for one of a set.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from subfunction_simulator.apiserver.kinds.metadata import OBJECT_META
from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.writes.patch import MERGE_KEYS, MERGED_PRIMITIVES

Path: TypeAlias = tuple[str, ...]
OWNED_METADATA: Final = frozenset({"labels", "annotations", "finalizers", "ownerReferences"})
"""What of an object's metadata has owners."""
_UNDIVIDED: Final[JsonObject] = {"x-kubernetes-map-type": "atomic"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part is a value within an object."""

    value: Any
    schema: JsonObject | None
    """What its schema is; None where its kind has none."""
    name: str = ""
    """The field that it stands in."""

    @property
    def parts(self) -> dict[str, "Part"] | None:
        """Divide it, by the steps that lead to each part; None for what has one owner as a whole."""
        if isinstance(self.value, dict) and self.value:
            return self._fields()
        if isinstance(self.value, list):
            return self._items()
        return None

    def _fields(self) -> dict[str, "Part"] | None:
        if self.schema is None:
            return {f"f:{name}": Part(value, None, name) for name, value in self.value.items()}
        if self.schema.get("x-kubernetes-map-type") == "atomic":
            return None
        properties, free = self.schema.get("properties", {}), self.schema.get("additionalProperties")
        rest = free if isinstance(free, dict) else _UNDIVIDED
        return {f"f:{name}": Part(value, properties.get(name, rest), name) for name, value in self.value.items()}

    def _items(self) -> dict[str, "Part"] | None:
        kind, keys = self._list_type()
        below = None if self.schema is None else self.schema.get("items", _UNDIVIDED)
        if kind == "map" and all(isinstance(item, dict) for item in self.value):
            named = ({key: item[key] for key in keys if key in item} for item in self.value)
            return {f"k:{_compact(name)}": Part(item, below) for name, item in zip(named, self.value, strict=True)}
        if kind == "set":
            return {f"v:{_compact(item)}": Part(item, _UNDIVIDED) for item in self.value}
        return None

    def _list_type(self) -> tuple[str, list[str]]:
        if self.schema is not None:
            kind, keys = self.schema.get("x-kubernetes-list-type"), self.schema.get("x-kubernetes-list-map-keys")
            return kind or "atomic", keys or []
        if self.name in MERGE_KEYS:
            return "map", [MERGE_KEYS[self.name]]
        return ("set" if self.name in MERGED_PRIMITIVES else "atomic"), []

    def fields(self, path: Path = ()) -> Iterator[Path]:
        """Give the paths of all that has an owner in it."""
        parts = self.parts
        if parts is None:
            yield path
            return
        if path and path[-1].startswith("k:"):
            yield path
        for step, part in parts.items():
            yield from part.fields((*path, step))


def whole(obj: JsonObject, schema: JsonObject | None) -> Part:
    """Take of an object what has owners: not its kind, its name, or what the server alone writes."""
    metadata = {name: value for name, value in obj.get("metadata", {}).items() if name in OWNED_METADATA}
    rest = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata")}
    divided = {"metadata": metadata, **rest} if metadata else rest
    if schema is None:
        return Part(divided, None)
    return Part(divided, {**schema, "properties": {**schema.get("properties", {}), "metadata": _METADATA}})


_METADATA: Final[JsonObject] = {
    **OBJECT_META,
    "properties": {
        **OBJECT_META["properties"],
        "finalizers": {**OBJECT_META["properties"]["finalizers"], "x-kubernetes-list-type": "set"},
        "ownerReferences": {
            **OBJECT_META["properties"]["ownerReferences"],
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
        },
    },
}


def difference(old: Part, new: Part, path: Path = ()) -> tuple[set[Path], set[Path]]:
    """Give the paths that are new or have another value, and those that are no more."""
    if old.value == new.value:
        return set(), set()
    before, after = old.parts, new.parts
    if before is None or after is None:
        was, now = set(old.fields(path)), set(new.fields(path))
        return now, was - now
    changed: set[Path] = set()
    gone: set[Path] = set()
    for step in before.keys() | after.keys():
        there = (*path, step)
        if step not in after:
            gone.update(before[step].fields(there))
        elif step not in before:
            changed.update(after[step].fields(there))
        else:
            deeper = difference(before[step], after[step], there)
            changed |= deeper[0]
            gone |= deeper[1]
    return changed, gone


def lay_over(live: Part, applied: Part) -> Any:
    """Lay the applied value over the live one, divided values part by part."""
    before, over = live.parts, applied.parts
    if before is None or over is None:
        return applied.value
    together = {step: lay_over(part, over[step]) if step in over else part.value for step, part in before.items()}
    together |= {step: part.value for step, part in over.items() if step not in before}
    return _assemble(applied.value, together)


def without(part: Part, paths: Iterable[Path]) -> Any:
    """Give the value without what stands at some paths."""
    heads: dict[str, list[Path]] = {}
    for path in paths:
        heads.setdefault(path[0], []).append(path[1:])
    kept = {}
    for step, below in (part.parts or {}).items():
        tails = heads.get(step, [])
        if () not in tails:
            kept[step] = without(below, tails) if tails else below.value
    return _assemble(part.value, kept)


def _assemble(like: Any, parts: dict[str, Any]) -> Any:
    if isinstance(like, dict):
        return {step.removeprefix("f:"): value for step, value in parts.items()}
    return list(parts.values())


def nest_paths(paths: Iterable[Path]) -> JsonObject:
    """Write paths as `fieldsV1` does: one within the other, `.` for what is owned beside what is in it."""
    root: JsonObject = {}
    for path in sorted(paths):
        below = root
        for step in path:
            below = below.setdefault(step, {})
    for path in paths:
        below = root
        for step in path:
            below = below[step]
        if below:
            below["."] = {}
    return root


def flat(fields: JsonObject, path: Path = ()) -> Iterator[Path]:
    """Give the paths that a `fieldsV1` names."""
    if not fields and path:
        yield path
    for step, below in fields.items():
        if step == ".":
            yield path
        else:
            yield from flat(below, (*path, step))


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def write_path(path: Path) -> str:
    """Write a path as a conflict names it: `.spec.mtu`, `.status.conditions[type="Ready"].status`."""
    words = []
    for step in path:
        kind, _, rest = step.partition(":")
        if kind == "f":
            words.append(f".{rest}")
        elif kind == "k":
            words.append(f"[{','.join(f'{key}={_compact(value)}' for key, value in json.loads(rest).items())}]")
        else:
            words.append(f"[={rest}]")
    return "".join(words)
