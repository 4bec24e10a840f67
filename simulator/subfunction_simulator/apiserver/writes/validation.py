"""Validation finds what is wrong with an object that is about to be stored, beside what its schema says."""

import re
from collections.abc import Iterator
from typing import Final

from subfunction_simulator.apiserver.kinds.catalogue import EVENTS
from subfunction_simulator.apiserver.kinds.place import Place
from subfunction_simulator.apiserver.objects import JsonObject, dig
from subfunction_simulator.apiserver.status import FieldError, RefusedError

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_NAME.pattern}')"
)


def validate(place: Place, new: JsonObject, old: JsonObject | None) -> None:
    """Raise RefusedError (422) for an object that may not be stored in the place of another, or of none."""
    resource = place.resource
    errors = [*_metadata_errors(place, new, old), *_event_errors(place, new)]
    if resource.schema:
        errors.extend(resource.schema.errors(new, old))
    if errors:
        raise RefusedError.invalid(resource.group, resource.kind, place.name, errors)


def _metadata_errors(place: Place, new: JsonObject, old: JsonObject | None) -> Iterator[FieldError]:
    if old is None and not place.name:
        yield FieldError("FieldValueRequired", "metadata.name", "name or generateName is required")
    elif old is None and (not _NAME.fullmatch(place.name) or len(place.name) > 253):
        yield FieldError("FieldValueInvalid", "metadata.name", _NAME_RULE, place.name)
    if old is not None and old["metadata"].get("deletionTimestamp"):
        before = old["metadata"].get("finalizers") or []
        added = [f'"{name}"' for name in new["metadata"].get("finalizers") or [] if name not in before]
        if added:
            rule = "no new finalizers can be added if the object is being deleted, found new finalizers"
            detail = f"{rule} []string{{{', '.join(added)}}}"
            yield FieldError("FieldValueForbidden", "metadata.finalizers", detail)


def _event_errors(place: Place, event: JsonObject) -> Iterator[FieldError]:
    """Refuse an event outside the namespace of what it is about, which is `default` if that has none."""
    if place.resource is EVENTS:
        about = dig(event, ("involvedObject", "namespace")) or ""
        if about != place.namespace and (about or place.namespace != "default"):
            yield FieldError("FieldValueInvalid", "involvedObject.namespace", "does not match event.namespace", about)
