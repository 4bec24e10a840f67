"""Serve, register, watch: the life of one resource's endpoint. Restart is a loop and a counter.

Each turn of the loop has a socket of its own name. The kubelet forgets a plugin without a word: it restarts (removing
all sockets), or ends the stream; up to 1.36 it may also take the end of an old stream for the end of the new one
(kubernetes/kubernetes#127803, #135437). So the endpoint begins anew when the stream has closed, when `kubelet.sock` is
another one, or when no stream was opened after Register. While the stream is open, a kubelet holds its other end, and
neither socket needs a name any more: a folder that somebody wiped is waited out until the kubelet restarts.
"""

import asyncio
import functools
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Never

import grpc

from subfunction.errors import SubFunctionError
from subfunction.kubelet.deviceplugin_pb2 import RegisterRequest
from subfunction.kubelet.deviceplugin_pb2_grpc import RegistrationStub, add_DevicePluginServicer_to_server
from subfunction_deviceplugin.server import DevicePlugin

logger = logging.getLogger(__name__)

KUBELET_SOCKET = "kubelet.sock"
API_VERSION = "v1beta1"
SOCKET_PREFIX = "subfunction-"

_REGISTER_SECONDS = 15.0
"""The kubelet dials back for up to 10 s before it answers."""
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0
_SOCKET_PATH_BYTES = 107


class Endpoint:
    """One resource at the kubelet; `starts` counts the turns of its loop."""

    def __init__(
        self,
        resource: str,
        folder: Path,
        serve: Callable[[Callable[[], None]], DevicePlugin],
        *,
        stream_wait: float,
        instance: str,
    ) -> None:
        self.starts = 0
        self._resource = resource
        self._folder = folder
        self._serve = serve
        self._stream_wait = stream_wait
        self._instance = instance
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """Look around: something changed in the kubelet's folder."""
        self._bell.set()

    async def run(self) -> Never:
        """Keep the resource registered until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            if self._kubelet() is None:
                logger.info("%s: waiting for the kubelet's %s", self._resource, self._folder / KUBELET_SOCKET)
                await self._until(lambda: self._kubelet() is not None)
            kubelet = self._kubelet()
            self.starts += 1
            began = time.monotonic()
            try:
                why = await self._turn(kubelet)
            except grpc.aio.AioRpcError as error:
                why = f"the kubelet refused the registration: {error.code().name}: {error.details()}"
            except SubFunctionError as error:
                why = str(error)
            logger.warning("%s: start %d ended: %s", self._resource, self.starts, why)
            if time.monotonic() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            # A new kubelet is answered at once, whatever trouble there was with the old one: it can admit no pod yet.
            another = await self._until(functools.partial(self._is_another, kubelet), timeout=pause)
            pause = _FIRST_PAUSE if another else min(2 * pause, _LONGEST_PAUSE)

    async def _turn(self, kubelet: tuple[int, int] | None) -> str:
        """Serve and register once; give the reason to begin anew."""
        socket = self._socket()
        plugin = self._serve(self.ring)
        server = grpc.aio.server()
        add_DevicePluginServicer_to_server(plugin, server)
        try:
            _bind(server, socket)
            await server.start()
            await self._register(socket, kubelet)
            lost = functools.partial(self._lost, socket, kubelet)
            await self._until(lambda: plugin.streams > 0 or lost() is not None, timeout=self._stream_wait)
            if plugin.streams == 0:
                return lost() or f"no ListAndWatch within {self._stream_wait:g} s of Register"
            logger.info("%s: registered on %s", self._resource, socket.name)
            await self._until(lambda: plugin.streams == 0 or self._is_replaced(kubelet))
            return "the kubelet restarted" if self._is_another(kubelet) else "the kubelet closed the stream"
        finally:
            await server.stop(None)
            socket.unlink(missing_ok=True)

    async def _register(self, socket: Path, kubelet: tuple[int, int] | None) -> None:
        """Register, or give up when socket or kubelet is no longer there.

        A kubelet that came up in between has removed our socket, and would dial it in vain for ten seconds.
        """
        call = asyncio.create_task(self._call_register(socket.name))
        call.add_done_callback(lambda _: self.ring())
        try:
            await self._until(lambda: call.done() or self._lost(socket, kubelet) is not None)
            if call.done():
                await call
        finally:
            call.cancel()

    async def _call_register(self, endpoint: str) -> None:
        request = RegisterRequest(version=API_VERSION, endpoint=endpoint, resource_name=self._resource)
        target = f"unix:{self._folder / KUBELET_SOCKET}"
        # Without it the socket's path is the authority, which not every HTTP/2 server accepts.
        options = [("grpc.default_authority", "localhost")]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            await RegistrationStub(channel).Register(request, timeout=_REGISTER_SECONDS)

    def _lost(self, socket: Path, kubelet: tuple[int, int] | None) -> str | None:
        if self._is_another(kubelet):
            return "the kubelet restarted"
        return None if socket.exists() else "our socket was removed"

    def _kubelet(self) -> tuple[int, int] | None:
        """Tell one kubelet's socket from the next one's; None where there is none."""
        try:
            status = (self._folder / KUBELET_SOCKET).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_ctime_ns

    def _is_another(self, kubelet: tuple[int, int] | None) -> bool:
        return self._kubelet() != kubelet

    def _is_replaced(self, kubelet: tuple[int, int] | None) -> bool:
        return self._kubelet() not in {None, kubelet}

    def _socket(self) -> Path:
        spoken = re.sub(r"[^A-Za-z0-9.]", "_", self._resource)
        short = hashlib.sha256(self._resource.encode()).hexdigest()[:8]
        token = f"{self._instance}-{self.starts}"
        for name in (spoken, short):
            path = self._folder / f"{SOCKET_PREFIX}{name}-{token}.sock"
            if len(bytes(path)) <= _SOCKET_PATH_BYTES:
                return path
        raise SubFunctionError(
            f"{path} is longer than the {_SOCKET_PATH_BYTES} bytes of a socket's path",
            hint="Take a shorter kubelet-folder.",
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


def instance() -> str:
    """Name this run of the program, so that no socket of another run is ever taken for ours."""
    return secrets.token_hex(4)


def _bind(server: grpc.aio.Server, socket: Path) -> None:
    try:
        server.add_insecure_port(f"unix:{socket}")
        # The process umask lets nobody else in from the first moment; this takes our own needless execute bit.
        socket.chmod(0o600)
    except (RuntimeError, OSError) as error:
        raise SubFunctionError(f"cannot listen on {socket}: {error}", hint=f"See `ls -ld {socket.parent}`.") from error
