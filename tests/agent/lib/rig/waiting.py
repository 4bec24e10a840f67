"""Waiting for what nobody announces to a test, with a deadline (`patience.py`)."""

import asyncio
import time
from collections.abc import Callable

from rig.patience import Patience


async def eventually(condition: Callable[[], object], what: str, *, within: float = 30.0) -> None:
    patience = Patience(within)
    while not condition():
        assert not patience.spent(), f"not within {patience.told()}: {what}"
        await asyncio.sleep(0.005)


def until(condition: Callable[[], object], what: str, *, within: float = 30.0) -> None:
    """Wait for what another thread does."""
    patience = Patience(within)
    while not condition():
        assert not patience.spent(), f"not within {patience.told()}: {what}"
        time.sleep(0.005)
