"""The program: watch, look, and keep an endpoint for each resource, until told to stop."""

import asyncio
import logging
import socket
from pathlib import Path

from subfunction.errors import SubFunctionError
from subfunction.folderwatch import FolderWatch
from subfunction.kubelet.checkpoint import CHECKPOINT
from subfunction.listener import served
from subfunction.metrics import PluginMetrics
from subfunction.probes import Heartbeat
from subfunction_deviceplugin import lifecycle
from subfunction_deviceplugin.bookkeeper import Bookkeeper
from subfunction_deviceplugin.inventory import Inventory
from subfunction_deviceplugin.lifecycle import SOCKET_PREFIX, Endpoint
from subfunction_deviceplugin.registration import REGISTRY, ways
from subfunction_deviceplugin.server import Desk, DevicePlugin
from subfunction_deviceplugin.settings import Settings
from subfunction_deviceplugin.sources import Sources
from subfunction_deviceplugin.worker import Worker

logger = logging.getLogger(__name__)

_PROBE_SECONDS = 0.2


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; no socket of ours is left then.

    Raises:
        FolderError: this boot cannot be told from another one, or a folder not be watched.
        CannotListen: metrics and probes cannot be served where they should.
    """
    try:
        await _serve(settings, stop)
    except ExceptionGroup as group:
        # The first that failed has ended the others. What is no fault of the node's keeps its traceback.
        if group.split(SubFunctionError)[1] is None:
            raise _first(group) from group
        raise


def _first(error: Exception) -> Exception:
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


async def _serve(settings: Settings, stop: asyncio.Event) -> None:
    sources = Sources.of(settings)
    bookkeeper = Bookkeeper(sources)
    instance = lifecycle.instance()
    endpoints: dict[str, Endpoint] = {}
    registry = settings.kubelet_root / REGISTRY
    for folder in (registry, settings.kubelet_folder):
        remove_dead_sockets(folder)

    metrics, heartbeat = PluginMetrics(), Heartbeat("main")
    metrics.streams.source = lambda: {(each.resource,): each.streams for each in endpoints.copy().values()}

    def waiting() -> tuple[str, ...]:
        if not inventory.looked:
            return ("the records have not been looked at yet",)
        return tuple(f"{each.resource}: {each.waits_for}" for each in endpoints.copy().values() if each.streams == 0)

    with Worker() as worker:
        async with asyncio.TaskGroup() as group:

            def offer(resource: str) -> None:
                endpoints[resource] = Endpoint(
                    resource,
                    ways(resource, settings.kubelet_root, settings.kubelet_folder),
                    lambda on_streams: DevicePlugin(resource, desk, on_streams),
                    stream_wait=settings.stream_wait,
                    instance=instance,
                    metrics=metrics,
                )
                tasks.append(group.create_task(endpoints[resource].run(), name=resource))

            def on_registry(_: str) -> None:
                for endpoint in endpoints.values():
                    endpoint.ring()

            def on_kubelet_folder(name: str) -> None:
                if name in {"", CHECKPOINT}:
                    inventory.ring(only_checkpoint=True)
                on_registry(name)

            def on_files(name: str) -> None:
                if name == "" or name.endswith(".json"):
                    inventory.ring()

            inventory = Inventory(sources, bookkeeper, worker, settings, offer, metrics=metrics)
            desk = Desk(
                inventory,
                bookkeeper,
                worker,
                settings.allocate_deadline,
                metrics,
                settings.allocation_policy,
                settings.numa_hints,
            )
            watch = FolderWatch(
                {
                    settings.kubelet_folder: on_kubelet_folder,
                    registry: on_registry,
                    settings.records: on_files,
                    settings.state: on_files,
                }
            )
            tasks = [
                group.create_task(watch.run(), name="watch"),
                group.create_task(inventory.run(), name="inventory"),
                group.create_task(heartbeat.beating(), name="heartbeat"),
            ]
            with served(settings.listen, metrics, waiting, heartbeat):
                await stop.wait()
            for task in tasks:
                task.cancel()


def remove_dead_sockets(folder: Path) -> None:
    """Remove sockets that a killed run of this program left: nobody listens there any more."""
    for path in folder.glob(f"{SOCKET_PREFIX}*.sock"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            # A live sibling with a full queue would let us wait for as long as it likes.
            probe.settimeout(_PROBE_SECONDS)
            try:
                probe.connect(bytes(path))
            except ConnectionRefusedError:
                logger.info("removed %s, which a killed run left", path)
                path.unlink(missing_ok=True)
            except OSError as error:
                logger.debug("left %s alone: %s", path, error)
