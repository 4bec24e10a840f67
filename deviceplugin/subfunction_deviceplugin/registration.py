"""The two ways to become known to the kubelet: it is called, or it finds our socket in its registry.

A call is answered at once. The plugin watcher looks once a second, and a kubelet that has just started rejects for good
whatever pod it admits in between; so it is the way for a kubelet that cannot be called (docs/decisions/).
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


class Way(Protocol):
    """One way to register one resource; our socket stands in `folder`."""

    @property
    def folder(self) -> Path:
        """Where our socket has to be."""

    def kubelet(self) -> Identity | None:
        """Tell one kubelet from the next one; None where there is none."""

    def serve(self, server: grpc.aio.Server) -> None:
        """Add what the kubelet asks for besides the plugin itself."""

    async def register(self, endpoint: str) -> None:
        """Register the socket of that name, which serves already; come back when the kubelet has it.

        Raises:
            SubFunctionError: the kubelet refused.
        """


class ByCall:
    """We call the kubelet's `Register`; its folder is a compile-time constant, wherever its root is."""

    def __init__(self, resource: str, folder: Path) -> None:
        self._resource = resource
        self.folder = folder

    def kubelet(self) -> Identity | None:
        """Look at its socket."""
        return _identity(self.folder / KUBELET_SOCKET)

    def serve(self, server: grpc.aio.Server) -> None:
        """Nothing more is asked for."""

    async def register(self, endpoint: str) -> None:
        """Call, which has the kubelet dial back before it answers.

        Raises:
            SubFunctionError: the kubelet refused, or did not answer.
        """
        request = RegisterRequest(version=API_VERSION, endpoint=endpoint, resource_name=self._resource)
        target = f"unix:{self.folder / KUBELET_SOCKET}"
        # Without it the socket's path is the authority, which not every HTTP/2 server accepts.
        options = [("grpc.default_authority", "localhost")]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            try:
                await RegistrationStub(channel).Register(request, timeout=_CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                why = f"{error.code().name}: {error.details()}"
                raise SubFunctionError(f"the kubelet refused the registration: {why}") from error


class ByWatcher(RegistrationServicer):
    """The kubelet's plugin watcher finds our socket in `plugins_registry` and asks who we are."""

    def __init__(self, resource: str, registry: Path) -> None:
        self._resource = resource
        self._told = asyncio.Event()
        self._status = RegistrationStatus()
        self.folder = registry

    def kubelet(self) -> Identity | None:
        """Look for its registry: whichever kubelet comes, it looks there."""
        return _identity(self.folder)

    def serve(self, server: grpc.aio.Server) -> None:
        """Answer who we are, and hear what became of it."""
        self._told.clear()
        add_RegistrationServicer_to_server(self, server)

    async def register(self, endpoint: str) -> None:
        """Wait until it has come.

        Raises:
            SubFunctionError: it refused.
        """
        await self._told.wait()
        if not self._status.plugin_registered:
            raise SubFunctionError(f"the kubelet refused the registration: {self._status.error}")

    async def GetInfo(self, request: InfoRequest, context: Context) -> PluginInfo:
        """Say who we are; the plugin itself is on the same socket."""
        return PluginInfo(type=_TYPE, name=self._resource, supported_versions=[API_VERSION])

    async def NotifyRegistrationStatus(
        self, request: RegistrationStatus, context: Context
    ) -> RegistrationStatusResponse:
        """Hear whether the kubelet took it; one that comes again finds the stream open."""
        if not self._told.is_set():
            self._status = request
            self._told.set()
        return RegistrationStatusResponse()


def _identity(path: Path) -> Identity | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    # A folder's change time moves with each socket in it.
    return status.st_ino, 0 if path.is_dir() else status.st_ctime_ns


def ways(resource: str, kubelet_root: Path, kubelet_folder: Path) -> tuple[Way, ...]:
    """Give the ways to register a resource, the better one first."""
    return ByCall(resource, kubelet_folder), ByWatcher(resource, kubelet_root / REGISTRY)
