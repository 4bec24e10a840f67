"""What a session leaves behind: nothing, whatever the API server does when it ends."""

import asyncio
import base64
import contextlib
import gc
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kube.test_kubeconfig_logins import id_token, kubeconfig

from subfunction.errors import ApiUnavailable
from subfunction_operator.kube.credentials import Credentials, FixedToken

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


class Mute:
    """A TLS server that says `so_far` to whoever connects, then nothing, not even goodbye.

    Without a certificate it does not even shake hands.
    """

    def __init__(self, pair: Path | None, so_far: bytes) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        if pair is not None:
            self._tls.load_cert_chain(pair / "cert.pem", pair / "key.pem")
        self._shakes, self._so_far = pair is not None, so_far
        self.port = self._listening.getsockname()[1]
        self.spoken = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            taken, _ = self._listening.accept()
            if self._shakes:
                taken = self._tls.wrap_socket(taken, server_side=True)
                taken.recv(65536)
            taken.sendall(self._so_far)
            self._open.append(taken)
            self.spoken.set()

    def close(self) -> None:
        for each in (self._listening, *self._open):
            each.close()


@pytest.fixture
def mute(pair: Path, request: pytest.FixtureRequest) -> Iterator[Mute]:
    shakes, so_far = request.param
    server = Mute(pair if shakes else None, so_far)
    yield server
    server.close()


def _left_open(port: int) -> list[socket.socket]:
    """The sockets of this process that lead to a port."""
    found = []
    for each in gc.get_objects():
        if isinstance(each, socket.socket) and each.fileno() >= 0:
            with contextlib.suppress(OSError):  # it leads nowhere
                if each.getpeername()[:2] == ("127.0.0.1", port):
                    found.append(each)
    return found


@pytest.mark.parametrize(
    "mute",
    [(True, HEAD + b"2\r\n{}\r\n"), (True, b""), (False, b"")],
    ids=["in the midst of a watch", "before an answer", "before the handshake"],
    indirect=True,
)
def test_a_session_that_ends_leaves_no_connection_to_a_server_that_says_no_goodbye(mute: Mute, pair: Path) -> None:
    trusted = ssl.create_default_context(cafile=pair / "cert.pem")
    credentials = Credentials(f"https://127.0.0.1:{mute.port}", FixedToken(), trusted)

    async def asked_and_given_up() -> None:
        async with credentials.session() as session:

            async def follow() -> None:
                async with session.get(credentials.server) as answer:
                    await answer.content.readany()
                    await asyncio.Event().wait()

            following = asyncio.create_task(follow())
            await asyncio.to_thread(mute.spoken.wait, 5)
            await asyncio.sleep(0.05)
            following.cancel()
            await asyncio.wait([following])

    asyncio.run(asked_and_given_up())
    assert _left_open(mute.port) == []


@pytest.mark.parametrize(
    "mute", [(True, HEAD.replace(b"200", b"500") + b"9\r\n<h")], ids=["in the midst of an error"], indirect=True
)
@pytest.mark.filterwarnings("ignore:datetime.datetime.utc:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated:DeprecationWarning")
def test_a_log_in_leaves_no_connection_to_an_issuer_that_says_no_goodbye(
    mute: Mute, pair: Path, tmp_path: Path
) -> None:
    provider = {
        "idp-issuer-url": f"https://127.0.0.1:{mute.port}",
        "idp-certificate-authority-data": base64.b64encode((pair / "cert.pem").read_bytes()).decode(),
        "client-id": "us",
        "id-token": id_token(-1),
        "refresh-token": "r",
    }
    config = kubeconfig(tmp_path / "config", {"auth-provider": {"name": "oidc", "config": provider}})
    with pytest.raises(ApiUnavailable, match="oidc: failed to query"):
        asyncio.run(Credentials.load(config))
    assert _left_open(mute.port) == []
