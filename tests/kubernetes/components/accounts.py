"""Tokens of service accounts, as a kubelet asks for them: bound to a pod, which is bound to a node."""

from collections.abc import Mapping
from typing import Any, Final

from components.controlplane import ControlPlane
from harness.errors import CommandFailed

_SECONDS: Final = 3600


def pod_token(plane: ControlPlane, namespace: str, account: str, node: str | None) -> str:
    """Make a pod of that account on a node (made too), and a token bound to it; None: one that waits for a node."""
    if node is not None:
        _made(plane, "/api/v1/nodes", {"metadata": {"name": node}})
    container = {"name": "main", "image": "none"}
    pod: Any = {
        "metadata": {"name": f"{account}-{node or 'waits'}"},
        "spec": {"serviceAccountName": account, "containers": [container]},
    }
    if node is not None:
        pod["spec"]["nodeName"] = node
    return token_of(plane, _made(plane, f"/api/v1/namespaces/{namespace}/pods", pod))


def token_of(plane: ControlPlane, pod: Any) -> str:
    """Make a token bound to a pod that there is."""
    return _token(plane, pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"], "Pod", pod)


def secret_token(plane: ControlPlane, namespace: str, account: str) -> str:
    """Make a token bound to a secret: it tells of no node."""
    secret = {"metadata": {"name": f"{account}-of-a-secret"}}
    return _token(plane, namespace, account, "Secret", _made(plane, f"/api/v1/namespaces/{namespace}/secrets", secret))


def free_token(plane: ControlPlane, namespace: str, account: str) -> str:
    """Make a token that is bound to nothing (`kubectl create token`)."""
    return _token(plane, namespace, account)


def mounted_token(plane: ControlPlane, pod: Any, seconds: int) -> Any:
    """Make the token that a pod's volume asks for; gives it with when it ends (the status of the TokenRequest)."""
    where = _tokens(pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"])
    return _asked(plane, where, _bound("Pod", pod) | {"expirationSeconds": seconds})


def _token(plane: ControlPlane, namespace: str, account: str, kind: str = "", bound_to: Any = None) -> str:
    bound = {} if bound_to is None else _bound(kind, bound_to)
    token: str = _asked(plane, _tokens(namespace, account), bound | {"expirationSeconds": _SECONDS})["token"]
    return token


def _tokens(namespace: str, account: str) -> str:
    return f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"


def _bound(kind: str, bound_to: Any) -> dict[str, Any]:
    about = {key: bound_to["metadata"][key] for key in ("name", "uid")}
    return {"boundObjectRef": {"apiVersion": "v1", "kind": kind, **about}}


def _asked(plane: ControlPlane, path: str, spec: Mapping[str, Any]) -> Any:
    return plane.request("POST", path, {"spec": {"audiences": [], **spec}})["status"]


def _made(plane: ControlPlane, collection: str, body: Any) -> Any:
    try:
        return plane.request("POST", collection, body)
    except CommandFailed as error:
        if error.code != 409:
            raise
        return plane.request("GET", f"{collection}/{body['metadata']['name']}")
