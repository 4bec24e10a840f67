"""How the agent finds the API server: a pod's mounted token, or a kubeconfig in any of its usual forms."""

import base64
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from subfunction.errors import ApiUnavailable
from subfunction_operator.credentials import Credentials, FixedToken, TokenFile

Written = Callable[..., Path]


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


def test_the_current_context_leads_to_server_and_token(written: Written) -> None:
    found = Credentials.found(written({"token": "s3cret"}))
    assert (found.server, found.token.current(), found.tls) == ("http://127.0.0.1:6443", "s3cret", None)


def test_a_token_file_is_read_and_is_relative_to_the_kubeconfig(written: Written, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    found = Credentials.found(written({"tokenFile": "token"}))
    assert found.token.current() == "from a file"
    assert Credentials.found(written({"tokenFile": str(tmp_path / "token")})).token.current() == "from a file"


def test_a_user_without_anything_shows_nothing(written: Written) -> None:
    assert Credentials.found(written({})).token == FixedToken(None)


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
        found = Credentials.found(
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


def test_a_server_that_need_not_be_trusted_is_not_checked(written: Written) -> None:
    found = Credentials.found(written({}, server="https://127.0.0.1", **{"insecure-skip-tls-verify": True}))
    assert found.tls is not None
    assert (found.tls.verify_mode, found.tls.check_hostname) == (ssl.CERT_NONE, False)
    checked = Credentials.found(written({}, server="https://127.0.0.1"))
    assert checked.tls is not None
    assert checked.tls.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (None, "No such file"),
        ("", "config"),
        ("{", "config"),
        ("current-context: nowhere", "nowhere"),
        ("[]", "config"),
        ("current-context: a\ncontexts: [{name: a, context: {cluster: gone}}]", "gone"),
    ],
    ids=["absent", "empty", "no YAML", "no context", "no mapping", "no cluster"],
)
def test_a_kubeconfig_that_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path, text: str | None, word: str) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ApiUnavailable) as refused:
        Credentials.found(path)
    assert word in str(refused.value)
    assert "--kubeconfig" in refused.value.hint


def test_a_login_by_a_helper_program_is_refused_by_its_name(written: Written) -> None:
    with pytest.raises(ApiUnavailable, match="exec"):
        Credentials.found(written({"exec": {"command": "aws"}}))


@pytest.mark.parametrize(("host", "shown"), [("10.0.0.1", "10.0.0.1"), ("fd00::1", "[fd00::1]")])
def test_a_pod_takes_what_is_mounted(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, shown: str
) -> None:
    (tmp_path / "ca.crt").write_bytes((pair / "cert.pem").read_bytes())
    (tmp_path / "token").write_text("bound\n")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = Credentials.found(None, tmp_path)
    assert (found.server, found.token) == (f"https://{shown}:443", TokenFile(tmp_path / "token"))
    assert found.token.current() == "bound"
    assert found.tls is not None


def test_outside_a_pod_a_kubeconfig_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ApiUnavailable, match="KUBERNETES_SERVICE_HOST"):
        Credentials.found(None)
