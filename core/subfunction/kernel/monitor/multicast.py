"""Receives the kernel's notifications; replaces a socket that is refused, overruns or ends.

A notification is a reason to observe, never a fact to act on. After an `Overrun` everything must be observed.
"""

import asyncio
import contextlib
import dataclasses
import errno
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from subfunction.errors import KernelBusy, MalformedReply
from subfunction.kernel.netlink.transport import Socket

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Overrun:
    """Events were lost, or the socket was opened (again): anything may have happened."""

    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """A source of notifications; `join` opens a socket and returns it with the function that parses its datagrams.

    `join` may block, so it runs in a thread; `abandon` is called if it ends after its caller was cancelled. The parser
    may raise MalformedReply.
    """

    name: str
    join: Callable[[], tuple[Socket, Callable[[bytes], list[T]]]]
    abandon: Callable[[], None] = lambda: None


async def receive_events(source: Source[T], *, reopen_after: float) -> AsyncGenerator[T | Overrun, None]:
    """Yield the events of a source without end; the first is an `Overrun`, since the past is unknown.

    A socket that overran (ENOBUFS) is replaced. Where none can be opened (EMFILE) the next try is `reopen_after`
    seconds later.

    Raises:
        FamilyMissing: this kernel has no such notifications, or no simulated kernel listens.
        KernelBusy: the request to join was not answered.
    """
    refused = False
    while True:
        try:
            socket, read = await _join(source)
        except OSError as error:
            if not refused:
                yield Overrun(f"the monitor cannot be opened: {error.strerror or error}")
            refused = True  # reported once; the next event is that the monitor was opened
            await asyncio.sleep(reopen_after)
            continue
        refused = False
        try:
            yield Overrun("the monitor was opened")
            # Closed before its socket: with a reader left in the loop the next socket of that number is never read.
            async with contextlib.aclosing(_receive(socket)) as datagrams:
                async for datagram in datagrams:
                    for event in _parse(read, datagram):
                        yield event
        except OSError as error:
            why = "events overran the socket" if error.errno == errno.ENOBUFS else f"the monitor ended: {error}"
            yield Overrun(why)
            if error.errno != errno.ENOBUFS:
                await asyncio.sleep(reopen_after)
        finally:
            socket.close()


async def _join(source: Source[T]) -> tuple[Socket, Callable[[bytes], list[T]]]:
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
        # The thread cannot be ended; a socket that it opens from now on is closed when it returns.
        joining.add_done_callback(abandon)
        raise


async def _receive(socket: Socket) -> AsyncGenerator[bytes, None]:
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


def _parse(read: Callable[[bytes], list[T]], datagram: bytes) -> list[T | Overrun]:
    try:
        return [*read(datagram)]
    except MalformedReply as error:
        return [Overrun(str(error))]
