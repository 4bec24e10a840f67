"""The two ways to become known to the kubelet: it finds our socket in its registry, or it is called.

The plugin watcher finds a socket within a second, looks at its folder again by itself after a restart, and leaves
sockets alone. A call is answered at once, and has to be repeated for each kubelet (both read in kubelet 1.36.2).
"""
# ruff: noqa: ARG002, N802 - the calls' names and arguments are gRPC's

import asyncio
import contextlib
from collections.abc import Callable
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
    """The kubelet's plugin watcher finds our socket in `plugins_registry` and asks who we are.

    Where the kubelet is there (`beside` has its socket) and does not come for `patience` seconds, this is not its
    registry: its root is another one.
    """

    def __init__(self, resource: str, registry: Path, beside: Path, patience: float) -> None:
        self._resource = resource
        self._beside = beside
        self._patience = patience
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
            SubFunctionError: it refused; or it is there, and did not come.
        """
        while not self._told.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await self._told.wait()
            if not self._told.is_set() and await _listens(self._beside / KUBELET_SOCKET):
                raise SubFunctionError(
                    f"the kubelet did not look at {self.folder} within {self._patience:g} s",
                    hint="Its root folder may be another one: see `--root-dir` of the kubelet, and set kubelet-root.",
                )
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


async def _listens(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    writer.close()
    return True


def _identity(path: Path) -> Identity | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    # A folder's change time moves with each socket in it.
    return status.st_ino, 0 if path.is_dir() else status.st_ctime_ns


Ways = Callable[[str], tuple[Way, ...]]
"""Gives the ways to register a resource, the better one first."""


def ways(kubelet_root: Path, kubelet_folder: Path, patience: float) -> Ways:
    """Give the plugin watcher's way first, which is taken wherever its folder is."""

    def of(resource: str) -> tuple[Way, ...]:
        watched = ByWatcher(resource, kubelet_root / REGISTRY, kubelet_folder, patience)
        return watched, ByCall(resource, kubelet_folder)

    return of
