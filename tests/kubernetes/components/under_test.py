"""Which API server tests ask: the embedded one, or a real one (`SUBFUNCTION_TEST_APISERVER=real`).

One control plane serves a whole test process; each test that asks for a server gets it emptied, behind a relay of its
own.
"""

import asyncio
import os
from typing import Any, Final, TypeAlias

from components.binaries import control_plane
from components.controlplane import ControlPlane
from components.relay import RelayedApiServer
from harness.errors import CommandFailed
from subfunction_simulator.apiserver import ApiServer

REAL: Final = os.environ.get("SUBFUNCTION_TEST_APISERVER", "embedded") == "real"
AnyApiServer: TypeAlias = ApiServer | RelayedApiServer

_GROUP: Final = "/apis/subfunction.dev/v1alpha1"
_COLLECTIONS: Final = (
    f"{_GROUP}/subfunctions",
    f"{_GROUP}/subfunctionnodes",
    f"{_GROUP}/subfunctionpools",
    "/api/v1/nodes",
    "/api/v1/namespaces/default/events",
    "/api/v1/namespaces/default/pods",
    "/api/v1/namespaces/default/configmaps",
    "/apis/coordination.k8s.io/v1/namespaces/default/leases",
)
_OWN_NAMESPACES: Final = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
TOKEN: Final = "s3cret"
"""Who carries it may do everything, also where tokens are asked for."""
_planes: list[ControlPlane] = []


def plane() -> ControlPlane:
    """The control plane of this process, with the CRDs; started by whoever asks first (seconds)."""
    if not _planes:
        started = ControlPlane(control_plane(), administrators=(TOKEN,)).start()
        _planes.append(started)
        started.install()
    return _planes[0]


def end() -> None:
    """End the control plane, if there is one."""
    while _planes:
        _planes.pop().close()


def server(*, token: str | None = None, bookmark_seconds: float = 60.0) -> AnyApiServer:
    """An API server with no objects in it, not yet started."""
    if not REAL:
        return ApiServer(token=token, bookmark_seconds=bookmark_seconds)
    ready = plane()
    empty(ready)
    return RelayedApiServer(ready, token=token)


async def restart(server: AnyApiServer) -> None:
    """End a running server and start it anew over what it stored: of the revisions before it knows nothing."""
    await server.stop()
    if isinstance(server, RelayedApiServer):
        await asyncio.to_thread(server.plane.stop_server)
        await asyncio.to_thread(server.plane.start_server)
        await asyncio.to_thread(server.plane.until_served)
    else:
        server.forget_history()
    await server.start()


def empty(plane: ControlPlane) -> None:
    """Remove what a test left behind, whatever holds it."""
    for collection in _COLLECTIONS:
        for item in plane.request("GET", collection)["items"]:
            _remove(plane, f"{collection}/{item['metadata']['name']}", item)
    for item in plane.request("GET", "/api/v1/namespaces")["items"]:
        name = item["metadata"]["name"]
        if name not in _OWN_NAMESPACES:
            _remove(plane, f"/api/v1/namespaces/{name}", item)
            # Its controller, which would do this, does not run here.
            left = plane.request("GET", f"/api/v1/namespaces/{name}") | {"spec": {"finalizers": []}}
            plane.request("PUT", f"/api/v1/namespaces/{name}/finalize", left)


def _remove(plane: ControlPlane, path: str, item: dict[str, Any]) -> None:
    if item["metadata"].get("finalizers"):
        _if_there(plane, "PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    _if_there(plane, "DELETE", path, {"gracePeriodSeconds": 0}, "application/json")


def _if_there(plane: ControlPlane, method: str, path: str, body: Any, kind: str) -> None:
    try:
        plane.request(method, path, body, kind=kind)
    except CommandFailed as error:
        if error.code != 404:
            raise
