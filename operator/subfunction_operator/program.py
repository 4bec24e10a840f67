"""The agent's main path, top to bottom: what it stands on, what wakes it, what ends it."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any

from asyncinotify import Inotify, Mask

from subfunction.errors import FolderError, SubFunctionError
from subfunction.kernel.events import InstanceChanged, Lost, PortChanged, PortDeleted, monitor
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.sysfs import SysfsTree
from subfunction.kernel.transport import transport
from subfunction.ledger import ledger
from subfunction.records import boot_id, records
from subfunction.resources import resources
from subfunction_operator.agent import Agent
from subfunction_operator.apiserver import ApiServer
from subfunction_operator.credentials import Credentials
from subfunction_operator.execute import Executor, LoggedSteps, Seam
from subfunction_operator.holders import Holders, Kubelet
from subfunction_operator.node import Node
from subfunction_operator.observation import Policy
from subfunction_operator.observe import Observer
from subfunction_operator.reconcile import Reconciler
from subfunction_operator.settings import Settings
from subfunction_operator.watch import Watch

_LOG = logging.getLogger("subfunction.program")

_RETRY_SECONDS = 2.0

_CHANGED = Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE

_DEAF = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.IGNORED | Mask.Q_OVERFLOW
"""After one of these the folder must be watched anew."""


async def run(settings: Settings, seam: Seam | None = None) -> None:
    """Work until SIGTERM or Ctrl-C; `seam` hears of each step.

    Raises:
        SubFunctionError: it cannot even begin (no kubeconfig, no netlink).
    """
    _LOG.info("subfunction agent %s for node %s: %s", version("subfunction"), settings.node_name, settings)
    credentials = Credentials.found(settings.kubeconfig)
    async with credentials.session() as session:
        agent = _agent(settings, ApiServer(session, credentials.server, settings.node_name), seam)
        announcements = Netlink(transport(settings.netlink))
        reopened = asyncio.Event()
        reopened.set()
        try:
            with Watch(
                credentials, settings.node_name, lambda found, deleted: agent.seen(found, deleted=deleted), reopened.set
            ):
                await _until_stopped(
                    agent.backlog.work(agent.work, settings.workers),
                    _resynced(agent, reopened, settings.resync),
                    _woken_by_kernel(agent, announcements),
                    _woken_by_folder(agent, settings.ledger),
                    _woken_by_folder(agent, settings.records),
                )
        finally:
            agent.node.stop()
            announcements.close()
    _LOG.info("stopped")


def _agent(settings: Settings, server: ApiServer, seam: Seam | None) -> Agent:
    sysfs = SysfsTree(settings.sysfs)
    folder, handed_out = records(settings.records), ledger(settings.ledger)
    reconciler = Reconciler(
        Observer(sysfs, folder, Holders(handed_out, Kubelet(settings.kubelet)), boot_id(settings.boot_id)),
        Executor(sysfs, folder, seam or LoggedSteps()),
        Policy(
            range(settings.first_number, settings.last_number + 1), str(settings.devices), settings.resource_domains
        ),
    )
    node = Node(transport(settings.netlink), reconciler, settings.kernel_deadline, settings.attach_deadline)
    return Agent(node, server, folder, resources(settings.state), settings.usage_interval)


async def _resynced(agent: Agent, reopened: asyncio.Event, interval: float) -> None:
    """Compare with a LIST at the start, whenever the watch was opened anew, and every `interval` seconds."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(interval):
                await reopened.wait()
        reopened.clear()
        try:
            await agent.resync()
        except SubFunctionError as error:
            _LOG.warning("no resync: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
            reopened.set()


async def _woken_by_kernel(agent: Agent, netlink: Netlink) -> None:
    """Look at a sub-function when devlink announces something of its port or its instance."""
    while True:
        try:
            # Closed with this block: the monitor's socket must not wait for a garbage collector.
            async with contextlib.aclosing(monitor(netlink)) as events:
                async for event in events:
                    match event:
                        case PortChanged(port) | PortDeleted(port):
                            agent.look_at(f"{port.handle}/{port.index}")
                            agent.look_at(str(port.handle))
                        case InstanceChanged(handle) if handle.bus == "pci":
                            # A parent that came or went: what waits for it is known by no device yet.
                            await agent.look_at_all()
                        case InstanceChanged(handle):
                            agent.look_at(str(handle))
                        case Lost(why):
                            _LOG.info("looking at everything: %s", why)
                            await agent.look_at_all()
        except SubFunctionError as error:
            _LOG.warning("the kernel's announcements cannot be heard: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)


async def _woken_by_folder(agent: Agent, path: Path) -> None:
    """Look at a sub-function when its file in a folder changes.

    In the ledger: the device plugin hands it out, or takes it back. In the records: somebody else wrote there, or we
    did, and then the look finds nothing to do.
    """
    while True:
        await asyncio.to_thread(_made, path)
        try:
            with Inotify() as inotify:
                inotify.add_watch(path, _CHANGED | Mask.DELETE_SELF | Mask.MOVE_SELF)
                # What happened before the watch, or while it was deaf, is not told.
                await agent.look_at_all()
                async for event in inotify:
                    if event.name is not None and event.name.suffix == ".json":
                        agent.look_soon(event.name.stem)
                    elif event.mask & _DEAF:
                        break
        except OSError as error:
            _LOG.warning("%s cannot be watched: %s (see `sysctl fs.inotify`)", path, error)
        await asyncio.sleep(_RETRY_SECONDS)


def _made(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"cannot make {path}: {error.strerror}") from error


async def _until_stopped(*jobs: Coroutine[Any, Any, None]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    tasks = [asyncio.create_task(job) for job in jobs]
    stop = asyncio.create_task(stopped.wait())
    try:
        done, _ = await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stop}:
            task.result()
    finally:
        for task in (stop, *tasks):
            task.cancel()
        await asyncio.gather(stop, *tasks, return_exceptions=True)
