"""A long list is given a page at a time."""

import base64
import bisect
import json
from collections.abc import Sequence
from dataclasses import dataclass

from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.status import RefusedError


@dataclass(frozen=True, slots=True)
class Page:
    """A page holds a part of a list, and the list's metadata."""

    items: list[JsonObject]
    metadata: JsonObject


@dataclass(frozen=True, slots=True)
class Token:
    """A token says where a list goes on (`continue`): at a revision, after a namespace and a name."""

    revision: int
    after: tuple[str, str] | None = None

    @classmethod
    def read(cls, text: str) -> "Token | None":
        """Read a token as we wrote it, None where there is none; raises RefusedError (400) for what is none of ours."""
        if not text:
            return None
        try:
            revision, namespace, name = json.loads(base64.urlsafe_b64decode(text))
            return cls(int(revision), (str(namespace), str(name)))
        except (ValueError, TypeError) as error:
            raise RefusedError.bad_request(f"invalid continue token: continue key is not valid: {error}") from error

    def __str__(self) -> str:
        """Write it as it is sent."""
        return base64.urlsafe_b64encode(json.dumps([self.revision, *(self.after or ("", ""))]).encode()).decode()


def page(objects: Sequence[JsonObject], token: Token, limit: int) -> Page:
    """Give the next `limit` objects (0: all) of those there at the token's revision, by namespace and name."""
    rest = objects[0 if token.after is None else bisect.bisect_right(objects, token.after, key=_key) :]
    metadata: JsonObject = {"resourceVersion": str(token.revision)}
    if 0 < limit < len(rest):
        metadata["continue"] = str(Token(token.revision, _key(rest[limit - 1])))
        metadata["remainingItemCount"] = len(rest) - limit
        rest = rest[:limit]
    return Page(list(rest), metadata)


def _key(obj: JsonObject) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
