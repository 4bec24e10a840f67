"""Keeps one resource registered: serves a socket, registers it, and begins anew when the kubelet has forgotten it.

Each turn of the loop has a socket of its own name, and one way of registration (registration.py). The kubelet forgets
a plugin without notice: it restarts (removing all sockets beside its own), or ends the stream; up to 1.36 it may also
take the end of an old stream for the end of the new one (kubernetes/kubernetes#127803, #135437). So the endpoint begins
anew when the stream has closed, when the kubelet is another one, or when no stream was opened after the registration.
While the stream is open, the kubelet is connected and the socket needs no name any more: if the folder is emptied, the
endpoint waits until the kubelet restarts.
"""

import asyncio
import contextlib
import dataclasses
import functools
import hashlib
import logging
import re
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Never

import grpc

from subfunction.errors import SubFunctionError
from subfunction.kubelet.deviceplugin_pb2_grpc import add_DevicePluginServicer_to_server
from subfunction.process.metrics import PluginMetrics
from subfunction_deviceplugin.registration import Identity, Registrar
from subfunction_deviceplugin.servicer import DevicePlugin

_LOG = logging.getLogger(__name__)

SOCKET_PREFIX = "subfunction-"

_NO_LIST = "the kubelet has not opened its list"
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0
_SOCKET_PATH_BYTES = 107


@dataclasses.dataclass(frozen=True, slots=True)
class EndpointContext:
    """What all endpoints share.

    `stream_wait` is in seconds, from the registration until the kubelet must have opened its list; `instance` names
    this run, so that no socket of another run is ever taken for ours.
    """

    stream_wait: float
    instance: str
    metrics: PluginMetrics


