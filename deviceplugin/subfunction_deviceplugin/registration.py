"""Registers the plugin in one of two ways: it calls the kubelet, or the kubelet finds our socket in its registry.

A call is answered at once. The plugin watcher looks once a second, and a kubelet that has just started rejects for good
every pod that it admits before; so the watcher serves only a kubelet that cannot be called (docs/decisions/).
"""
# ruff: noqa: ARG002, N802 - the calls' names and arguments are gRPC's

import asyncio
from pathlib import Path
from typing import Final, Protocol

import grpc

from subfunction.errors import SubFunctionError
from subfunction.kubelet.deviceplugin_pb2 import RegisterRequest
from subfunction.kubelet.deviceplugin_pb2_grpc import RegistrationStub
from subfunction.kubelet.pluginregistration_pb2 import (
    InfoRequest,
    PluginInfo,
    RegistrationStatus,
    RegistrationStatusResponse,
)
from subfunction.kubelet.pluginregistration_pb2_grpc import RegistrationServicer, add_RegistrationServicer_to_server

API_VERSION: Final = "v1beta1"
KUBELET_SOCKET: Final = "kubelet.sock"
REGISTRY: Final = "plugins_registry"

_TYPE: Final = "DevicePlugin"
_CALL_SECONDS: Final = 15.0
"""The kubelet dials back for up to 10 s before it answers."""

Context = grpc.aio.ServicerContext[object, object]
Identity = tuple[int, int]


class Registrar(Protocol):
    """One way to register one resource; our socket is in `folder`."""

    @property
    def folder(self) -> Path:
        """Return the folder where our socket has to be."""

    def kubelet(self) -> Identity | None:
        """Return an identity by which one kubelet differs from the next; None where there is none."""

    def serve(self, server: grpc.aio.Server) -> None:
        """Add the services that the kubelet calls besides the plugin itself."""

    async def register(self, endpoint: str) -> None:
        """Register the socket of that name, which serves already; return once the kubelet has accepted it.

        Raises:
            SubFunctionError: the kubelet refused.
        """


class DirectRegistrar:
    """Calls the kubelet's `Register`; its folder is a compile-time constant, wherever its root is."""

    def __init__(self, resource: str, folder: Path) -> None:
        self._resource = resource
        self.folder = folder

    def kubelet(self) -> Identity | None:
        """Return the identity of the kubelet's socket."""
        return _file_identity(self.folder / KUBELET_SOCKET)

    def serve(self, server: grpc.aio.Server) -> None:
        """Add nothing: this kubelet calls the plugin alone."""

    async def register(self, endpoint: str) -> None:
        """Call `Register`; the kubelet dials back before it answers.

        Raises:
            SubFunctionError: the kubelet refused, or did not answer.
        """
        request = RegisterRequest(version=API_VERSION, endpoint=endpoint, resource_name=self._resource)
        target = f"unix:{self.folder / KUBELET_SOCKET}"
        # The default authority is the socket's path, which not every HTTP/2 server accepts.
        options = [("grpc.default_authority", "localhost")]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            try:
                await RegistrationStub(channel).Register(request, timeout=_CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                why = f"{error.code().name}: {error.details()}"
                raise SubFunctionError(f"the kubelet refused the registration: {why}") from error


class WatcherRegistrar(RegistrationServicer):
    """Waits for the kubelet's plugin watcher, which finds our socket in `plugins_registry` and calls `GetInfo`."""

    def __init__(self, resource: str, registry: Path) -> None:
        self._resource = resource
        self._told = asyncio.Event()
        self._status = RegistrationStatus()
        self.folder = registry

    def kubelet(self) -> Identity | None:
        """Return the identity of the registry folder: a new kubelet that starts there watches the same one."""
        return _file_identity(self.folder)

    def serve(self, server: grpc.aio.Server) -> None:
        """Add the registration service, and forget the result of an earlier registration."""
        self._told.clear()
        add_RegistrationServicer_to_server(self, server)

    async def register(self, endpoint: str) -> None:
        """Wait until the kubelet has reported the result.

        Raises:
            SubFunctionError: the kubelet refused.
        """
        await self._told.wait()
        if not self._status.plugin_registered:
            raise SubFunctionError(f"the kubelet refused the registration: {self._status.error}")

    async def GetInfo(self, request: InfoRequest, context: Context) -> PluginInfo:
        """Return our type, resource name and API version; the plugin itself is on the same socket."""
        return PluginInfo(type=_TYPE, name=self._resource, supported_versions=[API_VERSION])

    async def NotifyRegistrationStatus(
        self, request: RegistrationStatus, context: Context
    ) -> RegistrationStatusResponse:
        """Store whether the kubelet accepted the plugin; ignore a repeated report, since the stream is open by then."""
        if not self._told.is_set():
            self._status = request
            self._told.set()
        return RegistrationStatusResponse()


def _file_identity(path: Path) -> Identity | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    # The change time of a folder is left out, since it moves with each socket that is created in it.
    return status.st_ino, 0 if path.is_dir() else status.st_ctime_ns


def find_registrars(resource: str, kubelet_root: Path, kubelet_folder: Path) -> tuple[Registrar, ...]:
    """Return the ways to register a resource, the better one first."""
    return DirectRegistrar(resource, kubelet_folder), WatcherRegistrar(resource, kubelet_root / REGISTRY)
