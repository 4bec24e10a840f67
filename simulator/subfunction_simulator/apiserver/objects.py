"""A JSON object, as Kubernetes writes it, is what everything here moves; this module looks into one."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
"""One API object or a part of it. It is never changed once stored: a write makes a new one."""

Key: TypeAlias = tuple[str, str]
"""Namespace (empty for a cluster-scoped kind) and name."""
_STEP = re.compile(r"""\.([A-Za-z0-9_-]+)|\[\?\(@\.([A-Za-z0-9_-]+)\s*==\s*["']([^"']*)["']\)\]|\[(\d+)\]""")


def dig(value: Any, keys: Sequence[str]) -> Any:
    """Give the value under a row of keys, or None where the way ends early."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


class JsonPath:
    """A simple JSONPath has the forms that columns and selectable fields use.

    Those are `.a.b`, `[0]` and `[?(@.type=="Ready")]`, in any row. Raises ValueError for every other form.
    """

    __slots__ = ("_steps", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps = list(_STEP.finditer(text))
        if "".join(step[0] for step in self._steps) != text:
            raise ValueError(f"JSONPath {text!r} is of a form that is not supported here")

    def read(self, value: Any) -> Any:
        """Give the first value the path leads to, or None."""
        for step in self._steps:
            key, wanted_key, wanted, index = step.groups()
            if key is not None:
                value = value.get(key) if isinstance(value, dict) else None
            elif not isinstance(value, list):
                return None
            elif index is not None:
                value = value[int(index)] if int(index) < len(value) else None
            else:
                value = next((item for item in value if dig(item, [wanted_key]) == wanted), None)
        return value


def timestamp() -> str:
    """Give the time as metav1.Time is written: UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def age(written: str | None) -> str | None:
    """Say how long ago a timestamp was, as kubectl writes it: `42s`, `5m10s`, `3h`, `2d4h`; None for none."""
    if not written:
        return None
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(written)).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d"
