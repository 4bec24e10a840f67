"""The server notes who wrote which field (`metadata.managedFields`), and server-side apply goes by it.

As KEP-555 has it: a manager that writes a value owns its field, with the others if they all want the same value. An
apply with another value than the owners' is a conflict, unless it is forced; a field that an applier names no more, and
that has no other owner, is removed.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from subfunction_simulator.apiserver.kinds.resources import Resource
from subfunction_simulator.apiserver.objects import JsonObject, timestamp
from subfunction_simulator.apiserver.status import RefusedError
from subfunction_simulator.apiserver.writes.division import (
    OWNED_METADATA,
    Part,
    Path,
    difference,
    flat,
    lay_over,
    nest_paths,
    whole,
    without,
    write_path,
)

Operation: TypeAlias = Literal["Apply", "Update"]


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner is a manager that wrote in one way, with its fields."""

    manager: str
    operation: Operation
    version: str
    subresource: str = ""
    fields: frozenset[Path] = frozenset()
    time: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """Give what makes two entries the same owner."""
        return (self.manager, self.operation, self.version, self.subresource)

    @classmethod
    def of(cls, entry: JsonObject) -> "Owner":
        """Read an owner from its entry in `managedFields`."""
        return cls(
            manager=entry["manager"],
            operation=entry["operation"],
            version=entry["apiVersion"],
            subresource=entry.get("subresource", ""),
            fields=frozenset(flat(entry["fieldsV1"])),
            time=entry["time"],
        )

    def entry(self) -> JsonObject:
        """Write the owner's entry in `managedFields`."""
        below = {"subresource": self.subresource} if self.subresource else {}
        return {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": nest_paths(self.fields),
            **below,
        }

    def now(self, fields: Iterable[Path]) -> "Owner":
        """Give the owner of other fields, from now on; the same where they are the same."""
        owned = frozenset(fields)
        return self if owned == self.fields and self.time else replace(self, fields=owned, time=timestamp())


def record_update(resource: Resource, old: JsonObject | None, new: JsonObject, writer: Owner) -> JsonObject:
    """Give the new object its owners, after a write that was no apply; it comes with those that it had."""
    schema = resource.schema.root if resource.schema else None
    after = whole(new, schema)
    if old is None:
        return _set_owners(new, [writer.now(after.fields())])
    changed, gone = difference(whole(old, schema), after)
    if not changed and not gone:
        return new
    owners = {owner.key: owner for owner in _owners(new)}
    mine = owners.pop(writer.key, writer)
    lost = changed | gone
    others = [owner.now(owner.fields - lost) for owner in owners.values()]
    return _set_owners(new, [*others, mine.now((mine.fields | changed) - gone)])


def merge_apply(
    resource: Resource, live: JsonObject | None, config: JsonObject, writer: Owner, *, force: bool
) -> JsonObject:
    """Make of the live object, if there is one, what an apply wants; raises RefusedError (409) for a conflict."""
    schema = resource.schema.root if resource.schema else None
    wanted = whole(config, schema)
    fields = frozenset(wanted.fields()) if wanted.value else frozenset()
    if live is None:
        return _set_owners(config, [writer.now(fields)])
    there = whole(live, schema)
    owners = {owner.key: owner for owner in _owners(live)}
    mine = owners.pop(writer.key, writer)
    theirs: frozenset[Path] = frozenset().union(*(owner.fields for owner in owners.values()))
    together = Part(lay_over(there, wanted), wanted.schema)
    left = {_find_removed_part(path, fields | theirs) for path in mine.fields - fields} - {()}
    outcome = Part(without(together, left), wanted.schema)
    contested = difference(there, outcome)[0] & fields
    clashes = [(owner, contested & owner.fields) for owner in owners.values() if contested & owner.fields]
    if clashes and not force:
        raise _conflict(clashes)
    others = [owner.now(owner.fields - contested) for owner in owners.values()]
    return _set_owners(_with(live, outcome.value), [*others, mine.now(fields)])


def read_owners(obj: JsonObject) -> list[JsonObject] | None:
    """Read the owners that a client wrote into an object (kubectl, when it turns to apply); None for none."""
    try:
        return [Owner.of(entry).entry() for entry in obj["metadata"]["managedFields"]]
    except (KeyError, TypeError, AttributeError):
        return None


def _find_removed_part(path: Path, fields: AbstractSet[Path]) -> Path:
    """Find the longest part of a path that goes when the path does: no field below it has an owner any more."""
    for steps in range(1, len(path) + 1):
        if not any(field[:steps] == path[:steps] for field in fields):
            return path[:steps]
    return ()


def _with(live: JsonObject, parts: JsonObject) -> JsonObject:
    """Replace what has owners in the live object."""
    owned = parts.get("metadata", {})
    kept = {name: value for name, value in live["metadata"].items() if name not in OWNED_METADATA}
    rest = {name: value for name, value in parts.items() if name != "metadata"}
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": {**kept, **owned}, **rest}


def _owners(obj: JsonObject) -> Iterator[Owner]:
    return (Owner.of(entry) for entry in obj["metadata"].get("managedFields") or ())


def _set_owners(obj: JsonObject, owners: Iterable[Owner]) -> JsonObject:
    entries = [owner.entry() for owner in owners if owner.fields]
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": {**metadata, **({"managedFields": entries} if entries else {})}}


def _conflict(clashes: Sequence[tuple[Owner, AbstractSet[Path]]]) -> RefusedError:
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {_name_owner(owner)}", "field": write_path(path)}
        for owner, paths in clashes
        for path in sorted(paths)
    ]
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        lines = (
            line
            for owner, paths in clashes
            for line in (f"conflicts with {_name_owner(owner)}:", *(f"- {write_path(path)}" for path in sorted(paths)))
        )
        message = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
    return RefusedError(409, "Conflict", message, {"causes": causes})


def _name_owner(owner: Owner) -> str:
    below = f' with subresource "{owner.subresource}"' if owner.subresource else ""
    how = f" using {owner.version}" if owner.operation == "Update" else ""
    return f'"{owner.manager}"{below}{how}'
