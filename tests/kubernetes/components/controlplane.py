"""etcd and kube-apiserver on this host, as envtest starts them: random ports, all files in one folder, no cluster.

Nothing of them outlives the process that started them, however that ends.
"""

import base64
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml

from components import audit
from components.binaries import Binaries, control_plane
from harness.errors import CommandFailed, MachineDied
from harness.host import require_tool
from harness.process import Guarded

ADMIN: Final = "admin-of-the-tests"
"""The token of a user in `system:masters`."""
CRDS: Final = Path(__file__).parents[3] / "crds"
_CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SECONDS_TO_START: Final = 60.0
_PATIENCE: Final = 429
_TRIES: Final = 3
"""A port that was free a moment ago may be taken."""


class ControlPlane:
    """One etcd, one API server; `with` it, or `start` and `close`.

    `administrators`: tokens of further users who may do everything; `users`: tokens and names of those who, by RBAC,
    may do nothing yet; `reached`: another address that leads here and that the certificate is to name;
    `admission`: plugins that are off by default; `managed`: a controller manager will work with it
    (`components.controllers`). All calls block;
    the server is ready about three seconds after `start`.
    """

    def __init__(
        self,
        binaries: Binaries | None = None,
        *,
        administrators: Sequence[str] = (),
        users: Mapping[str, str] | None = None,
        reached: str | None = None,
        admission: Sequence[str] = (),
        managed: bool = False,
    ) -> None:
        self._binaries = binaries or control_plane()
        self.folder = Path(tempfile.mkdtemp(prefix="subfunction-control-plane-"))
        self._administrators = (ADMIN, *administrators)
        self._users = users or {}
        self._reached = reached
        self._admission = admission
        self._managed = managed
        self._port = 0
        self._store_port = 0
        self._store: Guarded | None = None
        self._server: Guarded | None = None

    @property
    def url(self) -> str:
        """Where the API server is, over TLS."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def store_url(self) -> str:
        """Where etcd is, with its metrics."""
        return f"http://127.0.0.1:{self._store_port}"

    @property
    def authority(self) -> Path:
        """The certificates to trust it by (it makes them itself)."""
        return self.folder / "certificates" / "apiserver.crt"

    @property
    def log(self) -> Path:
        """What the API server has to say."""
        return self.folder / "kube-apiserver.log"

    @property
    def audit_log(self) -> Path:
        """What service accounts asked of it, for `components.audit`."""
        return self.folder / "audit.log"

    def tls(self) -> ssl.SSLContext:
        """How Python trusts it."""
        return ssl.create_default_context(cafile=self.authority)

    def start(self) -> Self:
        """Start both and wait until the API server is ready; raises MachineDied, HostLacks."""
        try:
            self._write_credentials()
            self._start_store()
            self._port = _free_port()
            self.start_server()
        except BaseException:
            self.close()
            raise
        return self

    def start_server(self) -> None:
        """Start the API server on its port, over the store as it is, and wait until it is ready; raises MachineDied."""
        self._server = Guarded(self._server_command(), self.log)
        self._until_ready()

    def stop_server(self) -> None:
        """Kill the API server; the store keeps everything."""
        server, self._server = self._server, None
        if server is not None:
            server.kill()

    def close(self) -> None:
        """End both and remove the folder."""
        self.stop_server()
        store, self._store = self._store, None
        if store is not None:
            store.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self.close()

    def kubeconfig(self, token: str = ADMIN, *, server: str | None = None) -> str:
        """A kubeconfig (YAML) of a token's user; `server`: another URL that leads to it, as a relay's."""
        cluster: dict[str, str] = {"server": server or self.url}
        if cluster["server"].startswith("https:"):
            cluster["certificate-authority-data"] = base64.b64encode(self.authority.read_bytes()).decode()
        name = "tests"
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": name, "cluster": cluster}],
                "users": [{"name": name, "user": {"token": token}}],
                "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
                "current-context": name,
            },
            sort_keys=False,
        )

    def request(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json", token: str = ADMIN
    ) -> Any:
        """Make one request and give the object of its answer; where the server asks for patience (429), it is given it.

        Raises:
            CommandFailed: the server refused, `code` is HTTP's.
        """
        for _ in _patiently(f"{method} {path} is answered with 429"):
            try:
                return self._once(method, path, body, kind, token)
            except CommandFailed as error:
                # So after a start, and after a CRD changed, "storage is (re)initializing" though it is ready.
                if error.code != _PATIENCE:
                    raise
        raise AssertionError

    def _once(self, method: str, path: str, body: Any, kind: str, token: str) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": kind, "Accept": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.tls()) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise CommandFailed(f"{method} {path}", error.code, error.read().decode(errors="replace")) from error

    def install(self, folder: Path = CRDS) -> None:
        """Create the CRDs of a folder and wait until each is served."""
        for path in sorted(folder.glob("*.yaml")):
            for crd in yaml.safe_load_all(path.read_text()):
                self.request("POST", _CRDS, crd)
        self.until_served()

    def until_served(self) -> None:
        """Wait until the objects of every CRD can be asked for: after a start that is a moment later than `ready`."""
        for crd in self.request("GET", _CRDS)["items"]:
            spec = crd["spec"]
            path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
            for _ in _patiently(f"{path} is not served"):
                with contextlib.suppress(CommandFailed):
                    self.request("GET", path)
                    break

    def _write_credentials(self) -> None:
        lines = [f'{token},admin-{token},{token},"system:masters"' for token in self._administrators]
        lines += [f"{token},{name},{name}" for token, name in self._users.items()]
        (self.folder / "tokens").write_text("".join(f"{line}\n" for line in lines))
        (self.folder / "audit-policy.yaml").write_text(audit.POLICY)
        made = subprocess.run(
            [require_tool("openssl"), "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(self.key)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if made.returncode != 0:
            raise CommandFailed("openssl ecparam", made.returncode, made.stderr)

    @property
    def key(self) -> Path:
        """What tokens of service accounts are signed with."""
        return self.folder / "service-accounts.key"

    def _start_store(self) -> None:
        log = self.folder / "etcd.log"
        for _ in range(_TRIES):
            self._store_port = _free_port()
            store = Guarded(self._store_command(), log)
            for _ in _patiently(f"etcd does not answer; its log is {log}"):
                if answers(f"http://127.0.0.1:{self._store_port}/health"):
                    self._store = store
                    return
                if store.ended():
                    store.kill()
                    break
        raise MachineDied("etcd ended by itself", _tail(log))

    def _store_command(self) -> list[str]:
        return [
            str(self._binaries.etcd),
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self.store_url}",
            f"--advertise-client-urls={self.store_url}",
            "--listen-peer-urls=http://127.0.0.1:0",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _server_command(self) -> list[str]:
        return [
            str(self._binaries.apiserver),
            f"--etcd-servers=http://127.0.0.1:{self._store_port}",
            f"--cert-dir={self.authority.parent}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--token-auth-file={self.folder / 'tokens'}",
            "--authorization-mode=RBAC",
            # Without its controller, no pod would ever find its account's token.
            *(() if self._managed else ("--disable-admission-plugins=ServiceAccount",)),
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged=true",
            f"--service-account-issuer=https://127.0.0.1:{self._port}",
            f"--service-account-key-file={self.key}",
            f"--service-account-signing-key-file={self.key}",
            *([f"--enable-admission-plugins={','.join(self._admission)}"] if self._admission else ()),
            f"--audit-policy-file={self.folder / 'audit-policy.yaml'}",
            f"--audit-log-path={self.audit_log}",
            *([f"--advertise-address={self._reached}"] if self._reached else ()),
        ]

    def _until_ready(self) -> None:
        for _ in _patiently(f"the API server is not ready; its log is {self.log}"):
            if self._server is None or self._server.ended():
                raise MachineDied("kube-apiserver ended by itself", _tail(self.log))
            # Its certificate is there a little later than the process, and whole a little later than that.
            with contextlib.suppress(FileNotFoundError, ssl.SSLError):
                if answers(f"{self.url}/readyz", self.tls()):
                    return


def _patiently(otherwise: str) -> Iterator[None]:
    """Turns of a loop until a deadline; raises MachineDied."""
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        yield
        time.sleep(0.05)
    raise MachineDied(f"{otherwise} (after {_SECONDS_TO_START:.0f} s)", "")


def answers(url: str, tls: ssl.SSLContext | None = None) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5, context=tls) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-40:])
