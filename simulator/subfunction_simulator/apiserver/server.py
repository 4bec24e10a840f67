"""The embedded API server serves Kubernetes' API, true enough for kubectl and for kopf, in one process and in memory.

What it leaves out: admission but for the schema, authorisation, garbage collection, graceful deletion of pods,
conversion between versions, expiry of events. Kubernetes' own kinds are stored as given.
"""

import errno
import uuid
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import yaml
from aiohttp import web

from subfunction_simulator.apiserver.answers.discovery import MINOR
from subfunction_simulator.apiserver.answers.root_api import describe
from subfunction_simulator.apiserver.kinds.catalogue import CRDS, NAMESPACES, Catalogue
from subfunction_simulator.apiserver.kinds.place import Place, locate
from subfunction_simulator.apiserver.objects import JsonObject, timestamp
from subfunction_simulator.apiserver.resource_api import ResourceApi, verb_of
from subfunction_simulator.apiserver.status import RefusedError
from subfunction_simulator.apiserver.storage.store import Store
from subfunction_simulator.apiserver.traffic import Asked, SeveredError, Traffic
from subfunction_simulator.apiserver.writes.decoding import WriteOptions
from subfunction_simulator.apiserver.writes.registry import Registry

_NAMESPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")
_HEALTH: Final = frozenset({"/healthz", "/livez", "/readyz"})
_LARGEST_BODY: Final = 3 * 1024 * 1024


class AddressInUseError(Exception):
    """Another program has the port."""


class ApiServer:
    """An API server has its own state.

    Used as an asynchronous context; `stop` and `start` within take it away and bring it back, with its state, on its
    port. `token`: the bearer token that every request must carry, if any. `bookmark_seconds`: how often a watch gets
    a bookmark.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        crds: Path | None = None,
        token: str | None = None,
        bookmark_seconds: float = 60.0,
    ) -> None:
        self.traffic = Traffic()
        self.port = port
        self._host = host
        self._token = token
        self.minor = MINOR
        """The release of Kubernetes 1 that it says it is."""
        self._catalogue = Catalogue.load(crds or crds_folder())
        self._store = Store()
        self._registry = Registry(self._store)
        self._api = ResourceApi(self._store, self._registry, self.traffic, bookmark_seconds)
        self._runner: web.AppRunner | None = None
        for name in _NAMESPACES:
            self._registry.create(Place(NAMESPACES), {"metadata": {"name": name}}, WriteOptions())
        for crd in self._catalogue.crds:
            self._store.put(CRDS, ("", crd["metadata"]["name"]), _establish(crd))

    @property
    def url(self) -> str:
        """Give the address it is served at; meaningful once started."""
        return f"http://{self._host}:{self.port}"

    def kubeconfig(self) -> str:
        """Write a kubeconfig (YAML) that leads here."""
        user = {"token": self._token} if self._token else {}
        name = "subfunction-simulator"
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": name, "cluster": {"server": self.url}}],
                "users": [{"name": name, "user": user}],
                "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
                "current-context": name,
            },
            sort_keys=False,
        )

    def forget_history(self) -> None:
        """Lose all history, as a compaction does: the next watch from an older revision meets a 410."""
        for resource in self._catalogue.resources:
            self._store.collection(resource).forget(self._store.revision)

    async def start(self) -> None:
        """Listen; raises AddressInUseError."""
        application = web.Application(client_max_size=_LARGEST_BODY)
        application.router.add_route("*", "/{path:.*}", self._answer)
        # A watch without its client is to end at once, not at its next event.
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self.port, reuse_address=True)
            await site.start()
        except OSError as error:
            await runner.cleanup()
            if error.errno != errno.EADDRINUSE:
                raise
            raise AddressInUseError(
                f"port {self.port} of {self._host} is in use; name another, or 0 for any"
            ) from error
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """End all watches and listen no more; the state stays."""
        runner, self._runner = self._runner, None
        if runner:
            self.traffic.drop_watches()
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path in _HEALTH:
            return web.Response(text="ok")
        try:
            place = locate(self._catalogue, request.path)
            self._authenticate(request, place)
            if place:
                return await self._api.answer(request, place)
            return self._describe(request)
        except SeveredError as error:
            if request.transport:
                request.transport.abort()
            raise ConnectionResetError("severed") from error
        except RefusedError as refusal:
            return web.json_response(refusal.to_json(), status=refusal.code, headers=refusal.headers)

    def _authenticate(self, request: web.Request, place: Place | None) -> None:
        shown = request.headers.get("Authorization")
        if not self._token or shown == f"Bearer {self._token}":
            return
        if shown:
            raise RefusedError(401, "Unauthorized", "Unauthorized")
        # A client that shows nothing has a name too, and may ask for little more than the version.
        if place:
            verb = verb_of(request.method, place, request.query)
            raise RefusedError.forbidden(verb, place.resource.group, place.resource.plural, place.namespace)
        if request.path != "/version":
            message = f'forbidden: User "system:anonymous" cannot {request.method.lower()} path "{request.path}"'
            raise RefusedError(403, "Forbidden", message)

    def _describe(self, request: web.Request) -> web.Response:
        asked = Asked(request.method.lower(), request.path, query=dict(request.query))
        self.traffic.note(asked, request.headers.get("User-Agent", ""))
        if request.method != "GET":
            raise RefusedError.no_such_path()
        found = describe(self._catalogue, request.path, request.headers.get("Accept", ""), self.minor)
        return web.Response(body=found.content, headers={"Content-Type": found.media})


def crds_folder() -> Path:
    """Find the project's CRDs: in the wheel beside this package, or in the checkout it is installed from."""
    package = Path(__file__).parents[1]
    shipped = package / "crds"
    return shipped if shipped.is_dir() else package.parents[1] / "crds"


def _establish(crd: JsonObject) -> JsonObject:
    now = timestamp()
    met = {"status": "True", "lastTransitionTime": now}
    named = {"type": "NamesAccepted", "reason": "NoConflicts", **met}
    established = {"type": "Established", "reason": "InitialNamesAccepted", **met}
    versions = [version["name"] for version in crd["spec"]["versions"]]
    names = {**crd["spec"]["names"]}
    status = {"conditions": [named, established], "acceptedNames": names, "storedVersions": versions}
    metadata = {**crd["metadata"], "uid": str(uuid.uuid4()), "creationTimestamp": now, "generation": 1}
    return {**crd, "metadata": metadata, "status": status}
