"""What every source of announcements has in common: a socket that may be refused, overrun or end, and is replaced.

An announcement is a reason to look, never a fact to act on. After a `Lost` everything must be looked at.
"""

import asyncio
import contextlib
import dataclasses
import errno
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from subfunction.errors import KernelBusy, MalformedReply
from subfunction.kernel.transport import Socket

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Lost:
    """Events were lost, or the source was opened anew: anything may have happened."""

    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """Where announcements come from: how to join, how to read one datagram, how to give a joining up.

    `join` may wait, and gets a thread; `read` may raise MalformedReply.
    """

    name: str
    join: Callable[[], tuple[Socket, Callable[[bytes], list[T]]]]
    abandon: Callable[[], None] = lambda: None


async def announcements(source: Source[T], *, reopen_after: float) -> AsyncGenerator[T | Lost, None]:
    """Yield what is announced, for ever; the first is a `Lost`, since the past is unknown.

    A socket that overran (ENOBUFS) is worthless and is replaced; one that cannot be had (EMFILE) is asked for again,
    `reopen_after` seconds later.

    Raises:
        FamilyMissing: this kernel announces no such thing, or no simulated one listens.
        KernelBusy: the joining was not answered.
    """
    refused = False
    while True:
        try:
            socket, read = await _joined(source)
        except OSError as error:
            if not refused:
                yield Lost(f"the monitor cannot be opened: {error.strerror or error}")
            refused = True  # said once; that it was opened is the next news
            await asyncio.sleep(reopen_after)
            continue
        refused = False
        try:
            yield Lost("the monitor was opened")
            # Closed here, before its socket: a reader left in the loop would make the next socket of its number deaf.
            async with contextlib.aclosing(_datagrams(socket)) as datagrams:
                async for datagram in datagrams:
                    for event in _read(read, datagram):
                        yield event
        except OSError as error:
            why = "events overran the socket" if error.errno == errno.ENOBUFS else f"the monitor ended: {error}"
            yield Lost(why)
            if error.errno != errno.ENOBUFS:
                await asyncio.sleep(reopen_after)
        finally:
            socket.close()


async def _joined(source: Source[T]) -> tuple[Socket, Callable[[bytes], list[T]]]:
    def abandon(ended: "Future[tuple[Socket, Callable[[bytes], list[T]]]]") -> None:
        source.abandon()
        if not ended.cancelled() and ended.exception() is None:
            ended.result()[0].close()

    thread = ThreadPoolExecutor(1, f"{source.name}-monitor")
    joining = thread.submit(source.join)
    thread.shutdown(wait=False)
    try:
        return await asyncio.wrap_future(joining)
    except asyncio.CancelledError:
        # The thread cannot be ended; whatever it opens from now on is its own to close.
        joining.add_done_callback(abandon)
        raise


async def _datagrams(socket: Socket) -> AsyncGenerator[bytes, None]:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(socket.fileno(), readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            try:
                while True:
                    yield socket.receive(0)
            except (KernelBusy, BlockingIOError):
                continue  # the socket is empty for now
    finally:
        loop.remove_reader(socket.fileno())


def _read(read: Callable[[bytes], list[T]], datagram: bytes) -> list[T | Lost]:
    try:
        return [*read(datagram)]
    except MalformedReply as error:
        return [Lost(str(error))]
