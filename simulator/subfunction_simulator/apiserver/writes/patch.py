"""A patch changes a part of an object in one of three ways: JSON patch, merge patch, strategic merge patch.

The fourth, server-side apply, is no function of the object alone (`managed.py`); here its body is read.
"""

import copy
import json
from typing import Any

import jsonpatch
import yaml

from subfunction_simulator.apiserver.media_types import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.status import RefusedError

MERGE_KEYS = {
    "conditions": "type",
    "addresses": "type",
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "ownerReferences": "uid",
}
"""What makes two items of a list the same, by the list's name (`patchMergeKey` in the Go types of k8s.io/api)."""
MERGED_PRIMITIVES = frozenset({"finalizers", "podCIDRs"})


def apply_patch(content_type: str, body: bytes, current: JsonObject, *, strategic: bool) -> JsonObject:
    """Make of an object what a patch wants; the object stays as it is.

    `strategic`: whether the kind knows strategic merge. Raises RefusedError: 415 for a content type not taken, 400
    for a body that is no patch, 422 for a JSON patch that does not fit, as by a failing `test`.
    """
    accepted = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH, *([STRATEGIC_PATCH] if strategic else [])]
    if content_type not in accepted:
        raise RefusedError.unsupported_media_type(accepted)
    try:
        patch = json.loads(body)
    except ValueError as error:
        raise RefusedError.bad_request(f"error decoding patch: {error}") from error
    if content_type == JSON_PATCH:
        return _json_patch(patch, current)
    if not isinstance(patch, dict):
        raise RefusedError.bad_request("error decoding patch: a merge patch is an object")
    merged = merge(current, patch) if content_type == MERGE_PATCH else strategic_merge(current, patch)
    return copy.deepcopy(merged)


def read_applied_config(body: bytes) -> JsonObject:
    """Read the configuration that an apply sends, in YAML or JSON; raises RefusedError (400)."""
    try:
        config = yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise RefusedError.bad_request(f"error decoding YAML: {error}") from error
    if not isinstance(config, dict):
        raise RefusedError.bad_request("error decoding YAML: a configuration is an object")
    if (config.get("metadata") or {}).get("managedFields"):
        raise RefusedError.bad_request("metadata.managedFields must be nil")
    return config


def _json_patch(patch: Any, current: JsonObject) -> JsonObject:
    if not isinstance(patch, list) or not all(isinstance(step, dict) for step in patch):
        raise RefusedError.bad_request("error decoding patch: a JSON patch is a list of objects")
    try:
        patched = jsonpatch.JsonPatch(patch).apply(current)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        # The real server's answer, word for word but for the cause: clients take a 422 here for a lost race.
        message = "the server rejected our request due to an error in our request"
        details = {"causes": [{"reason": "UnexpectedServerResponse", "message": str(error)}]}
        raise RefusedError(422, "Invalid", message, details) from error
    if not isinstance(patched, dict):
        raise RefusedError.bad_request("error decoding patch: what it makes is no object")
    return patched


def merge(current: Any, patch: Any) -> Any:
    """Merge as RFC 7386 says."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def strategic_merge(current: Any, patch: JsonObject) -> JsonObject:
    """Merge a patch; the well-known lists are merged item by item, others replaced.

    Of its directives `$patch`, `$deleteFromPrimitiveList/...` and `$retainKeys` are obeyed; `$setElementOrder/...` is
    not: new items go to the end.
    """
    merged = dict(current) if isinstance(current, dict) else {}
    if patch.get("$patch") == "replace":
        merged = {}
    if "$retainKeys" in patch:
        merged = {key: value for key, value in merged.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        directive, _, name = key.partition("/")
        if directive == "$deleteFromPrimitiveList":
            merged[name] = [item for item in merged.get(name, []) if item not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = strategic_merge(merged.get(key), value)
        elif isinstance(value, list) and key in MERGED_PRIMITIVES:
            merged[key] = list(dict.fromkeys([*merged.get(key, []), *value]))
        elif isinstance(value, list) and key in MERGE_KEYS and all(isinstance(item, dict) for item in value):
            merged[key] = _merge_items(merged.get(key) or [], value, MERGE_KEYS[key])
        else:
            merged[key] = value
    return merged


def _merge_items(current: list[JsonObject], patch: list[JsonObject], key: str) -> list[JsonObject]:
    if any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if "$patch" not in item]
    merged = {json.dumps(item.get(key)): item for item in current}
    for item in patch:
        identity = json.dumps(item.get(key))
        if item.get("$patch") == "delete":
            merged.pop(identity, None)
        else:
            merged[identity] = strategic_merge(merged.get(identity), item)
    return list(merged.values())
