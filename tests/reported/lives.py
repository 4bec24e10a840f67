"""Whether a program goes on: in this process, where the test ends by what ended it, or in one of its own."""

import asyncio
import contextlib
import gc
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from tests.deviceplugin.conftest import Node

from rig.cluster import Cluster
from rig.patience import Patience
from rig.waiting import eventually


async def agent_goes_on(node: Cluster, seconds: float = 1.0) -> None:
    """Give the agent so much time, and raise what has ended it."""
    task = node._agent
    assert task is not None
    await rested(seconds, unless=task.done)
    if task.done():
        node._agent = None
        raise _ended_by(task)


async def plugin_goes_on(node: Node, until: Callable[[], bool], seconds: float = 1.0) -> None:
    """Give the device plugin so much time, wait until something is so, and raise what has ended it."""
    _, task = node._plugins[-1]
    await rested(seconds, unless=task.done)
    await eventually(lambda: task.done() or until(), "the device plugin works on")
    if task.done():
        node._plugins.pop()
        error = _ended_by(task)
        del task
        # Its gRPC server shuts down in this loop; later, in a closed one, that would be the error of another test.
        gc.collect()
        await asyncio.sleep(0.1)
        raise error


async def rested(seconds: float, *, unless: Callable[[], bool]) -> None:
    """Let pass so many seconds in which nothing kept a thread from its CPU."""
    patience = Patience(seconds)
    while not patience.spent():
        if unless():
            return
        await asyncio.sleep(0.01)


def _ended_by(task: asyncio.Task[None]) -> BaseException:
    error = task.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert error is not None
    # Its frames hold all that the program had.
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)


def plugin_command(node: Node, **changes: Path) -> list[str]:
    """Give the command line that starts the device plugin of a node as a program."""
    settings = node.settings(**changes)
    told = ("records", "ledger", "state", "sysfs", "boot_id", "kubelet_root", "kubelet_folder", "coalesce")
    flags = [f"--{name.replace('_', '-')}={getattr(settings, name)}" for name in told]
    return [sys.executable, "-m", "subfunction_deviceplugin", *flags]


@contextlib.asynccontextmanager
async def running(command: Sequence[str], log: Path) -> AsyncIterator[Process]:
    """Run a program beside a block, and end it with the block."""
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(*command, stdout=written, stderr=written)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 10)


async def ended(process: Process, within: float) -> bool:
    """Say whether a program ends in time."""

    def is_over() -> bool:
        return process.returncode is not None

    await rested(within, unless=is_over)
    return is_over()
