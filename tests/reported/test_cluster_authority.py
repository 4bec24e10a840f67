"""The cluster's authority is replaced under a running program, which goes on as one does that starts now."""

import asyncio
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from subfunction.errors import ApiUnavailable
from subfunction_operator.kube.credentials import Credentials
from subfunction_operator.kube.rest import RestClient

PATH = "/apis/subfunction.dev/v1alpha1/subfunctions"
SECONDS_TO_NOTICE = 1.0


class Api:
    """A server whose certificate vouches for itself and can be replaced; each answer ends its connection."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        application = web.Application()
        application.router.add_get(PATH, self._answer)
        self._runner = web.AppRunner(application)

    def certificate(self, name: str) -> str:
        """Make a certificate with its key, and give its text."""
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
        subprocess.run([*command.split(), *names, *files], cwd=self._folder, check=True, capture_output=True)
        return (self._folder / f"{name}.crt").read_text()

    def show(self, name: str) -> None:
        """Meet new connections with that certificate."""
        self._tls.load_cert_chain(self._folder / f"{name}.crt", self._folder / f"{name}.key")

    async def start(self) -> int:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()

    @staticmethod
    async def _answer(request: web.Request) -> web.Response:
        assert request.path == PATH
        answer = web.json_response({"items": []})
        answer.force_close()
        return answer


class Mounted:
    """The folder in which a pod finds its account; the kubelet replaces all of it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._serial = 0
        path.mkdir()
        for name in ("token", "ca.crt"):
            (path / name).symlink_to(f"..data/{name}")

    def replace(self, authorities: str) -> None:
        self._serial += 1
        anew = self.path / f"..{self._serial}"
        anew.mkdir()
        (anew / "token").write_text("bound")
        (anew / "ca.crt").write_text(authorities)
        (self.path / "..new").symlink_to(anew.name)
        (self.path / "..new").replace(self.path / "..data")


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    made = Api(tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(await made.start()))
    yield made
    await made.stop()


async def answered(endpoint: RestClient, *, within: float = 0.0) -> None:
    """Ask until there is an answer; after that time, let the refusal stand."""
    until = time.monotonic() + within
    while True:
        try:
            await endpoint.request("GET", PATH)
        except ApiUnavailable:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)
        else:
            return


@pytest.mark.xfail(
    strict=True,
    raises=ApiUnavailable,
    reason="issue H: the file of the cluster's authorities is read once, at the start",
)
async def test_a_running_program_follows_the_clusters_new_authority(api: Api, tmp_path: Path) -> None:
    old, new = api.certificate("old"), api.certificate("new")
    mounted = Mounted(tmp_path / "serviceaccount")
    mounted.replace(old)
    api.show("old")
    credentials = await Credentials.load(None, mounted.path)
    async with credentials.session() as session:
        running = RestClient(session, credentials.server)
        await answered(running)
        mounted.replace(old + new)
        api.show("new")
        started_now = await Credentials.load(None, mounted.path)
        async with started_now.session() as another:
            await answered(RestClient(another, started_now.server))
        await answered(running, within=SECONDS_TO_NOTICE)
