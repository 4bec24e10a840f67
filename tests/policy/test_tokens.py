"""Which tokens of the agent's account are heeded, and what its role leaves to none of them."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from components import accounts
from components.controlplane import ControlPlane
from harness.errors import CommandFailed

SYSTEM: Final = "kube-system"
ACCOUNT: Final = "subfunction-agent"
GROUP: Final = "/apis/subfunction.dev/v1alpha1"
MERGE: Final = "application/merge-patch+json"
STATUS: Final = {"status": {"phase": "Ready", "number": 7}}
APPS: Final = f"/apis/apps/v1/namespaces/{SYSTEM}"
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TOKENS: Final = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{ACCOUNT}/token"

UNBOUND: Final[dict[str, Callable[[ControlPlane], str]]] = {
    "bound to nothing": lambda plane: accounts.free_token(plane, SYSTEM, ACCOUNT),
    "bound to a secret": lambda plane: accounts.secret_token(plane, SYSTEM, ACCOUNT),
    "bound to a pod without a node": lambda plane: accounts.pod_token(plane, SYSTEM, ACCOUNT, None),
}

ELSEWHERE: Final = {
    "label node B": ("PATCH", "/api/v1/nodes/node-b", {"metadata": {"labels": {"mine": "yes"}}}),
    "label its own node": ("PATCH", "/api/v1/nodes/node-a", {"metadata": {"labels": {"mine": "yes"}}}),
    "take a taint off": ("PATCH", "/api/v1/nodes/node-a", {"spec": {"taints": None}}),
    "write a node's status": ("PATCH", "/api/v1/nodes/node-a/status", {"status": {"capacity": {"a/b": "1"}}}),
    "read a secret": ("GET", f"/api/v1/namespaces/{SYSTEM}/secrets", None),
    "read all secrets": ("GET", "/api/v1/secrets", None),
    "read all pods": ("GET", "/api/v1/pods", None),
    "make a pod": ("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "mine"}}),
    "delete the agent of node B": ("DELETE", f"/api/v1/namespaces/{SYSTEM}/pods/{ACCOUNT}-node-b", None),
    "make itself another token": ("POST", TOKENS, {"spec": {"audiences": []}}),
    "post an Event elsewhere": ("POST", f"/api/v1/namespaces/{SYSTEM}/events", {"metadata": {"name": "mine"}}),
    "delete Events": ("DELETE", "/api/v1/namespaces/default/events", None),
    "read Events": ("GET", "/api/v1/namespaces/default/events", None),
    "change the policy": ("PATCH", f"{ADMISSION}/validatingadmissionpolicies/{ACCOUNT}", {"spec": {}}),
    "delete the policy's binding": ("DELETE", f"{ADMISSION}/validatingadmissionpolicybindings/{ACCOUNT}", None),
    "widen its role": ("PATCH", f"{RBAC}/clusterroles/{ACCOUNT}", {"rules": []}),
    "bind itself to more": ("PATCH", f"{RBAC}/clusterrolebindings/{ACCOUNT}", {"subjects": []}),
    "change its DaemonSet": ("PATCH", f"{APPS}/daemonsets/{ACCOUNT}", {"spec": {}}),
    "delete a kind": ("DELETE", f"{CRDS}/subfunctions.subfunction.dev", None),
    "take the controller's Lease": (
        "POST",
        f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases",
        {"metadata": {"name": "subfunction-controller"}},
    ),
    "read all node objects": ("GET", f"{GROUP}/subfunctionnodes", None),
    "delete all sub-functions": ("DELETE", f"{GROUP}/subfunctions", None),
}  # fmt: skip
"""What no policy needs to be asked about: the role grants nothing of it."""


@pytest.fixture
def own(plane: ControlPlane, token: str) -> Iterator[str]:
    """The path of a sub-function of node-a."""
    assert token
    spec = {"nodeName": "node-a", "flavour": "mlx5", "parent": {"device": "pci/0000:03:00.0"}}
    body = {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunction", "metadata": {"name": "own"}, "spec": spec}
    plane.request("POST", f"{GROUP}/subfunctions", body)
    path = f"{GROUP}/subfunctions/own"
    yield path
    plane.request("DELETE", path)


@pytest.mark.parametrize("how", UNBOUND)
def test_a_token_that_tells_no_node_is_refused_even_what_an_agent_may_do(
    plane: ControlPlane, own: str, how: str
) -> None:
    token = UNBOUND[how](plane)
    with pytest.raises(CommandFailed, match="an agent's token must be bound to its pod") as refused:
        plane.request("PATCH", f"{own}/status", STATUS, kind=MERGE, token=token)
    assert refused.value.code == 403


def test_a_pods_own_token_writes_the_status_of_its_nodes_sub_function_and_nothing_that_is_sent_with_it(
    plane: ControlPlane, token: str, own: str
) -> None:
    more: Any = {"spec": {"mtu": 1400}, "metadata": {"labels": {"mine": "yes"}, "finalizers": ["example.com/mine"]}}
    plane.request("PATCH", f"{own}/status", STATUS | more, kind=MERGE, token=token)
    now = plane.request("GET", own)
    assert now["status"] == STATUS["status"]
    assert "mtu" not in now["spec"]
    assert {"labels", "finalizers"} & set(now["metadata"]) == set()


def test_who_is_no_agent_is_not_concerned(plane: ControlPlane, own: str) -> None:
    changed = plane.request("PATCH", own, {"spec": {"mtu": 1400}, "metadata": {"labels": {"a": "b"}}}, kind=MERGE)
    assert (changed["spec"]["mtu"], changed["metadata"]["labels"]) == (1400, {"a": "b"})


@pytest.mark.parametrize("what", ELSEWHERE)
def test_its_role_leaves_it_nothing_else(plane: ControlPlane, token: str, own: str, what: str) -> None:
    assert own
    method, path, body = ELSEWHERE[what]
    kind = MERGE if method == "PATCH" else "application/json"
    with pytest.raises(CommandFailed, match=rf"{SYSTEM}:{ACCOUNT}\\\" cannot") as refused:
        plane.request(method, path, body, kind=kind, token=token)
    assert refused.value.code == 403
