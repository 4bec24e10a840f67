"""What wakes the agent: the kernel's three ways of announcing, and the folders it shares with the device plugin.

An announcement is a reason to look, never a fact to act on: after one that was lost everything is looked at.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, TypeVar

from subfunction.errors import FolderError, SubFunctionError
from subfunction.folder import Folder
from subfunction.folderwatch import FolderWatch
from subfunction.kernel.announcements import Lost
from subfunction.kernel.events import InstanceChanged, PortChanged, PortDeleted, monitor
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.linkevents import links
from subfunction.kernel.transport import Transport
from subfunction.kernel.uapi import PortFlavour
from subfunction.kernel.uevents import uevents
from subfunction_operator.agent import Agent

_LOG = logging.getLogger("subfunction.wakeups")

_RETRY_SECONDS: Final = 2.0

_BUSES: Final = frozenset({"auxiliary", "vdpa", "pci", "mdev", "infiniband", "infiniband_verbs", "vfio", "vfio-dev"})
"""Of whose devices a uevent is looked into."""

_LOADED: Final = frozenset({"drivers", "module"})
"""Of a driver that came or went: what waits for it is known by no device yet."""

T = TypeVar("T")


async def woken_by_devlink(agent: Agent, wake_node: Callable[[], None], netlink: Netlink) -> None:
    """Look at a sub-function when devlink announces something of its port or its instance, at the node in any case."""
    async for event in _for_ever("devlink", lambda: monitor(netlink)):
        wake_node()
        match event:
            case PortChanged(port) | PortDeleted(port):
                agent.attention.look_at(f"{port.handle}/{port.index}")
                agent.attention.look_at(str(port.handle))
                if port.flavour is PortFlavour.PHYSICAL:
                    agent.attention.look_at_expectant()  # a parent's own port comes and goes with its e-switch mode
            case InstanceChanged(handle) if handle.bus == "pci":
                # A parent that came or went, with all its functions: what waits for it is known by no device yet.
                agent.attention.look_at_all_soon()
            case InstanceChanged(handle):
                agent.attention.look_at(str(handle))
            case Lost(why):
                await _lost(agent, why)


async def woken_by_devices(agent: Agent, wake_node: Callable[[], None], transport: Transport) -> None:
    """Look at a sub-function when a device of its own comes, goes, or changes its driver: vDPA tells it here alone."""
    async for event in _for_ever("device", lambda: uevents(transport)):
        if isinstance(event, Lost):
            await _lost(agent, event.why)
        elif event.subsystem in _LOADED:
            wake_node()
            agent.attention.look_at_expectant()
        elif event.subsystem in _BUSES:
            wake_node()
            agent.attention.look_at_path(event.path)


async def woken_by_links(agent: Agent, transport: Transport) -> None:
    """Look at a sub-function when its netdev or representor is renamed, goes down, or comes back from a pod."""
    async for event in _for_ever("link", lambda: links(transport)):
        if isinstance(event, Lost):
            await _lost(agent, event.why)
        else:
            agent.attention.look_at_link(event.ifindex)


async def _lost(agent: Agent, why: str) -> None:
    _LOG.info("looking at everything: %s", why)
    await agent.look_at_all()


async def _for_ever(what: str, source: Callable[[], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
    while True:
        try:
            # Closed with this block: the socket must not wait for a garbage collector.
            async with contextlib.aclosing(source()) as events:
                async for event in events:
                    yield event
        except SubFunctionError as error:
            _LOG.warning("the kernel's %s announcements cannot be heard: %s", what, error)
            await asyncio.sleep(_RETRY_SECONDS)


async def woken_by_folder(agent: Agent, wake_node: Callable[[], None], folder: Folder[Any]) -> None:
    """Look at a sub-function when its file in a folder is changed by somebody else.

    In the ledger: the device plugin hands it out, or takes it back. In the records, where we alone should write: a
    person did. What we wrote ourselves is no news; else a fault that takes a record back would be its own next try.
    """
    while True:
        changed: asyncio.Queue[str] = asyncio.Queue()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(FolderWatch({folder.path: changed.put_nowait}).run())
                group.create_task(_look_into(folder, changed, agent, wake_node))
        except* FolderError as errors:
            _LOG.warning("%s", errors.exceptions[0])
        await asyncio.sleep(_RETRY_SECONDS)


async def _look_into(
    folder: Folder[Any], changed: asyncio.Queue[str], agent: Agent, wake_node: Callable[[], None]
) -> None:
    while True:
        name = await changed.get()
        if not name:
            await agent.look_at_all()
        elif name.endswith(".json"):
            wake_node()  # whose a sub-function is, stands in the records
            uid = name.removesuffix(".json")
            if not await asyncio.to_thread(folder.is_own, uid):
                agent.attention.look_soon(uid)
