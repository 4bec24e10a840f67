"""The simulated kernel runs as a process: netlink's bytes on a Unix socket, sysfs and device nodes in folders.

Each connection has a thread, as each caller of the real kernel brings its own: a request that hangs keeps its caller
and no other. Below the root: `netlink.sock`, `sys/`, `dev/`, `boot_id`.
"""

import asyncio
import contextlib
import dataclasses
import queue
import socket
import struct
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from asyncinotify import Inotify, Mask, Watch

from subfunction.kernel.netlink.transport import RECEIVE_BYTES
from subfunction.kernel.uapi import NetlinkProtocol
from subfunction_simulator.kernel.kernel import SimulatedKernel
from subfunction_simulator.kernel.netlink.wire import Refusal
from subfunction_simulator.kernel.schedule import Timing
from subfunction_simulator.kernel.topology import SHOWROOM

SOCKET = "netlink.sock"
_PRELUDE = struct.Struct("=II")
"""What a connection may begin with: protocol and multicast group, 0 for requests alone; it comes back once in force."""
_QUEUE = 4096


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """These settings say how the simulated kernel runs."""

    root: Path
    """Folder of the simulation; what an earlier one left there is removed."""
    attach_milliseconds: float = 5.0
    """From activation until the function's driver has come up; hardware takes up to seconds."""
    detach_milliseconds: float = 5.0
    """From deactivation until its driver has let go."""


async def serve(settings: Settings) -> None:
    """Run a simulated kernel until cancelled."""
    timing = Timing(
        attach=settings.attach_milliseconds / 1000, detach=settings.detach_milliseconds / 1000, in_seconds=True
    )
    async with running(SimulatedKernel(settings.root, SHOWROOM, timing)):
        await asyncio.get_running_loop().create_future()


@contextlib.asynccontextmanager
async def running(kernel: SimulatedKernel) -> AsyncIterator[Path]:
    """Serve a kernel and give the path of its socket; the caller may order faults meanwhile."""
    path = kernel.root / SOCKET
    listener = _listen(path)
    connections = _Connections(kernel)
    with Inotify() as inotify:

        def accept() -> None:
            # In one go: what `sock_accept` has accepted is lost where its task is cancelled at that moment.
            with contextlib.suppress(BlockingIOError):
                connections.take(listener.accept()[0])

        loop = asyncio.get_running_loop()
        loop.add_reader(listener, accept)
        tasks = [
            asyncio.create_task(_firmware(kernel)),
            asyncio.create_task(_writes(kernel, inotify)),
        ]
        try:
            yield path
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            loop.remove_reader(listener)
            listener.close()
            path.unlink(missing_ok=True)
            kernel.release_all()
            connections.end()


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        if probe.connect_ex(str(path)) == 0:
            listener.close()
            raise FileExistsError(f"another simulated kernel listens at {path}")
    path.unlink(missing_ok=True)
    listener.bind(str(path))
    listener.listen(64)
    listener.settimeout(0)
    return listener


async def _firmware(kernel: SimulatedKernel) -> None:
    """Do the firmware's work at its time."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        loop.call_soon_threadsafe(changed.set)

    kernel.schedule.on_change = wake
    try:
        while True:
            changed.clear()
            try:
                async with asyncio.timeout(kernel.seconds_to_next_work()):
                    await changed.wait()
            except TimeoutError:
                kernel.advance()
    finally:
        kernel.schedule.on_change = lambda: None


async def _writes(kernel: SimulatedKernel, inotify: Inotify) -> None:
    """Tell the kernel what user space wrote to sysfs."""
    loop = asyncio.get_running_loop()
    # Directories, since the kernel puts new files into the places of its attributes: that is how it is not heard here.
    watches: dict[str, Watch] = {}

    def watch(path: str) -> None:
        directory = path.rpartition("/")[0]
        with contextlib.suppress(OSError):  # gone again already
            now, before = inotify.add_watch(kernel.tree.root / directory, Mask.CLOSE_WRITE), watches.get(directory)
            watches[directory] = now
            if before is not None and before is not now and before not in watches.values():
                inotify.rm_watch(before)  # it is in the graveyard
            look(path)

    def look(path: str) -> None:
        # What write(2) would have failed with is lost on a file, and no writer waits here for a device's user.
        with contextlib.suppress(FileNotFoundError, Refusal):
            kernel.look(path)

    def watch_soon(path: str) -> None:
        loop.call_soon_threadsafe(watch, path)

    kernel.tree.on_writable = watch_soon
    try:
        for path in kernel.tree.writable():
            watch(path)
        async for event in inotify:
            # A directory that was renamed keeps its watch, and the name that it had when it was first seen.
            for directory, each in watches.items():
                if each is event.watch and event.name is not None:
                    look(f"{directory}/{event.name}")
    finally:
        kernel.tree.on_writable = lambda _: None


class _Connections:
    """Each caller has a connection and a thread."""

    def __init__(self, kernel: SimulatedKernel) -> None:
        self._kernel = kernel
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def take(self, connection: socket.socket) -> None:
        """Serve a new caller."""
        connection.settimeout(None)
        self._open.add(connection)
        thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
        self._threads = [other for other in self._threads if other.is_alive()] + [thread]
        thread.start()

    def end(self) -> None:
        """End every conversation, and wait for its thread."""
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for listener in self._kernel.hardware.announcer.listeners():
            listener.end()
        for thread in self._threads:
            thread.join(timeout=5)

    def _serve(self, connection: socket.socket) -> None:
        protocol = NetlinkProtocol.GENERIC
        with connection, contextlib.suppress(OSError):  # a caller may go at any time
            while datagram := connection.recv(RECEIVE_BYTES):
                if len(datagram) == _PRELUDE.size:
                    number, group = _PRELUDE.unpack(datagram)
                    protocol = NetlinkProtocol(number)
                    if group:
                        _Subscriber(self._kernel, connection).run(protocol, group)
                        break
                    connection.send(datagram)
                    continue
                for reply in self._kernel.answer(datagram, protocol):
                    connection.send(reply)
        self._open.discard(connection)


class _Subscriber:
    """A connection joined a multicast group; one that overran is closed, since a Unix socket has no ENOBUFS."""

    def __init__(self, kernel: SimulatedKernel, connection: socket.socket) -> None:
        self._kernel = kernel
        self._connection = connection
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def run(self, protocol: NetlinkProtocol, group: int) -> None:
        """Pass on what is announced, until the end; the first packet says that nothing is missed from now on."""
        self._queue.put(_PRELUDE.pack(protocol, group))
        self._kernel.join(group, self, protocol)
        try:
            while (datagram := self._queue.get()) is not None:
                self._connection.send(datagram)
        finally:
            self._kernel.leave(self)

    def deliver(self, datagram: bytes) -> None:
        """Queue a notification."""
        if self._queue.qsize() < _QUEUE:
            self._queue.put(datagram)
        else:
            self.overrun()

    def overrun(self) -> None:
        """Close: what was lost cannot be told otherwise."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._queue.put(None)

    def end(self) -> None:
        """Close after what is queued."""
        self._queue.put(None)
