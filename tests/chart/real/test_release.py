"""A release's life before the real API server: installed, tested, upgraded with its CRDs, removed in each order.

No controller manager runs here: no DaemonSet makes a pod, nothing is garbage-collected, no namespace ends. What needs
these is in tests/chart/managed. Each test begins where the one before it ended.
"""

import copy
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import pytest
import yaml

from components import accounts
from components.controlplane import ControlPlane
from components.helm import CHART, NAMESPACE, Helm
from harness.errors import CommandFailed

CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRD: Final = f"{CRDS}/subfunctions.subfunction.dev"
GROUP: Final = "/apis/subfunction.dev/v1alpha1"
APPS: Final = f"/apis/apps/v1/namespaces/{NAMESPACE}"
PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
MERGE: Final = "application/merge-patch+json"
OURS: Final = "subfunction.dev/agent"
SECONDS: Final = 30.0


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {SECONDS:.0f} s: {what}"
        time.sleep(0.05)


def there(plane: ControlPlane, path: str) -> Any:
    """The object at a path, None where there is none."""
    try:
        return plane.request("GET", path)
    except CommandFailed as error:
        if error.code != 404:
            raise
        return None


def test_it_is_installed_and_says_what_comes_next(plane: ControlPlane, helm: Helm) -> None:
    said = helm("install", "subfunction", str(CHART))
    plane.until_served()
    for words in ("helm test subfunction --namespace subfunction-system", "kubectl get sfnode", "kubectl apply -f"):
        assert words in said
    for program in ("agent", "device-plugin"):
        assert there(plane, f"{APPS}/daemonsets/subfunction-{program}")
    assert there(plane, f"{APPS}/deployments/subfunction-controller")
    crds = {path.stem for path in (CHART / "files" / "crds").glob("*.yaml")}
    assert {crd["spec"]["names"]["plural"] for crd in plane.request("GET", CRDS)["items"]} == crds


def test_a_second_release_is_refused(helm: Helm) -> None:
    with pytest.raises(CommandFailed, match="cannot be imported into the current release") as refused:
        helm("install", "other", str(CHART), "--namespace", "default")
    assert "meta.helm.sh/release-name" in refused.value.output


class Node:
    """What plays the kubelet for `helm test`: it runs the pod that waits, as a process with its account's token."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.said = ""
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(SECONDS)

    def _run(self) -> None:
        until(self._waits, "a pod waits")
        pod = self.plane.request("GET", f"{PODS}/subfunction-check")
        account = pod["spec"]["serviceAccountName"]
        config = self.plane.folder / "of-the-pod"
        config.write_text(self.plane.kubeconfig(accounts.free_token(self.plane, NAMESPACE, account)))
        program, *words = pod["spec"]["containers"][0]["command"]
        done = subprocess.run(
            [str(Path(sys.executable).with_name(program)), *("0" if word == "60" else word for word in words)],
            env=os.environ | {"SUBFUNCTION_KUBECONFIG": str(config)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        self.said = done.stdout + done.stderr
        phase = {"status": {"phase": "Failed" if done.returncode else "Succeeded"}}
        self.plane.request("PATCH", f"{PODS}/subfunction-check/status", phase, kind=MERGE)

    def _waits(self) -> bool:
        pod = there(self.plane, f"{PODS}/subfunction-check")
        return pod is not None and pod["status"]["phase"] == "Pending"


def test_helm_test_fails_where_no_pod_is_ready_and_says_which(plane: ControlPlane, helm: Helm) -> None:
    with Node(plane) as node, pytest.raises(CommandFailed, match="subfunction-check"):
        helm("test", "subfunction", "--timeout", "60s")
    assert "ok  subfunctions.subfunction.dev is served" in node.said
    assert "FAIL  subfunction-agent: 0 of 0 pods are ready; no node is chosen for it" in node.said
    assert (
        "FAIL  subfunction-controller: 0 of 1 pods are ready; kubectl -n subfunction-system describe pods" in node.said
    )


def test_helm_test_succeeds_where_all_is_well_with_no_more_rights_than_its_role(
    plane: ControlPlane, helm: Helm
) -> None:
    ready = {"numberReady": 1, "desiredNumberScheduled": 1, "currentNumberScheduled": 1, "numberMisscheduled": 0}
    for program in ("agent", "device-plugin"):
        plane.request("PATCH", f"{APPS}/daemonsets/subfunction-{program}/status", {"status": ready}, kind=MERGE)
    up = {"status": {"readyReplicas": 1, "replicas": 1, "availableReplicas": 1}}
    plane.request("PATCH", f"{APPS}/deployments/subfunction-controller/status", up, kind=MERGE)
    node = {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunctionNode", "metadata": {"name": "worker-1"}}
    plane.request("POST", f"{GROUP}/subfunctionnodes", node)
    plane.request("PATCH", f"{GROUP}/subfunctionnodes/worker-1/status", {"status": {"parentCount": 2}}, kind=MERGE)
    with Node(plane) as world:
        helm("test", "subfunction", "--timeout", "60s")
    assert "FAIL" not in world.said
    assert "ok  1 nodes were surveyed by 1 agents, with 2 parents of sub-functions" in world.said
    assert there(plane, "/apis/rbac.authorization.k8s.io/v1/clusterroles/subfunction-check") is None


@pytest.fixture(scope="module")
def next_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart of a later version: a column more in a CRD."""
    chart = tmp_path_factory.mktemp("next") / "subfunction"
    shutil.copytree(CHART, chart)
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": "0.2.0", "appVersion": "0.2.0"}))
    path = chart / "files" / "crds" / "subfunctions.yaml"
    crd = yaml.safe_load(path.read_text())
    crd["spec"]["versions"][0]["additionalPrinterColumns"].append(
        {"name": "New", "type": "string", "jsonPath": ".spec.flavour"}
    )
    path.write_text(yaml.safe_dump(crd))
    return chart


