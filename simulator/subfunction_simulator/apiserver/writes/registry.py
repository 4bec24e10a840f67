"""A write goes through steps: names and revisions, the split of spec and status, validation, finalizers.

The order of the steps is that of k8s.io/apiserver `pkg/registry/generic/registry` with the strategy of custom
resources. Nothing here awaits, so each write is one indivisible step.
"""

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from subfunction_simulator.apiserver.kinds.catalogue import NAMESPACES, PODS
from subfunction_simulator.apiserver.kinds.place import Place
from subfunction_simulator.apiserver.kinds.resources import Resource
from subfunction_simulator.apiserver.objects import JsonObject, dig, timestamp
from subfunction_simulator.apiserver.status import FieldError, RefusedError
from subfunction_simulator.apiserver.storage.selector import Selection
from subfunction_simulator.apiserver.storage.store import Store
from subfunction_simulator.apiserver.writes.decoding import UnknownFieldsError, WriteOptions, decode
from subfunction_simulator.apiserver.writes.managed import Owner, merge_apply, read_owners, record_update
from subfunction_simulator.apiserver.writes.validation import validate

_KEPT: Final = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")
_GENERATED_NAME_ROOM: Final = 58
SetOwners: TypeAlias = Callable[[JsonObject], JsonObject]
"""Gives an object its owners."""


@dataclass(frozen=True, slots=True)
class Preconditions:
    """Preconditions say what the object must be for a delete to hit it."""

    uid: str | None = None
    revision: str | None = None


