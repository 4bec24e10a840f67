"""What devlink announces on its `config` group: ports and instances that appear, change and go.

An event is a reason to look, never a fact to act on: mlx5 does not announce that a function attached, and the order
against netdev and uevent messages means nothing. After an overrun everything must be looked at.
"""

import asyncio
import contextlib
import dataclasses
import errno
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from subfunction.errors import FamilyMissing, KernelBusy, MalformedReply
from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import DEVLINK
from subfunction.kernel.genetlink import HEADER, Netlink, messages
from subfunction.kernel.netlink import Message
from subfunction.kernel.port import Port, handle_of
from subfunction.kernel.transport import Socket
from subfunction.kernel.uapi import DEVLINK_FAMILY, DEVLINK_GROUP, Command


@dataclasses.dataclass(frozen=True, slots=True)
class PortChanged:
    """A port appeared, or something about it changed."""

    port: Port


@dataclasses.dataclass(frozen=True, slots=True)
class PortDeleted:
    """A port is gone; `port` is what was last known of it."""

    port: Port


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceChanged:
    """A devlink instance appeared, changed or went."""

    handle: Handle


@dataclasses.dataclass(frozen=True, slots=True)
class Lost:
    """Events were lost, or the source was opened anew: anything may have happened."""

    why: str


Event: TypeAlias = PortChanged | PortDeleted | InstanceChanged | Lost


async def monitor(netlink: Netlink, *, reopen_after: float = 1.0) -> AsyncGenerator[Event, None]:
    """Yield events for ever (`devlink monitor`); the first is a `Lost`, since the past is unknown.

    `netlink` is used for the look-up of the group alone, before the first event. A socket that overran (ENOBUFS) is
    worthless and is replaced; one that cannot be had (EMFILE) is asked for again, `reopen_after` seconds later.

    Raises:
        FamilyMissing: this kernel has no devlink, or no simulated one listens.
        KernelBusy: the look-up or the joining was not answered.
    """
    refused = False
    while True:
        try:
            family, socket = await _joined(netlink)
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
                    for event in _events(datagram, family):
                        yield event
        except OSError as error:
            why = "events overran the socket" if error.errno == errno.ENOBUFS else f"the monitor ended: {error}"
            yield Lost(why)
            if error.errno != errno.ENOBUFS:
                await asyncio.sleep(reopen_after)
        finally:
            socket.close()


async def _joined(netlink: Netlink) -> tuple[int, Socket]:
    """Give the family's number and a socket that is a member of its group, from a thread: both wait for answers."""

    def join() -> tuple[int, Socket]:
        family = netlink.family(DEVLINK_FAMILY)
        if (group := family.groups.get(DEVLINK_GROUP)) is None:
            raise FamilyMissing(f"this kernel announces nothing of {DEVLINK_FAMILY!r}")
        return family.number, netlink.transport.subscribe(group)

    def abandon(ended: "Future[tuple[int, Socket]]") -> None:
        netlink.close()
        if not ended.cancelled() and ended.exception() is None:
            ended.result()[1].close()

    thread = ThreadPoolExecutor(1, "devlink-monitor")
    joining = thread.submit(join)
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


def _events(datagram: bytes, family: int) -> list[Event]:
    try:
        return [
            event
            for message in messages(datagram)
            if HEADER.unpack_from(message)[1] == family and (event := _event(DEVLINK.decode(message)))
        ]
    except MalformedReply as error:
        return [Lost(str(error))]


def _event(message: Message) -> Event | None:
    match message.command:
        case Command.PORT_NEW:
            return PortChanged(Port.of(message))
        case Command.PORT_DEL:
            return PortDeleted(Port.of(message))
        case Command.NEW | Command.DEL | Command.RELOAD:
            return InstanceChanged(handle_of(message))
        case _:
            return None