class Endpoint:
    """Keeps one resource registered; `starts` counts the turns of its loop, `ways` has the better one first."""

    def __init__(
        self,
        resource: str,
        ways: Sequence[Registrar],
        serve: Callable[[Callable[[], None]], DevicePlugin],
        context: EndpointContext,
    ) -> None:
        self.resource = resource
        self.starts = 0
        self.waits_for = _NO_LIST
        """Why the kubelet has no list open, in words; of no meaning while it has one."""
        self._plugin: DevicePlugin | None = None
        self._ways = ways
        self._serve = serve
        self._context = context
        self._bell = asyncio.Event()

    @property
    def streams(self) -> int:
        """Return how many lists the kubelet has open; any thread may call it."""
        plugin = self._plugin
        return 0 if plugin is None else plugin.streams

    def notify(self) -> None:
        """Check socket and kubelet again: something changed in the kubelet's folder."""
        self._bell.set()

    async def run(self) -> Never:
        """Keep the resource registered until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            if self._registrar() is None:
                places = " or ".join(str(way.folder) for way in self._ways)
                self.waits_for = f"{_NO_LIST}: there is none in {places}"
                _LOG.info("%s: waiting for the kubelet in %s", self.resource, places)
                await self._until(lambda: self._registrar() is not None)
            way = self._registrar() or self._ways[0]
            kubelet = way.kubelet()
            self.starts += 1
            began = time.monotonic()
            try:
                why = await self._turn(way, kubelet)
            except SubFunctionError as error:
                why = str(error)
            self.waits_for = f"{_NO_LIST}: start {self.starts} ended: {why}"
            _LOG.warning("%s: start %d ended: %s", self.resource, self.starts, why)
            if time.monotonic() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            # Register with a new kubelet at once, whatever failed with the old one: it can admit no pod before.
            another = await self._until(functools.partial(self._is_another, way, kubelet), timeout=pause)
            pause = _FIRST_PAUSE if another else min(2 * pause, _LONGEST_PAUSE)

    def _registrar(self) -> Registrar | None:
        """Return the first way to a kubelet; None where there is none.

        Only one is used at a time: a kubelet that knows two of our sockets takes the end of either for the end of the
        resource.
        """
        return next((way for way in self._ways if way.kubelet() is not None), None)

    async def _turn(self, way: Registrar, kubelet: Identity | None) -> str:
        """Serve and register once; return the reason to begin anew."""
        place = self._socket(way.folder)
        plugin = self._plugin = self._serve(self.notify)
        taken = False
        server = grpc.aio.server()
        add_DevicePluginServicer_to_server(plugin, server)
        way.serve(server)
        try:
            _bind(server, place)
            await server.start()
            lost = functools.partial(self._find_loss, way, place, kubelet)
            await self._register(way, place, lost)
            await self._until(lambda: plugin.streams > 0 or lost() is not None, timeout=self._context.stream_wait)
            if plugin.streams == 0:
                return lost() or f"no ListAndWatch within {self._context.stream_wait:g} s of the registration"
            taken = True
            self._context.metrics.record_registration(self.resource)
            _LOG.info("%s: registered on %s", self.resource, place.name)
            await self._until(lambda: plugin.streams == 0 or _is_replaced(way, kubelet))
            return "the kubelet restarted" if self._is_another(way, kubelet) else "the kubelet closed the stream"
        finally:
            if not taken:
                self._context.metrics.record_registration_failure(self.resource)
            await server.stop(None)
            with contextlib.suppress(OSError):  # in a folder that became read-only it stays, unserved
                place.unlink(missing_ok=True)

    async def _register(self, way: Registrar, place: Path, lost: Callable[[], str | None]) -> None:
        """Register, or give up when the socket is gone, the kubelet is another one, or a better way is there.

        A kubelet that started in between has removed our socket, and would dial it in vain for ten seconds.
        """
        registering = asyncio.create_task(way.register(place.name))
        registering.add_done_callback(lambda _: self.notify())
        try:
            await self._until(lambda: registering.done() or lost() is not None)
            if registering.done():
                await registering
        finally:
            registering.cancel()

    def _find_loss(self, way: Registrar, place: Path, kubelet: Identity | None) -> str | None:
        if self._is_another(way, kubelet):
            return "another kubelet is there"
        return None if place.exists() else "our socket was removed"

    def _is_another(self, way: Registrar, kubelet: Identity | None) -> bool:
        """Return whether the kubelet is another one, or a better way to it is there."""
        return self._registrar() is not way or way.kubelet() != kubelet

    def _socket(self, folder: Path) -> Path:
        spoken = re.sub(r"[^A-Za-z0-9.]", "_", self.resource)
        short = hashlib.sha256(self.resource.encode()).hexdigest()[:8]
        token = f"{self._context.instance}-{self.starts}"
        for name in (spoken, short):
            path = folder / f"{SOCKET_PREFIX}{name}-{token}.sock"
            if len(bytes(path)) <= _SOCKET_PATH_BYTES:
                return path
        raise SubFunctionError(
            f"{path} is longer than the {_SOCKET_PATH_BYTES} bytes of a socket's path",
            hint="Take a shorter kubelet-root or kubelet-folder.",
        )

    async def _until(self, condition: Callable[[], bool], *, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        try:
            async with asyncio.timeout(timeout):
                while True:
                    self._bell.clear()
                    if condition():
                        return True
                    await self._bell.wait()
        except TimeoutError:
            return condition()


def process_instance() -> str:
    """Return a random name for this run."""
    return secrets.token_hex(4)


def _is_replaced(way: Registrar, kubelet: Identity | None) -> bool:
    return way.kubelet() not in {None, kubelet}


def _bind(server: grpc.aio.Server, place: Path) -> None:
    try:
        server.add_insecure_port(f"unix:{place}")
        # The umask keeps all other users out from the first moment; this removes our own needless execute bit.
        place.chmod(0o600)
    except (RuntimeError, OSError) as error:
        why = _bind_error(place) if isinstance(error, RuntimeError) else error.strerror
        raise SubFunctionError(f"cannot listen on {place}: {why}", hint=f"See `ls -ld {place.parent}`.") from error


def _bind_error(place: Path) -> str:
    """Return the kernel's error, which gRPC does not pass on, by binding a socket of our own."""
    try:
        with socket.socket(socket.AF_UNIX) as trial:
            trial.bind(str(place))
    except OSError as error:
        return error.strerror or repr(error)
    return "gRPC failed, though a second try did not"
