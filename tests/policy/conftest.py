"""The real API server with the chart on it: its roles and its policy decide what a token may do.

The release is in `kube-system`, the one namespace that is left alone when the control plane is emptied for a test.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from components import accounts, under_test
from components.controlplane import ControlPlane
from components.helm import CHART, RELEASE, Helm
from harness.errors import CommandFailed

SYSTEM: Final = "kube-system"
ACCOUNT: Final = "subfunction-agent"
_GROUP: Final = "/apis/subfunction.dev/v1alpha1"
_ROLES: Final = "/apis/rbac.authorization.k8s.io/v1"
_SECONDS: Final = 30.0


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """The control plane of this process with the chart installed, its policy in force."""
    assert under_test.REAL, "SUBFUNCTION_TEST_APISERVER=real is needed, as in `make test-chart`"
    plane = under_test.plane()
    under_test.empty(plane)
    with _installed(plane, "--set", "crds.enabled=false"):
        yield plane
    for pod in plane.request("GET", f"/api/v1/namespaces/{SYSTEM}/pods")["items"]:
        name = pod["metadata"]["name"]
        plane.request("DELETE", f"/api/v1/namespaces/{SYSTEM}/pods/{name}", {"gracePeriodSeconds": 0})
    under_test.empty(plane)


@pytest.fixture
def strict_plane() -> Iterator[ControlPlane]:
    """Another one, which asks of who sets an owner what OpenShift asks."""
    with ControlPlane(admission=("OwnerReferencesPermissionEnforcement",)) as plane, _installed(plane):
        yield plane


@contextlib.contextmanager
def _installed(plane: ControlPlane, *words: str) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="helm") as home:
        config = Path(home, "kubeconfig")
        config.write_text(plane.kubeconfig())
        helm = Helm(Path(home), config)
        helm("install", RELEASE, str(CHART), "--namespace", SYSTEM, *words)
        try:
            plane.until_served()
            _until_in_force(plane)
            yield
        finally:
            helm("uninstall", RELEASE, "--namespace", SYSTEM)


def _until_in_force(plane: ControlPlane) -> None:
    """Wait until the policy is heeded: an API server learns of a new one a moment after it was stored."""
    token = accounts.free_token(plane, SYSTEM, ACCOUNT)
    probes = {
        f"{_GROUP}/subfunctionnodes": _node("probe"),
        "/api/v1/namespaces/default/events": {"metadata": {"name": "probe"}, "involvedObject": {}},
    }
    deadline = time.monotonic() + _SECONDS
    while probes and time.monotonic() < deadline:
        for path, body in tuple(probes.items()):
            try:
                plane.request("POST", f"{path}?dryRun=All", body, token=token)
            except CommandFailed as error:
                if "must be bound to its pod" in error.output:
                    del probes[path]
        time.sleep(0.1)
    assert not probes, "the policies are not in force"


def _node(name: str) -> dict[str, object]:
    return {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunctionNode", "metadata": {"name": name}}


@pytest.fixture(scope="module")
def token(plane: ControlPlane) -> str:
    """The token of the agent's pod on node-a."""
    return accounts.pod_token(plane, SYSTEM, ACCOUNT, "node-a")


@pytest.fixture(scope="module")
def every_right(plane: ControlPlane) -> Iterator[None]:
    """The agent's account may do anything in our group and to Events, as far as roles are concerned."""
    rules = [
        {"apiGroups": ["subfunction.dev"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["*"]},
    ]
    plane.request("POST", f"{_ROLES}/clusterroles", {"metadata": {"name": "careless"}, "rules": rules})
    binding = {
        "metadata": {"name": "careless"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "careless"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}],
    }
    plane.request("POST", f"{_ROLES}/clusterrolebindings", binding)
    yield
    for kind in ("clusterrolebindings", "clusterroles"):
        with contextlib.suppress(CommandFailed):
            plane.request("DELETE", f"{_ROLES}/{kind}/careless")
