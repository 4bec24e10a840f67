"""Receives the events that start a reconciliation: three kinds of the kernel's, and changes in shared folders.

An event only starts an observation, and is never taken for a fact. After a loss of events everything is enqueued.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, TypeVar

from subfunction.errors import FolderError, SubFunctionError
from subfunction.kernel.monitor.devlink import (
    InstanceChanged,
    PortChanged,
    PortDeleted,
    ReporterChanged,
    monitor_devlink,
)
from subfunction.kernel.monitor.link import monitor_links
from subfunction.kernel.monitor.multicast import Overrun
from subfunction.kernel.monitor.uevent import monitor_uevents
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import Transport
from subfunction.kernel.uapi import PortFlavour
from subfunction.state.inotify import DirectoryWatch
from subfunction.state.store import FileStore
from subfunction_operator.agent.flavours.drivers import FATAL_REPORTERS
from subfunction_operator.agent.triggers.enqueue import EventEnqueuer

_LOG = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 2.0

_BUSES: Final = frozenset({"auxiliary", "vdpa", "pci", "mdev", "infiniband", "infiniband_verbs", "vfio", "vfio-dev"})
"""The subsystems whose uevents may be about a sub-function's device."""

_LOADED: Final = frozenset({"drivers", "module"})
"""The subsystems of a driver that was loaded or unloaded: what waits for it has no device yet."""

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class EventHandlers:
    """Called for events: `enqueuer` for one key, `enqueue_all` after a loss, `wake_inventory` for the inventory."""

    enqueuer: EventEnqueuer
    enqueue_all: Callable[[], Awaitable[None]]
    wake_inventory: Callable[[], None]


async def watch_devlink(handlers: EventHandlers, netlink: Netlink) -> None:
    """Enqueue a sub-function at each devlink event of its port or instance, and wake the inventory in any case."""
    async for event in _retry_forever("devlink", lambda: monitor_devlink(netlink)):
        handlers.wake_inventory()
        match event:
            case PortChanged(port) | PortDeleted(port):
                handlers.enqueuer.enqueue_device(f"{port.handle}/{port.index}")
                handlers.enqueuer.enqueue_device(str(port.handle))
                if port.flavour is PortFlavour.PHYSICAL:
                    handlers.enqueuer.enqueue_waiting()  # a parent's own port comes and goes with its e-switch mode
            case InstanceChanged(handle) if handle.bus == "pci":
                # A parent came or went with all its functions: what waits for it has no device yet.
                handlers.enqueuer.enqueue_all()
            case InstanceChanged(handle):
                handlers.enqueuer.enqueue_device(str(handle))
            case ReporterChanged(_, reporter):
                # Reporters of queues speak often, of any card; only an error of the whole card concerns its ports.
                if reporter in FATAL_REPORTERS:
                    handlers.enqueuer.enqueue_all()
            case Overrun(why):
                await _enqueue_after_loss(handlers, why)


async def watch_devices(handlers: EventHandlers, transport: Transport) -> None:
    """Enqueue a sub-function when one of its devices comes, goes or changes its driver; vDPA has only these events."""
    async for event in _retry_forever("device", lambda: monitor_uevents(transport)):
        if isinstance(event, Overrun):
            await _enqueue_after_loss(handlers, event.why)
        elif event.subsystem in _LOADED:
            handlers.wake_inventory()
            handlers.enqueuer.enqueue_waiting()
        elif event.subsystem in _BUSES:
            handlers.wake_inventory()
            handlers.enqueuer.enqueue_path(event.path)


async def watch_links(handlers: EventHandlers, transport: Transport) -> None:
    """Enqueue a sub-function when its netdev or representor is renamed, goes down, or comes back from a pod."""
    async for event in _retry_forever("link", lambda: monitor_links(transport)):
        if isinstance(event, Overrun):
            await _enqueue_after_loss(handlers, event.why)
        else:
            handlers.enqueuer.enqueue_link(event.ifindex)


async def _enqueue_after_loss(handlers: EventHandlers, why: str) -> None:
    _LOG.info("looking at everything: %s", why)
    await handlers.enqueue_all()


async def _retry_forever(what: str, source: Callable[[], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
    while True:
        try:
            # The socket is closed with this block, not by the garbage collector at some time.
            async with contextlib.aclosing(source()) as events:
                async for event in events:
                    yield event
        except SubFunctionError as error:
            _LOG.warning("the kernel's %s events cannot be received: %s", what, error)
            await asyncio.sleep(_RETRY_SECONDS)


async def watch_folder(handlers: EventHandlers, folder: FileStore[Any]) -> None:
    """Enqueue a sub-function when another program or a person changes its file in a folder.

    In the ledger the device plugin does so, when it allocates a device or takes it back; in the records, which we alone
    should write, a person. Our own writes enqueue nothing: else a failed run that takes its record back would start the
    next one.
    """
    while True:
        changed: asyncio.Queue[str] = asyncio.Queue()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(DirectoryWatch({folder.path: changed.put_nowait}).run())
                group.create_task(_enqueue_changes(folder, changed, handlers))
        except* FolderError as errors:
            _LOG.warning("%s", errors.exceptions[0])
        await asyncio.sleep(_RETRY_SECONDS)


async def _enqueue_changes(folder: FileStore[Any], changed: asyncio.Queue[str], handlers: EventHandlers) -> None:
    while True:
        name = await changed.get()
        if not name:
            await handlers.enqueue_all()
        elif name.endswith(".json"):
            handlers.wake_inventory()  # records decide which sub-functions are foreign
            uid = name.removesuffix(".json")
            if not await asyncio.to_thread(folder.is_own, uid):
                handlers.enqueuer.enqueue(uid)
