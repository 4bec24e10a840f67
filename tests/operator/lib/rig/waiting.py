"""Waiting for what nobody announces to a test, with a deadline."""

import asyncio
import time
from collections.abc import Callable


async def eventually(condition: Callable[[], object], what: str, *, within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(0.005)


def until(condition: Callable[[], object], what: str, *, within: float = 30.0) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.005)
