"""How a program ends: by SIGTERM or Ctrl-C, or because one of its jobs does."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


async def until_stopped(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run jobs side by side until a signal comes or one of them ends; raises what ended it."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await until_one_ends(_awaited(stopped), *jobs)


async def until_one_ends(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run jobs side by side until one of them ends, and end the others; raises what ended it."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _awaited(event: asyncio.Event) -> None:
    await event.wait()
