"""Long lists, a page at a time."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.status import RefusedError


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and the list's metadata."""

    items: list[JsonObject]
    metadata: JsonObject


def page(objects: Sequence[JsonObject], revision: int, limit: int, token: str) -> Page:
    """The next `limit` objects (0: all) after a `continue` token (empty: the first).

    Later pages show what is there now under the first page's revision: a watch from there puts the rest right. Raises
    RefusedError (400) for a token that is none of ours.
    """
    start: tuple[str, str] | None = None
    if token:
        try:
            revision, *after = json.loads(base64.urlsafe_b64decode(token))
            start = (after[0], after[1])
        except (ValueError, TypeError, IndexError) as error:
            raise RefusedError.bad_request(f"continue key is not valid: {error}") from error
    rest = [obj for obj in objects if start is None or _key(obj) > start]
    metadata: JsonObject = {"resourceVersion": str(revision)}
    if 0 < limit < len(rest):
        written = json.dumps([revision, *_key(rest[limit - 1])]).encode()
        metadata["continue"] = base64.urlsafe_b64encode(written).decode()
        metadata["remainingItemCount"] = len(rest) - limit
        rest = rest[:limit]
    return Page(rest, metadata)


def _key(obj: JsonObject) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
