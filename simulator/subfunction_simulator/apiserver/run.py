"""The API server runs as a program of its own, until a signal; it writes a kubeconfig for its clients."""

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from subfunction_simulator.apiserver.server import ApiServer


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """These settings say how the embedded API server runs."""

    host: str = "127.0.0.1"
    """The address to listen on. The server authenticates no client, so it stays on this machine."""
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0
    """The TCP port; 0 takes any free one."""
    kubeconfig: Path | None = None
    """A file to write a kubeconfig to; it is removed at the end."""
    token: str | None = None
    """A bearer token that every request must carry."""
    crds: Path | None = None
    """The folder of the CRDs; by default the project's own."""


async def serve(settings: ServerSettings) -> None:
    """Serve until SIGINT or SIGTERM, or until cancelled; raises AddressInUseError and UnusableCrdError."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stopped.set)
    try:
        async with ApiServer(
            host=settings.host, port=settings.port, crds=settings.crds, token=settings.token
        ) as server:
            print(f"API server at {server.url}", flush=True)
            if settings.kubeconfig is None:
                await stopped.wait()
                return
            _write(settings.kubeconfig, server.kubeconfig())
            print(f"export KUBECONFIG={settings.kubeconfig}", flush=True)
            try:
                await stopped.wait()
            finally:
                settings.kubeconfig.unlink(missing_ok=True)
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _write(path: Path, text: str) -> None:
    """Write whole or not at all, and readable for this user alone: it may hold a token."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.chmod(0o600)
    draft.replace(path)
