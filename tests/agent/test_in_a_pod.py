"""Agent and controller as they run in a pod: the account's mounted files, and no official client in the process."""

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest

from rig.cluster import Cluster

CLIENTS: Final = {"kubernetes", "kubernetes_asyncio", "pykube"}
PROGRAM: Final = """
import pathlib, sys
from subfunction_operator.__main__ import app
try:
    app(sys.argv[2:])
finally:
    pathlib.Path(sys.argv[1]).write_text("\\n".join(sys.modules))
"""


@contextlib.asynccontextmanager
async def over_tls(port: int, pair: Path) -> AsyncIterator[int]:
    """Put TLS before a server that speaks plain HTTP, and give the port."""

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while some := await source.read(65536):
                target.write(some)
                await target.drain()
        target.close()

    async def relay(client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        server, requests = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(client, requests), copy(server, answers))

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair / "cert.pem", pair / "key.pem")
    async with await asyncio.start_server(relay, "127.0.0.1", 0, ssl=tls) as relaying:
        yield relaying.sockets[0].getsockname()[1]


class Pod:
    """What a kubelet gives a program to reach the API server."""

    def __init__(self, folder: Path, port: int, authority: Path) -> None:
        self.account = folder / "account"
        self.account.mkdir()
        for name, text in (("token", "s3cret"), ("namespace", "default"), ("ca.crt", authority.read_text())):
            (self.account / name).write_text(text)
        self._address = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
        self._modules = folder / "modules"

    async def run(self, arguments: list[str], works: Callable[[], bool], node: Cluster) -> set[str]:
        """Run the program until it works and return the packages it has imported by its end."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, str(self._modules), *arguments),
            env={**os.environ, **self._address},
        )
        try:
            await node.until(works, "the program to work", within=30)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 20) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return {name.partition(".")[0] for name in self._modules.read_text().splitlines()}


@pytest.mark.parametrize("program", ["agent", "controller"])
async def test_in_a_pod_a_program_has_imported_no_official_client(root: Path, pair: Path, program: str) -> None:
    async with Cluster(root, token="s3cret") as node, over_tls(node.server.api.port, pair) as port:
        pod = Pod(root, port, pair / "cert.pem")
        if program == "agent":
            _, _, _, *arguments = node.command(kubeconfig=None, service_account=pod.account)
            loaded = await pod.run(arguments, lambda: bool(node.server.asked("watch")), node)
            assert "kopf" in loaded
        else:
            arguments = ["controller", "--listen=", f"--service-account={pod.account}"]
            watched = "subfunctionpools"
            loaded = await pod.run(arguments, lambda: bool(node.server.asked("watch", watched)), node)
        assert "subfunction_operator" in loaded
        assert loaded & CLIENTS == set()


@pytest.mark.parametrize("program", ["agent", "controller", "check"])
async def test_help_waits_for_no_client(tmp_path: Path, program: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, tmp_path / "modules", program, "--help"), stdout=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0
    loaded = {name.partition(".")[0] for name in (tmp_path / "modules").read_text().splitlines()}
    assert loaded & (CLIENTS | {"kopf", "aiohttp"}) == set()
