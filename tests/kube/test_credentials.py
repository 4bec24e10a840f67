"""How the agent finds the API server: a pod's mounted token, or a kubeconfig in any of its usual forms."""

import base64
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from aiohttp import web

from subfunction.errors import ApiUnavailable
from subfunction_operator.kube.credentials import Credentials, TokenFile

Written = Callable[..., Path]
CONTEXT: Final = "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: me}}]"
TLS: Final = f"{CONTEXT}\nclusters: [{{name: a, cluster: {{server: 'https://127.0.0.1'}}}}]"


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(user: dict[str, Any], **cluster: Any) -> Path:
        config = {
            "current-context": "here",
            "contexts": [
                {"name": "there", "context": {"cluster": "other", "user": "other"}},
                {"name": "here", "context": {"cluster": "main", "user": "me"}},
            ],
            "clusters": [
                {"name": "other", "cluster": {"server": "http://wrong"}},
                {"name": "main", "cluster": {"server": "http://127.0.0.1:6443/", **cluster}},
            ],
            "users": [{"name": "other", "user": {"token": "wrong"}}, {"name": "me", "user": user}],
        }
        path = tmp_path / "config"
        path.write_text(yaml.safe_dump(config))
        return path

    return write


async def test_the_current_context_leads_to_server_and_token(written: Written) -> None:
    found = await Credentials.load(written({"token": "s3cret"}))
    assert (found.server, await found.token.header(), found.tls) == ("http://127.0.0.1:6443", "Bearer s3cret", None)


async def test_a_token_file_is_read_and_is_relative_to_the_kubeconfig(written: Written, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file")
    found = await Credentials.load(written({"tokenFile": "token"}))
    assert await found.token.header() == "Bearer from a file"
    by_its_whole_name = await Credentials.load(written({"tokenFile": str(tmp_path / "token")}))
    assert await by_its_whole_name.token.header() == "Bearer from a file"


async def test_a_name_and_a_password_are_shown(written: Written) -> None:
    found = await Credentials.load(written({"username": "me", "password": "s3cret"}))
    assert await found.token.header() == f"Basic {base64.b64encode(b'me:s3cret').decode()}"


async def test_to_a_server_without_tls_a_user_without_anything_shows_nothing(written: Written) -> None:
    assert await (await Credentials.load(written({}))).token.header() is None


@pytest.mark.parametrize("form", ["data", "file", "relative file"])
async def test_a_client_certificate_is_shown_and_the_authority_is_checked(
    written: Written, pair: Path, tmp_path: Path, form: str
) -> None:
    def given(kind: str, name: str, file: str) -> dict[str, str]:
        if form == "data":
            return {f"{name}-data": base64.b64encode((pair / file).read_bytes()).decode()}
        if form == "file":
            return {name: str(pair / file)}
        (tmp_path / f"{kind}.pem").write_bytes((pair / file).read_bytes())
        return {name: f"{kind}.pem"}

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        return web.Response(text=str(bool(request.transport.get_extra_info("peercert"))))

    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pair / "cert.pem"))
    server.load_cert_chain(pair / "cert.pem", pair / "key.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server)
    await site.start()
    try:
        found = await Credentials.load(
            written(
                given("certificate", "client-certificate", "cert.pem") | given("key", "client-key", "key.pem"),
                server=f"https://127.0.0.1:{runner.addresses[0][1]}",
                **given("authority", "certificate-authority", "cert.pem"),
            )
        )
        async with found.session() as session, session.get(found.server) as response:
            assert await response.text() == "True"
    finally:
        await runner.cleanup()


async def test_a_server_that_need_not_be_trusted_is_not_checked(written: Written) -> None:
    user = {"token": "s3cret"}
    found = await Credentials.load(written(user, server="https://127.0.0.1", **{"insecure-skip-tls-verify": True}))
    assert found.tls is not None
    assert (found.tls.verify_mode, found.tls.check_hostname) == (ssl.CERT_NONE, False)
    checked = await Credentials.load(written(user, server="https://127.0.0.1"))
    assert checked.tls is not None
    assert checked.tls.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (None, "No such file"),
        ("", "no mapping"),
        ("{", "expected the node content"),
        ("current-context: nowhere\ncontexts: []", "nowhere"),
        ("contexts: []", "current-context"),
        ("[]", "no mapping, but list"),
        (f"{CONTEXT}\nclusters: []", "clusters"),
        (f"{CONTEXT}\nclusters: [{{name: a, cluster: {{server: 'http://127.0.0.1'}}}}]", "no user 'me'"),
        (f"{TLS}\nusers: [{{name: me, user: {{}}}}]", "user 'me' has no credentials"),
        (f"{TLS}\nusers: [{{name: me, user: {{auth-provider: {{name: azure}}}}}}]", "auth-provider"),
        (f"{TLS}\nusers: [{{name: me, user: {{client-certificate: /absent.pem}}}}]", "/absent.pem"),
    ],
    ids=[
        "absent",
        "empty",
        "no YAML",
        "no such context",
        "no current context",
        "no mapping",
        "no cluster",
        "no user",
        "no credentials",
        "an unknown way to log in",
        "no certificate",
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_refused_in_a_sentence(
    tmp_path: Path, text: str | None, word: str
) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ApiUnavailable) as refused:
        await Credentials.load(path)
    assert word in str(refused.value)
    assert "--kubeconfig" in refused.value.hint


@pytest.mark.parametrize(("host", "shown"), [("10.0.0.1", "10.0.0.1"), ("fd00::1", "[fd00::1]")])
async def test_a_pod_takes_what_is_mounted(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, shown: str
) -> None:
    (tmp_path / "ca.crt").write_bytes((pair / "cert.pem").read_bytes())
    (tmp_path / "token").write_text("bound\n")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = await Credentials.load(None, tmp_path)
    assert (found.server, found.token) == (f"https://{shown}:443", TokenFile(tmp_path / "token"))
    assert await found.token.header() == "Bearer bound"
    assert found.tls is not None


async def test_outside_a_pod_a_kubeconfig_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ApiUnavailable, match="KUBERNETES_SERVICE_HOST"):
        await Credentials.load(None)
