"""The kubelet's plugin watcher finds sockets in `plugins_registry`, asks what they are, and tells them the outcome.

As in 1.36.2 it compares the folder with what it has at a fixed pace (a real one each second), lets go of what is gone
before it takes what is new, leaves every socket alone, and after a failure waits, twice as long each time.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc

from subfunction.kubelet.pluginregistration_pb2 import InfoRequest, PluginInfo, RegistrationStatus
from subfunction.kubelet.pluginregistration_pb2_grpc import RegistrationStub

logger = logging.getLogger(__name__)

_INFO_SECONDS = 1.0
_NOTIFY_SECONDS = 5.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 122.0

_Identity = tuple[int, int]


class Refused(Exception):
    """A plugin cannot be taken; the message is what it is told."""


@dataclasses.dataclass(slots=True)
class _Known:
    """A known socket has the resource that it serves, or is left alone for a time."""

    identity: _Identity
    resource: str | None = None
    pause: float = 0.0
    until: float = 0.0


class PluginWatcher:
    """The watcher watches one folder; `connect` and `disconnect` are the device manager's, by resource."""

    def __init__(
        self,
        folder: Path,
        connect: Callable[[str, Path], Awaitable[None]],
        disconnect: Callable[[str], Awaitable[None]],
        *,
        pause: float = 1.0,
    ) -> None:
        self._folder = folder
        self._connect = connect
        self._disconnect = disconnect
        self._pause = pause
        self._known: dict[Path, _Known] = {}

    async def run(self) -> None:
        """Look at the folder at a fixed pace, until cancelled."""
        while True:
            await self._reconcile()
            await asyncio.sleep(self._pause)

    async def _reconcile(self) -> None:
        found = {path: identity for path in self._sockets() if (identity := _identity(path)) is not None}
        for path, known in tuple(self._known.items()):
            if found.get(path) != known.identity:
                del self._known[path]
                if known.resource is not None:
                    await self._disconnect(known.resource)
        for path, identity in found.items():
            known = self._known.setdefault(path, _Known(identity))
            if known.resource is None and time.monotonic() >= known.until:
                await self._try(path, known)

    async def _try(self, path: Path, known: _Known) -> None:
        try:
            known.resource = await self._take(path)
        except (grpc.aio.AioRpcError, Refused) as error:
            logger.info("the plugin at %s is not taken: %s", path, error)
            known.pause = min(2 * known.pause or _FIRST_PAUSE, _LONGEST_PAUSE)
            known.until = time.monotonic() + known.pause

    async def _take(self, path: Path) -> str:
        # Unlike the device manager this client of the kubelet sends the socket's path as its authority.
        options = [("grpc.default_authority", str(path))]
        async with grpc.aio.insecure_channel(f"unix:{path}", options=options) as channel:
            plugin = RegistrationStub(channel)
            info = await plugin.GetInfo(InfoRequest(), timeout=_INFO_SECONDS)
            try:
                _check(info)
                await self._connect(info.name, Path(info.endpoint) if info.endpoint else path)
            except Refused as error:
                status = RegistrationStatus(plugin_registered=False, error=str(error))
                await plugin.NotifyRegistrationStatus(status, timeout=_NOTIFY_SECONDS)
                raise
            await plugin.NotifyRegistrationStatus(RegistrationStatus(plugin_registered=True), timeout=_NOTIFY_SECONDS)
        return info.name

    def _sockets(self) -> list[Path]:
        return [path for path in self._folder.rglob("*") if not path.name.startswith(".") and path.is_socket()]


def _check(info: PluginInfo) -> None:
    if info.type != "DevicePlugin":
        raise Refused(f"RegisterPlugin error -- no handler registered for plugin type: {info.type}")
    if "v1beta1" not in info.supported_versions:
        versions = list(info.supported_versions)
        raise Refused(f"manager version, v1beta1, is not among plugin supported versions {versions}")


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns
