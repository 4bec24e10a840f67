"""Log-ins of a kubeconfig that end: exec programs (EKS, GKE, Azure), OIDC, files of tokens."""

import asyncio
import base64
import contextlib
import datetime as dt
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from aiohttp import web

from subfunction.errors import ApiUnavailable
from subfunction_operator.kube.credentials import Credentials
from subfunction_operator.kube.kubeconfig import Kubeconfig

# The official client (37.0.2) asks for the time as Python 3.12 deprecates it, and an issuer as aiohttp 3.14 does.
pytestmark = [
    pytest.mark.filterwarnings("ignore:datetime.datetime.utc:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated:DeprecationWarning"),
]

API: Final = "client.authentication.k8s.io/v1"
PROGRAM: Final = """
import json, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
runs = int((folder / "runs").read_text()) + 1 if (folder / "runs").exists() else 1
(folder / "runs").write_text(str(runs))
orders = json.loads((folder / "orders").read_text())
time.sleep(orders.get("seconds", 0))
print(orders.get("complaint", ""), file=sys.stderr)
assert json.loads(os.environ["KUBERNETES_EXEC_INFO"])["apiVersion"] == "client.authentication.k8s.io/v1"
status = {key: value.replace("RUN", str(runs)) for key, value in orders.get("status", {}).items()}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
sys.exit(orders.get("exit", 0))
"""


