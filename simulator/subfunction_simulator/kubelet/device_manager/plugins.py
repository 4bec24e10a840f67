"""Device plugins register, are dialled back by the kubelet, and stream their lists."""
# ruff: noqa: N802 - the calls' names are gRPC's

import asyncio
import logging
import re
from collections.abc import Callable
from pathlib import Path

import grpc

from subfunction.kubelet import deviceplugin_pb2 as api
from subfunction.kubelet.deviceplugin_pb2_grpc import DevicePluginStub, RegistrationServicer
from subfunction_simulator.kubelet.device_manager.devices import DeviceTable
from subfunction_simulator.kubelet.device_manager.watcher import Refused

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[object, object]

_DIAL_SECONDS = 10.0
_RESOURCE_NAME = re.compile(
    r"(?!requests\.)[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
)


class Plugin:
    """A registered plugin has a channel to its socket, and the options that it asked for."""

    def __init__(self, resource: str, socket: Path) -> None:
        self.resource = resource
        self.socket = socket
        self.options = api.DevicePluginOptions()
        self.connected = False
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", options=[("grpc.default_authority", "localhost")])
        self.stub = DevicePluginStub(self._channel)

    async def connect(self) -> None:
        """Dial and ask for the options, within the 10 s that a kubelet gives."""
        async with asyncio.timeout(_DIAL_SECONDS):
            self.options = await self.stub.GetDevicePluginOptions(api.Empty(), wait_for_ready=True)
        self.connected = True

    async def close(self) -> None:
        """Hang up: an open stream ends on both sides."""
        await self._channel.close()


class Registration(RegistrationServicer):
    """The kubelet takes registrations, and keeps the newest plugin of each resource; the last to come wins.

    True to 1.36 in a known race: when any stream of a resource ends, whichever plugin is then current is disconnected,
    the one of that stream or its successor (kubernetes/kubernetes#127803).
    """

    def __init__(
        self, folder: Path, table: DeviceTable, on_list: Callable[[], None], on_change: Callable[[], None]
    ) -> None:
        self.plugins: dict[str, Plugin] = {}
        self.messages: dict[str, int] = {}
        self.registrations: list[api.RegisterRequest] = []
        self.connections = 0
        self._clients: dict[str, Plugin] = {}
        self._folder = folder
        self._table = table
        self._on_list = on_list
        self._on_change = on_change
        self._streams: set[asyncio.Task[None]] = set()

    async def Register(self, request: api.RegisterRequest, context: Context) -> api.Empty:
        """Dial back before the reply: a plugin that does not serve yet is refused."""
        self.registrations.append(request)
        resource = request.resource_name
        if request.version != "v1beta1":
            text = (
                f'requested API version "{request.version}" is not supported by kubelet. '
                'Supported version is ["v1beta1"]'
            )
            await context.abort(grpc.StatusCode.UNKNOWN, text)
        try:
            await self.connect(resource, self._folder / request.endpoint)
        except Refused as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
        return api.Empty()

    async def connect(self, resource: str, socket: Path) -> None:
        """Dial a plugin, whichever way it became known, and open its stream.

        Raises:
            Refused: its name is none for a resource, or it does not answer.
        """
        if not _RESOURCE_NAME.fullmatch(resource) or "kubernetes.io/" in resource:
            raise Refused(f'the ResourceName "{resource}" is invalid')
        plugin = Plugin(resource, socket)
        self._clients[resource] = plugin
        try:
            await plugin.connect()
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            self._clients.pop(resource, None)
            await plugin.close()
            raise Refused(f"failed to dial device plugin: {error!r}") from error
        self.plugins[resource] = plugin
        self.connections += 1
        self._table.connect(resource)
        logger.info("%s registered at %s", resource, socket.name)
        task = asyncio.create_task(self._run(plugin), name=f"ListAndWatch of {resource}")
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)

    async def disconnect(self, resource: str) -> None:
        """Hang up on the plugin of a resource, whichever that is by now: the watcher's socket is gone."""
        if (current := self._clients.pop(resource, None)) is not None:
            self._table.disconnect(resource)
            # One that is being dialled has nothing to hang up yet, and comes to serve though it is forgotten here.
            if current.connected:
                await current.close()
            self._on_change()

    async def close(self) -> None:
        """Hang up on every plugin, as a kubelet does that goes down."""
        for task in tuple(self._streams):
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)
        for plugin in {*self.plugins.values(), *self._clients.values()}:
            await plugin.close()

    async def _run(self, plugin: Plugin) -> None:
        resource = plugin.resource
        try:
            async for message in plugin.stub.ListAndWatch(api.Empty()):
                self.messages[resource] = self.messages.get(resource, 0) + 1
                self._table.replace(resource, message.devices)
                self._on_list()
        except grpc.aio.AioRpcError as error:
            logger.info("ListAndWatch of %s ended: %s", resource, error.code().name)
        except asyncio.CancelledError:
            # A channel that is closed under its stream says so, too; both mean that this kubelet has hung up.
            logger.info("ListAndWatch of %s was hung up", resource)
        await plugin.close()
        await self.disconnect(resource)
