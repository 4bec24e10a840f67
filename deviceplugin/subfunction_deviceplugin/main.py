"""Runs the plugin: watches files, keeps the device lists, and has an endpoint for each resource."""

import asyncio
import logging
import socket
from pathlib import Path

from subfunction.errors import SubFunctionError
from subfunction.kubelet.checkpoint import CHECKPOINT
from subfunction.process.http_server import serve_metrics
from subfunction.process.metrics import PluginMetrics
from subfunction.process.probes import Heartbeat
from subfunction.state.inotify import DirectoryWatch
from subfunction_deviceplugin.allocator import Allocator
from subfunction_deviceplugin.device_list import DeviceList
from subfunction_deviceplugin.endpoint import SOCKET_PREFIX, Endpoint, EndpointContext, process_instance
from subfunction_deviceplugin.node_state import NodeStateReader
from subfunction_deviceplugin.registration import REGISTRY, find_registrars
from subfunction_deviceplugin.servicer import DevicePlugin, ServicerContext
from subfunction_deviceplugin.settings import Settings
from subfunction_deviceplugin.worker import LedgerWorker

_LOG = logging.getLogger(__name__)

_PROBE_SECONDS = 0.2


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then remove our sockets.

    Raises:
        FolderError: this boot's id cannot be read, or a folder cannot be watched.
        CannotListen: metrics and probes cannot be served where they should.
    """
    try:
        await _serve(settings, stop)
    except ExceptionGroup as group:
        # The first error has cancelled the other tasks, so it stands for all. A group with a bug keeps its traceback.
        if group.split(SubFunctionError)[1] is None:
            raise _first_error(group) from group
        raise


def _first_error(error: Exception) -> Exception:
    return _first_error(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


async def _serve(settings: Settings, stop: asyncio.Event) -> None:
    allocator = Allocator(NodeStateReader.of(settings))
    endpoints: dict[str, Endpoint] = {}
    registry = settings.kubelet_root / REGISTRY
    for folder in (registry, settings.kubelet_folder):
        remove_dead_sockets(folder)

    metrics, heartbeat = PluginMetrics(), Heartbeat("main")
    endpoint_context = EndpointContext(settings.stream_wait, process_instance(), metrics)
    metrics.streams.source = lambda: {(each.resource,): each.streams for each in endpoints.copy().values()}

    def waiting() -> tuple[str, ...]:
        if not device_list.looked:
            return ("the records have not been looked at yet",)
        return tuple(f"{each.resource}: {each.waits_for}" for each in endpoints.copy().values() if each.streams == 0)

    with LedgerWorker() as worker:
        async with asyncio.TaskGroup() as group:

            def add_endpoint(resource: str) -> None:
                endpoints[resource] = Endpoint(
                    resource,
                    find_registrars(resource, settings.kubelet_root, settings.kubelet_folder),
                    lambda on_streams: DevicePlugin(resource, context, on_streams),
                    endpoint_context,
                )
                tasks.append(group.create_task(endpoints[resource].run(), name=resource))

            def on_registry(_: str) -> None:
                for endpoint in endpoints.values():
                    endpoint.notify()

            def on_kubelet_folder(name: str) -> None:
                if name in {"", CHECKPOINT}:
                    device_list.notify(only_checkpoint=True)
                on_registry(name)

            def on_files(name: str) -> None:
                if name == "" or name.endswith(".json"):
                    device_list.notify()

            device_list = DeviceList(allocator, worker, settings, add_endpoint, metrics=metrics)
            context = ServicerContext(
                device_list,
                allocator,
                worker,
                settings.allocate_deadline,
                metrics,
                settings.allocation_policy,
                settings.numa_hints,
            )
            watch = DirectoryWatch(
                {
                    settings.kubelet_folder: on_kubelet_folder,
                    registry: on_registry,
                    settings.records: on_files,
                    settings.state: on_files,
                }
            )
            tasks = [
                group.create_task(watch.run(), name="watch"),
                group.create_task(device_list.run(), name="device-list"),
                group.create_task(heartbeat.beat(), name="heartbeat"),
            ]
            with serve_metrics(settings.listen, metrics, waiting, heartbeat):
                await stop.wait()
            for task in tasks:
                task.cancel()


def remove_dead_sockets(folder: Path) -> None:
    """Remove sockets that a killed run of this program left: no process listens on them any more."""
    for path in folder.glob(f"{SOCKET_PREFIX}*.sock"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            # A live process with a full accept queue would block us without a limit.
            probe.settimeout(_PROBE_SECONDS)
            try:
                probe.connect(bytes(path))
            except ConnectionRefusedError:
                _LOG.info("removed %s, which a killed run left", path)
                path.unlink(missing_ok=True)
            except OSError as error:
                _LOG.debug("left %s alone: %s", path, error)
