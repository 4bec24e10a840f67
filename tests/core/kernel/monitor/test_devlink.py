"""The monitor of announcements when it cannot be opened, or is closed before it is."""

import asyncio
import contextlib
import dataclasses
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from subfunction.errors import FamilyMissing
from subfunction.kernel.monitor.devlink import Overrun, PortChanged, monitor_devlink
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import NetlinkProtocol, Socket, Transport
from subfunction_simulator.kernel import SimulatedKernel
from subfunction_simulator.kernel.topology import TWO_CARDS

DEADLINE = 10


class Watched:
    """A socket that knows whether it was closed."""

    def __init__(self, socket: Socket, told: Callable[[], None]) -> None:
        self.socket = socket
        self.closed = False
        self._told = told

    def send(self, datagram: bytes) -> None:
        self.socket.send(datagram)

    def receive(self, timeout: float | None) -> bytes:
        return self.socket.receive(timeout)

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.closed = True
        self.socket.close()
        self._told()


@dataclasses.dataclass(slots=True)
class Reluctant:
    """A way to a kernel that fails to open what is asked of it, or takes its time."""

    way: Transport
    refusals: list[Exception] = dataclasses.field(default_factory=list)
    """What joining a group fails with, one after the other."""
    slow_to: str = ""
    asked: threading.Event = dataclasses.field(default_factory=threading.Event)
    go_on: threading.Event = dataclasses.field(default_factory=threading.Event)
    all_closed: threading.Event = dataclasses.field(default_factory=threading.Event)
    """Set once both sockets, that of the look-up and that of the group, are closed."""
    sockets: list[Watched] = dataclasses.field(default_factory=list)

    def connect(self, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        return self._opened("connect", lambda: self.way.connect(protocol))

    def subscribe(self, group: int, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        if self.refusals:
            raise self.refusals.pop(0)
        return self._opened("subscribe", lambda: self.way.subscribe(group, protocol))

    def _opened(self, verb: str, opened: Callable[[], Socket]) -> Socket:
        if verb == self.slow_to:
            self.asked.set()
            assert self.go_on.wait(DEADLINE)
        self.sockets.append(Watched(opened(), self._note))
        return self.sockets[-1]

    def _note(self) -> None:
        if [socket.closed for socket in self.sockets] == [True, True]:
            self.all_closed.set()


@pytest.fixture
def kernel(tmp_path: Path) -> SimulatedKernel:
    return SimulatedKernel(tmp_path)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNRESET])
async def test_a_monitor_that_cannot_be_opened_says_so_once_and_tries_until_it_can(
    kernel: SimulatedKernel, number: int
) -> None:
    way = Reluctant(kernel.transport(), [OSError(number, os.strerror(number)) for _ in range(3)])
    netlink = Netlink(way)
    with contextlib.closing(netlink):
        async with asyncio.timeout(DEADLINE), contextlib.aclosing(monitor_devlink(netlink, reopen_after=0)) as events:
            assert await anext(events) == Overrun(f"the monitor cannot be opened: {os.strerror(number)}")
            assert await anext(events) == Overrun("the monitor was opened")
            kernel.crash_driver(TWO_CARDS[0].handle)
            assert isinstance(await anext(events), PortChanged)
    assert [socket.closed for socket in way.sockets] == [True, True]


async def test_a_monitor_that_fails_to_open_does_not_spin(kernel: SimulatedKernel) -> None:
    way = Reluctant(kernel.transport(), [OSError(errno.ENOBUFS, "no buffer space") for _ in range(1000)])
    netlink = Netlink(way)
    with contextlib.closing(netlink):
        async with contextlib.aclosing(monitor_devlink(netlink, reopen_after=0.05)) as events:
            assert await anext(events) == Overrun("the monitor cannot be opened: no buffer space")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await anext(events)
    assert 990 < len(way.refusals) < 1000


async def test_a_kernel_that_has_no_such_thing_is_the_callers_to_hear(kernel: SimulatedKernel) -> None:
    netlink = Netlink(Reluctant(kernel.transport(), [FamilyMissing("nothing there")]))
    with contextlib.closing(netlink), pytest.raises(FamilyMissing, match="nothing there"):
        async with contextlib.aclosing(monitor_devlink(netlink)) as events:
            await anext(events)


@pytest.mark.parametrize("slow_to", ["connect", "subscribe"])
async def test_a_monitor_that_is_given_up_while_it_opens_leaves_no_socket(
    kernel: SimulatedKernel, slow_to: str
) -> None:
    way = Reluctant(kernel.transport(), slow_to=slow_to)
    netlink = Netlink(way)

    async def listen() -> None:
        async with contextlib.aclosing(monitor_devlink(netlink)) as events:
            await anext(events)

    task = asyncio.create_task(listen())
    assert await asyncio.to_thread(way.asked.wait, DEADLINE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # As an agent does that ends: the thread is still about to open a socket.
    netlink.close()
    way.go_on.set()
    assert await asyncio.to_thread(way.all_closed.wait, DEADLINE)