class Registry:
    """The registry makes the writes, over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, place: Place, obj: JsonObject, options: WriteOptions) -> JsonObject:
        """Store a new object; raises RefusedError: 400, 404 (no such namespace), 409 (exists), 422 (invalid)."""
        return self._create(
            place, obj, options, lambda new: record_update(place.resource, None, new, _writer(place, options))
        )

    def _create(self, place: Place, obj: JsonObject, options: WriteOptions, set_owners: SetOwners) -> JsonObject:
        resource = place.resource
        new = decode(resource, obj, options)
        metadata = dict(new["metadata"])
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"][:_GENERATED_NAME_ROOM] + secrets.token_hex(3)[:5]
        name = str(metadata.get("name") or "")
        place = Place(resource, self._namespace(place, metadata), name)
        if resource.namespaced:
            metadata["namespace"] = place.namespace
        if metadata.pop("resourceVersion", ""):
            raise RefusedError(500, "InternalError", "resourceVersion should not be set on objects to be created")
        for kept in _KEPT:
            metadata.pop(kept, None)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp()}
        if resource.schema:
            metadata["generation"] = 1
        new["metadata"] = metadata
        if resource.has_status and not resource.keeps_status_on_create:
            new.pop("status", None)
        new = _with_core_defaults(resource, new)
        validate(place, new, None)
        if place.key in self._store.collection(resource).objects:
            raise RefusedError.already_exists(resource.group, resource.plural, name)
        new = set_owners(new)
        return new if options.dry_run else self._store.put(resource, place.key, new)

    def replace(self, place: Place, obj: JsonObject, options: WriteOptions) -> JsonObject:
        """Put an object in the place of the one there; raises RefusedError: 400, 404, 409 (not the newest), 422."""
        old = self._store.get(place.resource, place.key)
        if place.resource.schema and not dig(obj, ("metadata", "resourceVersion")):
            missing = FieldError("FieldValueInvalid", "metadata.resourceVersion", "must be specified for an update", 0)
            raise RefusedError.invalid(place.resource.group, place.resource.kind, place.name, [missing])
        return self._update(place, old, obj, options)

    def patch(self, place: Place, change: Callable[[JsonObject], JsonObject], options: WriteOptions) -> JsonObject:
        """Change an object by a function of it; raises RefusedError: 404, 409, 422 and what the function raises."""
        old = self._store.get(place.resource, place.key)
        try:
            return self._update(place, old, change(old), options)
        except UnknownFieldsError as error:
            raise error.as_patch() from error

    def apply(self, place: Place, config: JsonObject, options: WriteOptions, *, force: bool) -> tuple[JsonObject, bool]:
        """Bring what a configuration names to be so, and gives the object and whether it is new.

        Raises RefusedError: 400, 404, 409 (others own it and want it otherwise), 422.
        """
        resource, writer = place.resource, replace(_writer(place, options), operation="Apply")
        try:
            wanted = decode(resource, config, replace(options, field_validation="Strict"), fills=False)
        except UnknownFieldsError as error:
            raise error.as_apply(place.name) from error
        if resource.has_status:
            # What the other half says is not claimed.
            others = {"spec"} if place.subresource else {"status"}
            wanted = _without(wanted, *others)
        live = self._store.collection(resource).objects.get(place.key)
        if live is None:
            if place.subresource:
                raise RefusedError.not_found(resource.group, resource.plural, place.name)
            named = {**wanted, "metadata": {**wanted["metadata"], "name": place.name}}
            owners = merge_apply(resource, None, named, writer, force=force)["metadata"]["managedFields"]
            return self._create(place, named, options, lambda new: _set_managed_fields(new, owners)), True
        together = merge_apply(resource, live, wanted, writer, force=force)
        owners = together["metadata"].get("managedFields", [])
        return self._update(place, live, together, options, lambda new: _set_managed_fields(new, owners)), False

    def delete(self, place: Place, preconditions: Preconditions, options: WriteOptions) -> tuple[JsonObject, bool]:
        """Delete an object, or mark it while finalizers hold it; gives it and whether it is gone.

        Grace periods and propagation are ignored: a pod is gone at once, and nothing is collected but a namespace's
        content.
        """
        old = self._store.get(place.resource, place.key)
        self._check(place, old, preconditions)
        finalizers = old["metadata"].get("finalizers")
        if options.dry_run:
            return old, not finalizers
        if not finalizers:
            if place.resource is NAMESPACES:
                self._empty(place.name)
            return self._store.remove(place.resource, place.key), True
        if old["metadata"].get("deletionTimestamp"):
            return old, False
        metadata = {**old["metadata"], "deletionTimestamp": timestamp(), "deletionGracePeriodSeconds": 0}
        if "generation" in metadata:
            metadata["generation"] += 1
        return self._store.put(place.resource, place.key, {**old, "metadata": metadata}), False

    def delete_all(self, resource: Resource, selection: Selection, options: WriteOptions) -> list[JsonObject]:
        """Delete every selected object; gives them as they were left."""
        chosen = self._store.collection(resource).list_selected(selection)
        return [self.delete(_place(resource, obj), Preconditions(), options)[0] for obj in chosen]

    def _update(
        self, place: Place, old: JsonObject, obj: JsonObject, options: WriteOptions, set_owners: SetOwners | None = None
    ) -> JsonObject:
        resource = place.resource
        new = decode(resource, obj, options)
        metadata = new["metadata"]
        if metadata.get("name", place.name) != place.name:
            raise RefusedError.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({place.name})"
            )
        self._check(place, old, Preconditions(metadata.get("uid"), metadata.get("resourceVersion")))
        if place.subresource == "status":
            new = _with_status_of(new, old)
        else:
            kept = {name: old["metadata"][name] for name in (*_KEPT, "name", "namespace") if name in old["metadata"]}
            changed = {name: value for name, value in metadata.items() if name not in _KEPT}
            new["metadata"] = {**changed, **kept, "resourceVersion": old["metadata"]["resourceVersion"]}
            if resource.has_status:
                new = _with_status_of(old, new)
        owners = read_owners(obj) or old["metadata"].get("managedFields", [])
        validate(place, new, old)
        managed = _set_managed_fields(new, owners)
        new = set_owners(new) if set_owners else record_update(resource, old, managed, _writer(place, options))
        if new == old:
            return old
        if resource.schema and _without(new, "metadata", "status") != _without(old, "metadata", "status"):
            new = {**new, "metadata": {**new["metadata"], "generation": old["metadata"]["generation"] + 1}}
        if options.dry_run:
            return new
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            self._store.remove(resource, place.key)
            return new
        return self._store.put(resource, place.key, new)

    def _namespace(self, place: Place, metadata: JsonObject) -> str | None:
        if not place.resource.namespaced:
            return None
        namespace = str(place.namespace or "default")
        if metadata.get("namespace", namespace) != namespace:
            raise RefusedError.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        self._store.get(NAMESPACES, ("", namespace))
        return namespace

    def _check(self, place: Place, old: JsonObject, wanted: Preconditions) -> None:
        resource, metadata = place.resource, old["metadata"]
        why = ""
        if wanted.uid not in (None, "", metadata["uid"]):
            why = f"Precondition failed: UID in precondition: {wanted.uid}, UID in object meta: {metadata['uid']}"
        elif wanted.revision not in (None, "", metadata["resourceVersion"]):
            why = "the object has been modified; please apply your changes to the latest version and try again"
        if why:
            raise RefusedError.conflict(resource.group, resource.plural, place.name, why)

    def _empty(self, namespace: str) -> None:
        for resource in self._store.resources():
            if resource.namespaced:
                self.delete_all(resource, Selection(namespace), WriteOptions())


def _writer(place: Place, options: WriteOptions) -> Owner:
    return Owner(options.manager, "Update", place.resource.api_version, place.subresource)


def _set_managed_fields(obj: JsonObject, owners: list[JsonObject]) -> JsonObject:
    return {**obj, "metadata": {**obj["metadata"], **({"managedFields": owners} if owners else {})}}


def _place(resource: Resource, obj: JsonObject) -> Place:
    return Place(resource, obj["metadata"].get("namespace"), obj["metadata"]["name"])


def _with_status_of(source: JsonObject, target: JsonObject) -> JsonObject:
    return {**_without(target, "status"), **({"status": source["status"]} if "status" in source else {})}


def _without(obj: JsonObject, *names: str) -> JsonObject:
    return {name: value for name, value in obj.items() if name not in names}


def _with_core_defaults(resource: Resource, obj: JsonObject) -> JsonObject:
    if resource is PODS:
        return {**obj, "status": {"phase": "Pending"}}
    if resource is NAMESPACES:
        labels = {**(obj["metadata"].get("labels") or {}), "kubernetes.io/metadata.name": obj["metadata"]["name"]}
        return {**obj, "metadata": {**obj["metadata"], "labels": labels}, "status": {"phase": "Active"}}
    return obj
