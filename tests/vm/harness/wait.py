"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

from harness.errors import HarnessError

T = TypeVar("T")


def until(look: Callable[[], T], good: Callable[[T], bool], timeout: float = 10) -> T:
    """Look again until it is good; the good value.

    Raises:
        HarnessError: it was not, in `timeout` seconds; the last value is quoted.
    """
    deadline = time.monotonic() + timeout
    while not good(seen := look()):
        if time.monotonic() > deadline:
            raise HarnessError(f"not in {timeout:.0f} s; the last seen: {seen}")
        time.sleep(0.02)
    return seen
