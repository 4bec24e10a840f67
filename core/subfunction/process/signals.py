"""Runs a program's jobs until SIGTERM, Ctrl-C, or the end of one of them."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


async def run_until_stopped(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run jobs concurrently until a signal comes or one of them ends; raise the exception of the job that ended."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await run_until_first_exit(_wait_for(stopped), *jobs)


async def run_until_first_exit(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run jobs concurrently until one of them ends, and cancel the others; raise the exception of that one."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()