def within(minutes: float) -> str:
    return (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def kubeconfig(path: Path, user: dict[str, Any], server: str = "http://127.0.0.1:1", **cluster: Any) -> Path:
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "main", "user": "me"}}],
        "clusters": [{"name": "main", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "me", "user": user}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


class Helper:
    """A program that prints credentials as it is told, and counts how often it was run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "helper.py").write_text(PROGRAM)

    def orders(self, **what: Any) -> None:
        (self.folder / "orders").write_text(json.dumps(what))

    def user(self, **more: Any) -> dict[str, Any]:
        words = [str(self.folder / "helper.py"), str(self.folder)]
        return {"exec": {"apiVersion": API, "command": sys.executable, "args": words, **more}}

    @property
    def runs(self) -> int:
        return int((self.folder / "runs").read_text())


@contextlib.asynccontextmanager
async def serving(
    answer: Callable[[web.Request], Awaitable[web.Response]],
    pair: Path | None = None,
    *,
    host: str = "127.0.0.1",
    asks_for_certificate: bool = False,
) -> AsyncIterator[str]:
    """Serve the answers, over TLS with a certificate, and give the URL."""
    tls = None
    if pair is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pair / "cert.pem"))
        tls.load_cert_chain(pair / "cert.pem", pair / "key.pem")
        tls.verify_mode = ssl.CERT_REQUIRED if asks_for_certificate else ssl.CERT_NONE
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, host, 0, ssl_context=tls).start()
    try:
        yield f"{'http' if tls is None else 'https'}://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
def helper(tmp_path: Path) -> Helper:
    return Helper(tmp_path)


def later(found: Credentials, seconds: float) -> None:
    """Let that much time pass since the log-in."""
    assert isinstance(found.token, Kubeconfig)
    found.token._checked_at -= seconds


async def test_a_helper_program_gives_the_token_once_while_it_lasts(helper: Helper, tmp_path: Path) -> None:
    helper.orders(status={"token": "t-RUN", "expirationTimestamp": within(60)})
    found = await Credentials.load(kubeconfig(tmp_path / "config", helper.user()))
    for _ in range(2):
        assert await found.token.header() == "Bearer t-1"
        later(found, 120)
    assert helper.runs == 1


async def test_a_token_that_ends_is_replaced_before_a_request(helper: Helper, tmp_path: Path) -> None:
    helper.orders(status={"token": "t-RUN", "expirationTimestamp": within(6)})
    found = await Credentials.load(kubeconfig(tmp_path / "config", helper.user()))
    assert isinstance(found.token, Kubeconfig)
    assert await found.token.header() == "Bearer t-1"
    # The last five minutes of it have begun.
    found.token._loader.exec_plugin_expiry = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=4)
    later(found, 120)
    assert await found.token.header() == "Bearer t-2"


async def test_while_the_program_runs_others_go_on_with_the_token_of_before(helper: Helper, tmp_path: Path) -> None:
    helper.orders(status={"token": "t-RUN", "expirationTimestamp": within(4)})
    found = await Credentials.load(kubeconfig(tmp_path / "config", helper.user()))
    helper.orders(status={"token": "t-RUN", "expirationTimestamp": within(60)}, seconds=1.0)
    later(found, 120)
    first = asyncio.create_task(found.token.header())
    await asyncio.sleep(0)
    began = time.monotonic()
    assert await found.token.header() == "Bearer t-1"
    assert time.monotonic() - began < 0.5
    assert await first == "Bearer t-2"
    assert helper.runs == 2


async def test_two_event_loops_may_share_it(helper: Helper, tmp_path: Path) -> None:
    helper.orders(status={"token": "t-RUN", "expirationTimestamp": within(4)})
    found = await Credentials.load(kubeconfig(tmp_path / "config", helper.user()))
    later(found, 120)
    assert await asyncio.to_thread(asyncio.run, found.token.header()) == "Bearer t-2"
    later(found, 120)
    assert await found.token.header() == "Bearer t-3"


async def test_a_token_without_an_end_is_kept_until_the_server_rejects_it(helper: Helper, tmp_path: Path) -> None:
    shown: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        shown.append(request.headers.get("Authorization"))
        return web.Response(status=401 if shown[-1] == "Bearer t-1" and len(shown) > 1 else 200)

    helper.orders(status={"token": "t-RUN"})
    async with serving(answer) as url:
        found = await Credentials.load(kubeconfig(tmp_path / "config", helper.user(), url))
        async with found.session() as session:
            for _ in range(3):
                async with session.get(url):
                    later(found, 120)
    assert shown == ["Bearer t-1", "Bearer t-1", "Bearer t-2"]
    assert helper.runs == 2


@pytest.mark.parametrize(
    ("orders", "words"),
    [
        ({"exit": 3, "complaint": "the session has expired"}, ("returned 3", "the session has expired")),
        ({"status": {}}, ("missing token or clientCertificateData",)),
        ({"status": {"clientCertificateData": "x"}}, ("missing clientKeyData",)),
    ],
    ids=["fails", "gives nothing", "gives half"],
)
async def test_a_program_that_gives_nothing_is_reported_in_its_own_words(
    helper: Helper, tmp_path: Path, caplog: pytest.LogCaptureFixture, orders: dict[str, Any], words: tuple[str, ...]
) -> None:
    helper.orders(**orders)
    with pytest.raises(ApiUnavailable) as refused:
        await Credentials.load(kubeconfig(tmp_path / "config", helper.user()))
    for each in (*words, sys.executable):
        assert each in refused.value.message
    assert "kubectl --kubeconfig" in refused.value.hint
    assert caplog.messages == []


async def test_a_program_that_is_not_there_is_named_with_the_hint_of_its_maker(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": API, "command": "gke-login", "installHint": "Install gke-login from Google."}}
    with pytest.raises(ApiUnavailable) as refused:
        await Credentials.load(kubeconfig(tmp_path / "config", user))
    assert "No such file or directory: 'gke-login'" in refused.value.message
    assert refused.value.hint == "Install gke-login from Google."


async def test_a_log_in_that_fails_later_fails_one_request_and_is_tried_again(helper: Helper, tmp_path: Path) -> None:
    helper.orders(status={"token": "t-RUN", "expirationTimestamp": within(4)})
    found = await Credentials.load(kubeconfig(tmp_path / "config", helper.user()))
    helper.orders(exit=1, complaint="no network")
    later(found, 120)
    with pytest.raises(ApiUnavailable, match="no network"):
        await found.token.header()
    assert await found.token.header() == "Bearer t-1"
    helper.orders(status={"token": "t-RUN", "expirationTimestamp": within(60)})
    later(found, 120)
    assert await found.token.header() == "Bearer t-3"


async def test_a_client_certificate_of_a_program_is_shown(helper: Helper, pair: Path, tmp_path: Path) -> None:
    certificate, key = ((pair / name).read_text() for name in ("cert.pem", "key.pem"))
    helper.orders(status={"clientCertificateData": certificate, "clientKeyData": key})

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        return web.Response(text=str(bool(request.transport.get_extra_info("peercert"))))

    async with serving(answer, pair, asks_for_certificate=True) as url:
        config = kubeconfig(tmp_path / "config", helper.user(), url, **{"certificate-authority": f"{pair}/cert.pem"})
        found = await Credentials.load(config)
        async with found.session() as session, session.get(url) as response:
            assert await response.text() == "True"


async def test_the_name_of_the_servers_certificate_may_be_another(pair: Path, tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="here")

    async with serving(answer, pair, host="127.0.0.2") as url:
        trusted = {"certificate-authority": f"{pair}/cert.pem", "tls-server-name": "localhost"}
        found = await Credentials.load(kubeconfig(tmp_path / "config", {"token": "t"}, url, **trusted))
        async with found.session() as session, session.get(url) as response:
            assert await response.text() == "here"


async def test_no_key_of_a_kubeconfig_stays_in_a_file(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    data = {name: base64.b64encode((pair / name).read_bytes()).decode() for name in ("cert.pem", "key.pem")}
    user = {"client-certificate-data": data["cert.pem"], "client-key-data": data["key.pem"]}
    for _ in range(2):
        await Credentials.load(kubeconfig(tmp_path / "config", user, "https://127.0.0.1:1"))
        assert names(scratch) == []


class Issuer:
    """An OIDC issuer that takes each refresh token once."""

    def __init__(self) -> None:
        self.url = ""
        self.refresh_token = "r-0"

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/.well-known/openid-configuration":
            return web.json_response({"token_endpoint": f"{self.url}/token"})
        given = await request.post()
        if given["refresh_token"] != self.refresh_token:
            return web.Response(status=400)
        self.refresh_token = f"r-{int(self.refresh_token[2:]) + 1}"
        return web.json_response({"id_token": id_token(60), "refresh_token": self.refresh_token})


def id_token(minutes: float) -> str:
    claims = {"exp": int(time.time() + 60 * minutes)}
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


def of_issuer(issuer: Issuer, **more: str) -> dict[str, Any]:
    settings = {"idp-issuer-url": issuer.url, "client-id": "us", "client-secret": "x", "id-token": id_token(-1)}
    return {"auth-provider": {"name": "oidc", "config": {**settings, "refresh-token": "r-0", **more}}}


async def test_an_id_token_that_has_ended_is_replaced_and_the_new_ones_are_kept(pair: Path, tmp_path: Path) -> None:
    issuer = Issuer()
    async with serving(issuer.answer, pair) as issuer.url:
        authority = base64.b64encode((pair / "cert.pem").read_bytes()).decode()
        config = kubeconfig(tmp_path / "config", of_issuer(issuer, **{"idp-certificate-authority-data": authority}))
        found = await Credentials.load(config)
    kept = yaml.safe_load(config.read_text())["users"][0]["user"]["auth-provider"]["config"]
    assert await found.token.header() == f"Bearer {kept['id-token']}"
    assert kept["refresh-token"] == issuer.refresh_token == "r-1"
    assert names(tmp_path) == ["config"]


async def test_an_issuer_whose_certificate_no_one_vouches_for_is_shown_no_token(pair: Path, tmp_path: Path) -> None:
    issuer = Issuer()
    async with serving(issuer.answer, pair) as issuer.url:
        with pytest.raises(ApiUnavailable, match="certificate"):
            await Credentials.load(kubeconfig(tmp_path / "config", of_issuer(issuer)))
    assert issuer.refresh_token == "r-0"


async def test_an_issuer_that_refuses_is_reported(pair: Path, tmp_path: Path) -> None:
    issuer = Issuer()
    async with serving(issuer.answer, pair) as issuer.url:
        authority = base64.b64encode((pair / "cert.pem").read_bytes()).decode()
        user = of_issuer(issuer, **{"idp-certificate-authority-data": authority, "refresh-token": "old"})
        with pytest.raises(ApiUnavailable, match="oidc: failed to refresh access token"):
            await Credentials.load(kubeconfig(tmp_path / "config", user))


async def test_a_file_with_a_token_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    found = await Credentials.load(kubeconfig(tmp_path / "config", {"tokenFile": "token"}))
    (tmp_path / "token").write_text("second\n")
    assert await found.token.header() == "Bearer first"
    later(found, 120)
    assert await found.token.header() == "Bearer second"