def columns(plane: ControlPlane) -> list[str]:
    return [column["name"] for column in plane.request("GET", CRD)["spec"]["versions"][0]["additionalPrinterColumns"]]


def test_an_upgrade_brings_its_crds_and_touches_no_object(
    plane: ControlPlane, helm: Helm, next_chart: Path, sub_function: Any
) -> None:
    sub_function["metadata"]["finalizers"] = [OURS]
    before = plane.request("POST", f"{GROUP}/subfunctions", sub_function)
    assert "New" not in columns(plane)
    helm("upgrade", "subfunction", str(next_chart))
    assert columns(plane)[-1] == "New"
    agent = plane.request("GET", f"{APPS}/daemonsets/subfunction-agent")
    assert agent["spec"]["template"]["spec"]["containers"][0]["image"] == "subfunction:0.2.0"
    assert plane.request("GET", f"{GROUP}/subfunctions/blue") == before


def test_a_chart_alone_rolls_no_pod(plane: ControlPlane, helm: Helm, next_chart: Path) -> None:
    before = plane.request("GET", f"{APPS}/daemonsets/subfunction-device-plugin")["metadata"]["generation"]
    about = yaml.safe_load((next_chart / "Chart.yaml").read_text())
    (next_chart / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": "0.2.1"}))
    helm("upgrade", "subfunction", str(next_chart))
    assert plane.request("GET", f"{APPS}/daemonsets/subfunction-device-plugin")["metadata"]["generation"] == before


def test_a_rollback_brings_the_crds_of_then(plane: ControlPlane, helm: Helm) -> None:
    helm("rollback", "subfunction", "1")
    assert "New" not in columns(plane)


def test_uninstalled_too_early_all_sub_functions_stay_and_the_next_installation_has_them(
    plane: ControlPlane, helm: Helm
) -> None:
    before = plane.request("GET", f"{GROUP}/subfunctions/blue")
    helm("uninstall", "subfunction")
    assert there(plane, f"{APPS}/daemonsets/subfunction-agent") is None
    assert plane.request("GET", f"{GROUP}/subfunctions/blue") == before
    # Deleted now, it waits for an agent: nobody has taken the sub-function out of the kernel.
    plane.request("DELETE", f"{GROUP}/subfunctions/blue")
    assert plane.request("GET", f"{GROUP}/subfunctions/blue")["metadata"]["deletionTimestamp"]
    helm("install", "subfunction", str(CHART))
    assert plane.request("GET", f"{GROUP}/subfunctions/blue")["metadata"]["finalizers"] == [OURS]


def test_in_order_nothing_is_left(plane: ControlPlane, helm: Helm) -> None:
    # The agent's part: the sub-function is gone from the kernel, and its finalizer with it.
    plane.request("PATCH", f"{GROUP}/subfunctions/blue", {"metadata": {"finalizers": None}}, kind=MERGE)
    until(lambda: there(plane, f"{GROUP}/subfunctions/blue") is None, "it is gone")
    helm("uninstall", "subfunction")
    for crd in plane.request("GET", CRDS)["items"]:
        plane.request("DELETE", f"{CRDS}/{crd['metadata']['name']}")
    until(lambda: not plane.request("GET", CRDS)["items"], "no kind is left")
    for path in (
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
        "/api/v1/serviceaccounts",
        APPS + "/daemonsets",
    ):
        left = [each["metadata"]["name"] for each in plane.request("GET", path)["items"]]
        assert [name for name in left if name.startswith("subfunction")] == []


def test_crds_that_go_before_their_sub_functions_wait_for_an_agent_that_is_no_more(
    plane: ControlPlane, helm: Helm, sub_function: Any
) -> None:
    helm("install", "subfunction", str(CHART), "--set", "crds.keep=false")
    plane.until_served()
    sub_function["metadata"]["finalizers"] = [OURS]
    plane.request("POST", f"{GROUP}/subfunctions", sub_function)
    helm("uninstall", "subfunction")
    until(
        lambda: (there(plane, f"{GROUP}/subfunctions/blue") or {}).get("metadata", {}).get("deletionTimestamp"),
        "the API server deletes them all",
    )
    stuck = plane.request("GET", CRD)
    conditions = {each["type"]: each for each in stuck["status"]["conditions"]}
    assert conditions["Terminating"]["status"] == "True"
    # Another one cannot be made meanwhile, and an installation waits for them.
    with pytest.raises(CommandFailed, match="while custom resource definition is terminating"):
        plane.request("POST", f"{GROUP}/subfunctions", copy.deepcopy(sub_function) | {"metadata": {"name": "green"}})
    # What a person can do where no agent will ever come back; the kernel keeps the sub-function until a reboot.
    plane.request("PATCH", f"{GROUP}/subfunctions/blue", {"metadata": {"finalizers": None}}, kind=MERGE)
    until(lambda: there(plane, CRD) is None, "the kind is gone")


def test_crds_that_were_applied_by_hand_are_named_and_taken_over_on_request(
    plane: ControlPlane, helm: Helm, apply: Callable[..., str]
) -> None:
    until(lambda: not plane.request("GET", CRDS)["items"], "no kind is left")
    apply("apply", "-f", str(CHART / "files" / "crds") + "/")
    with pytest.raises(CommandFailed, match=r'CustomResourceDefinition "subfunction.*" in namespace "" exists'):
        helm("install", "subfunction", str(CHART))
    helm("install", "subfunction", str(CHART), "--take-ownership", "--force-conflicts")
    assert plane.request("GET", CRD)["metadata"]["annotations"]["meta.helm.sh/release-name"] == "subfunction"
    helm("uninstall", "subfunction")


def test_what_is_released_for_kubectl_and_kustomize_is_the_chart(
    helm: Helm, apply: Callable[..., str], tmp_path: Path
) -> None:
    root = CHART.parents[1]
    subprocess.run(
        ["make", "--no-print-directory", "manifests", f"DIST={tmp_path}"], cwd=root, check=True, capture_output=True
    )
    words = ("apply", "--server-side", "--force-conflicts", "--validate=strict")
    direct = apply(*words, "-f", str(tmp_path / "install.yaml"))
    assert "namespace/subfunction-system" in direct
    assert sorted(apply(*words, "-k", str(tmp_path)).splitlines()) == sorted(direct.splitlines())
    chart = helm.rendered("--skip-tests")
    released = [each for each in yaml.safe_load_all((tmp_path / "install.yaml").read_text()) if each]
    assert [each["kind"] for each in released] == ["Namespace", *(each["kind"] for each in chart)]
    assert "helm.sh/hook" not in json.dumps(released)
    apply("delete", "-f", str(tmp_path / "install.yaml"), "--wait=false")
