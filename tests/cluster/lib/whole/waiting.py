"""Waiting for what machines without KVM do in their own time."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from harness.errors import HarnessError

T = TypeVar("T")

PATIENCE: Final = 300.0
"""Seconds: three nodes share two cores and no KVM."""
_BETWEEN: Final = 0.5
"""Seconds between two looks: the machines need the processors."""


def until(what: str, look: Callable[[], T], good: Callable[[T], object], timeout: float = PATIENCE) -> T:
    """Look again until it is good; the good value.

    Raises:
        HarnessError: it was not, in `timeout` seconds; the last value is quoted.
    """
    deadline = time.monotonic() + timeout
    while not good(seen := look()):
        if time.monotonic() > deadline:
            raise HarnessError(f"not in {timeout:.0f} s: {what}; the last seen: {seen!r}"[:4000])
        time.sleep(_BETWEEN)
    return seen


def condition(found: Mapping[str, Any], kind: str) -> str:
    """Whether a condition of an object is true; empty where it says nothing."""
    conditions = found.get("status", {}).get("conditions", ())
    return next((str(each["status"]) for each in conditions if each["type"] == kind), "")
