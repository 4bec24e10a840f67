"""What the cluster's own controllers do with our objects and programs, in order and in others (docs/install.md).

Two nodes with machines: their pods are processes, with the tokens and folders that the chart gives them, on a simulated
kernel. Each test begins where the one before it ended.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from components import audit
from components.helm import CHART, NAMESPACE
from components.machine import KUBELET_ROOT
from components.managed import Cluster

NODES: Final = ("worker-1", "worker-2")
VALUES: Final = (
    # Where the other node's end does not take it along.
    "--set",
    r"controller.nodeSelector.kubernetes\.io/hostname=worker-1",
    "--set",
    "kernel=simulated,agent.listen=,devicePlugin.listen=,controller.listen=",
    "--set",
    "agent.surveyInterval=0.2,agent.resync=5,agent.usageInterval=0.2,controller.goneGrace=1,controller.statusInterval=0.1",
)
OURS: Final = "subfunction.dev/agent"
SIMULATED: Final = "/run/subfunction/simulated"
BLUE: Final[Mapping[str, Any]] = {
    "apiVersion": "subfunction.dev/v1alpha1",
    "kind": "SubFunction",
    "metadata": {"name": "blue"},
    "spec": {"nodeName": "worker-1", "flavour": "mlx5", "parent": {"device": "pci/0000:03:00.0"}},
}
POOL: Final[Mapping[str, Any]] = {
    "apiVersion": "subfunction.dev/v1alpha1",
    "kind": "SubFunctionPool",
    "metadata": {"name": "fast"},
    "spec": {
        "replicas": 1,
        "per": "Node",
        "parents": [{"device": "pci/0000:03:00.0"}],
        "template": {"spec": {"flavour": "mlx5"}},
    },
}
POD: Final[Mapping[str, Any]] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "worker"},
    "spec": {
        "containers": [{"name": "main", "image": "box", "resources": {"limits": {"subfunction.dev/mlx5": 1}}}],
        "terminationGracePeriodSeconds": 1,
    },
}


def installed(cluster: Cluster) -> None:
    cluster.helm("install", "subfunction", str(CHART), *VALUES, "--wait")
    cluster.plane.until_served()
    # It looks for new kinds every 30 seconds, and when it starts.
    cluster.controllers.restart_manager()


def found(cluster: Cluster, kind: str, name: str) -> Any:
    """The object, None where there is none."""
    return json.loads(cluster.kubectl("get", kind, name, "--ignore-not-found", "-o", "json") or "null")


def kernels(cluster: Cluster) -> dict[str, int]:
    """How many sub-functions each machine's kernel has."""
    return {
        name: len(list(machine.path(f"{SIMULATED}/sys/bus/auxiliary/devices").glob("mlx5_core.sf.*")))
        for name, machine in cluster.nodes.machines.items()
    }


def applied(cluster: Cluster, *manifests: Any) -> None:
    """`kubectl apply`, and wait until each sub-function that there is then is ready."""
    for manifest in manifests:
        cluster.kubectl("apply", "-f", "-", given=manifest)
    cluster.until(lambda: sub_functions(cluster), "there are some")
    cluster.kubectl("wait", "--for=condition=Ready", "sf", "--all", "--timeout=180s")


def sub_functions(cluster: Cluster) -> dict[str, Any]:
    return {each["metadata"]["name"]: each for each in cluster.listed("sf")}


def is_ready(item: Any) -> bool:
    return any((each["type"], each["status"]) == ("Ready", "True") for each in item["status"]["conditions"])


def leaving(item: Any) -> bool:
    return "deletionTimestamp" in item["metadata"]


def agent(cluster: Cluster, node: str) -> "subprocess.Popen[str]":
    """The process of a node's agent."""
    name = cluster.pods("agent")[node]["metadata"]["name"]
    return cluster.nodes.machines[node].running[name]


def refused(cluster: Cluster) -> list[audit.Audited]:
    """What Kubernetes' own controllers may not do, but for making things in a namespace that ends."""
    log = [audit.Audited.of(json.loads(line)) for line in cluster.plane.audit_log.read_text().splitlines()]
    bad = [each for each in log if ":kube-system:" in each.user and each.code == 403]
    return [each for each in bad if (each.namespace, each.verb) != (NAMESPACE, "create")]


def test_an_installation_that_waits_leaves_a_cluster_that_works(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", NAMESPACE)
    kernel = next(
        each["spec"]["template"]["spec"]
        for each in cluster.helm.rendered(*VALUES)
        if each["metadata"]["name"] == "subfunction-simulated-kernel"
    )
    for name in NODES:
        cluster.nodes.join(name)
        cluster.nodes.boot(name, kernel)
    installed(cluster)
    check = [sys.executable, "-m", "subfunction_operator", "check", "--namespace", NAMESPACE, "--wait", "120"]
    done = subprocess.run(
        [*check, "--kubeconfig", str(cluster.kubeconfig)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 nodes were surveyed by 2 agents" in done.stdout


def test_the_policy_is_well_typed_in_the_eyes_of_the_controller_that_reads_policies(cluster: Cluster) -> None:
    def status() -> Any:
        return found(cluster, "validatingadmissionpolicy", "subfunction-agent").get("status", {})

    cluster.until(lambda: "typeChecking" in status(), "it was read")
    assert status()["typeChecking"].get("expressionWarnings", []) == []


def test_a_pod_is_put_where_a_sub_function_is_and_has_it(cluster: Cluster) -> None:
    applied(cluster, BLUE)
    cluster.kubectl("apply", "-f", "-", given=POD)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/worker", "--timeout=180s")
    assert found(cluster, "pod", "worker")["spec"]["nodeName"] == "worker-1"
    uid = found(cluster, "sf", "blue")["metadata"]["uid"]
    told = json.loads(
        (cluster.nodes.machines["worker-1"].path(KUBELET_ROOT) / "pods/default_worker/main.json").read_text()
    )
    assert told["env"]["SUBFUNCTION_UID"] == uid
    # Deleted while the pod has it: it stays until the pod has ended.
    cluster.kubectl("delete", "sf", "blue", "--wait=false")
    cluster.until(lambda: found(cluster, "sf", "blue")["status"]["phase"] == "Draining", "it waits for the pod")
    cluster.kubectl("delete", "pod", "worker")
    cluster.kubectl("wait", "--for=delete", "sf/blue", "--timeout=180s")
    cluster.until(lambda: kernels(cluster)["worker-1"] == 0, "the kernel has none")


@pytest.fixture
def pool(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """A pool with one sub-function on each node, of which worker-1's agent does nothing from now on."""
    applied(cluster, POOL)
    cluster.until(lambda: len(sub_functions(cluster)) == len(NODES), "one on each node")
    cluster.kubectl("wait", "--for=condition=Ready", "sf", "--all", "--timeout=180s")
    process = agent(cluster, "worker-1")
    process.send_signal(signal.SIGSTOP)
    yield {each["spec"]["nodeName"]: name for name, each in sub_functions(cluster).items()}
    process.send_signal(signal.SIGCONT)
    cluster.kubectl("delete", "sf", "--all", "--timeout=180s")
    cluster.until(lambda: set(kernels(cluster).values()) == {0}, "the kernels have none")


def test_a_deleted_pools_sub_functions_go_once_their_agents_have_let_go(cluster: Cluster, pool: dict[str, Any]) -> None:
    cluster.kubectl("delete", "sfpool", "fast")
    cluster.until(lambda: set(sub_functions(cluster)) == {pool["worker-1"]}, "worker-2's is gone")
    cluster.until(lambda: leaving(found(cluster, "sf", pool["worker-1"])), "worker-1's waits")
    assert found(cluster, "sf", pool["worker-1"])["metadata"]["finalizers"] == [OURS]
    assert kernels(cluster) == {"worker-1": 1, "worker-2": 0}


def test_a_pool_that_is_deleted_in_the_foreground_stays_until_its_last_sub_function_is_gone(
    cluster: Cluster, pool: dict[str, Any]
) -> None:
    cluster.kubectl("delete", "sfpool", "fast", "--cascade=foreground", "--wait=false")
    cluster.until(lambda: set(sub_functions(cluster)) == {pool["worker-1"]}, "worker-2's is gone")
    assert found(cluster, "sfpool", "fast")["metadata"]["finalizers"] == ["foregroundDeletion"]
    agent(cluster, "worker-1").send_signal(signal.SIGCONT)
    cluster.kubectl("wait", "--for=delete", "sfpool/fast", "--timeout=180s")
    assert sub_functions(cluster) == {}


def test_a_pool_that_is_deleted_alone_leaves_its_sub_functions_to_whom_it_may_concern(
    cluster: Cluster, pool: dict[str, Any]
) -> None:
    cluster.kubectl("delete", "sfpool", "fast", "--cascade=orphan")
    there = sub_functions(cluster)
    assert set(there) == set(pool.values())
    for each in there.values():
        assert "ownerReferences" not in each["metadata"]
        assert not leaving(each)
    assert kernels(cluster) == {"worker-1": 1, "worker-2": 1}


def test_a_node_that_is_gone_for_good_takes_its_own_object_and_its_pools_along(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", given=POOL)
    own = {**BLUE, "metadata": {"name": "own"}, "spec": BLUE["spec"] | {"nodeName": "worker-2"}}
    cluster.kubectl("apply", "-f", "-", given=own)
    cluster.until(lambda: len(sub_functions(cluster)) == 3, "all are made")
    cluster.kubectl("wait", "--for=condition=Ready", "sf", "--all", "--timeout=180s")
    cluster.nodes.unplug("worker-2")
    # Not ready is not gone: its agent's pod stays, since it bears every taint.
    unknown = json.dumps(
        {"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}}
    )
    cluster.kubectl("patch", "node", "worker-2", "--subresource=status", "-p", unknown)
    cluster.until(lambda: "unreachable" in json.dumps(found(cluster, "node", "worker-2")["spec"]), "it is tainted")
    assert len(sub_functions(cluster)) == 3
    assert not leaving(cluster.pods("agent")["worker-2"])
    cluster.kubectl("delete", "node", "worker-2")
    cluster.kubectl("wait", "--for=delete", "sfnode/worker-2", "--timeout=180s")
    cluster.until(lambda: len(sub_functions(cluster)) == 2, "its pool's is let go")
    assert {each["spec"]["nodeName"] for each in sub_functions(cluster).values()} == set(NODES)
    # Nobody's but its maker's, until he deletes it: then nothing waits for an agent that is no more.
    cluster.kubectl("delete", "sf", "own", "--timeout=180s")
    cluster.kubectl("delete", "sfpool", "fast", "--cascade=foreground", "--timeout=180s")
    # The pod garbage collector's part, which comes a minute later.
    gone = ("--field-selector", "spec.nodeName=worker-2", "--force")
    cluster.kubectl("delete", "pod", "-n", NAMESPACE, *gone)


def test_a_node_object_that_is_made_anew_gets_another_of_ours(cluster: Cluster) -> None:
    before = found(cluster, "sfnode", "worker-1")["metadata"]["uid"]
    cluster.kubectl("delete", "node", "worker-1")
    cluster.nodes.restart("worker-1")
    cluster.until(lambda: found(cluster, "node", "worker-1"), "its kubelet made it anew")
    uid = found(cluster, "node", "worker-1")["metadata"]["uid"]

    def is_another() -> bool:
        seen = found(cluster, "sfnode", "worker-1")
        return bool(seen and seen["metadata"]["uid"] != before and "parents" in seen.get("status", {}))

    cluster.until(is_another, "the agent made another")
    assert [each["uid"] for each in found(cluster, "sfnode", "worker-1")["metadata"]["ownerReferences"]] == [uid]


def named(manifest: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {**manifest, "metadata": {"name": name}}


def programs(cluster: Cluster) -> set[str]:
    """What runs on the machine, its kernel aside."""
    return set(cluster.nodes.machines["worker-1"].running) - {"kernel"}


def upgraded(cluster: Cluster) -> None:
    cluster.helm("upgrade", "subfunction", str(CHART), "--reset-then-reuse-values", "--wait")


@pytest.fixture
def two(cluster: Cluster) -> Iterator[None]:
    """Two sub-functions, one of them in a pod."""
    applied(cluster, BLUE, named(BLUE, "green"))
    cluster.kubectl("apply", "-f", "-", given=POD)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/worker", "--timeout=180s")
    yield
    cluster.kubectl("delete", "pod", "--all")


@pytest.mark.usefixtures("two")
def test_without_device_plugins_pods_keep_what_they_have_and_new_ones_wait(cluster: Cluster) -> None:
    cluster.kubectl("delete", "daemonset", "-n", NAMESPACE, "subfunction-device-plugin")
    cluster.until(lambda: not cluster.pods("device-plugin"), "its pods are collected")

    def left() -> str:
        return str(found(cluster, "node", "worker-1")["status"]["allocatable"]["subfunction.dev/mlx5"])

    cluster.until(lambda: left() == "0", "the kubelet counts none")
    cluster.kubectl("apply", "-f", "-", given=named(POD, "second"))
    cluster.until(
        lambda: "Insufficient subfunction.dev/mlx5" in json.dumps(found(cluster, "pod", "second")), "it waits"
    )
    assert found(cluster, "pod", "worker")["status"]["phase"] == "Running"
    upgraded(cluster)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/second", "--timeout=180s")


def test_an_upgrade_brings_the_policy_back(cluster: Cluster) -> None:
    for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
        cluster.kubectl("delete", kind, "subfunction-agent")
    upgraded(cluster)
    for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
        assert found(cluster, kind, "subfunction-agent")


@pytest.mark.usefixtures("two")
def test_uninstalled_too_early_the_programs_go_and_what_they_made_stays(cluster: Cluster) -> None:
    cluster.helm("uninstall", "subfunction", "--wait")
    cluster.until(lambda: not programs(cluster), "no program runs")
    assert kernels(cluster) == {"worker-1": 2}
    assert found(cluster, "pod", "worker")["status"]["phase"] == "Running"
    cluster.kubectl("delete", "sf", "green", "--wait=false")
    assert found(cluster, "sf", "green")["metadata"]["finalizers"] == [OURS]
    installed(cluster)
    cluster.kubectl("wait", "--for=delete", "sf/green", "--timeout=180s")
    cluster.until(lambda: kernels(cluster) == {"worker-1": 1}, "the agent knew it by its record")
    assert is_ready(found(cluster, "sf", "blue"))


@pytest.mark.usefixtures("two")
def test_with_the_namespace_the_programs_go_and_a_new_release_takes_over_the_rest(cluster: Cluster) -> None:
    cluster.kubectl("delete", "namespace", NAMESPACE)
    assert programs(cluster) == set()
    assert kernels(cluster) == {"worker-1": 2}
    assert set(sub_functions(cluster)) == {"blue", "green"}
    assert cluster.helm("list", "--all-namespaces", "--short").split() == []
    cluster.kubectl("create", "namespace", NAMESPACE)
    # What is left says itself whose it is.
    installed(cluster)
    cluster.kubectl("delete", "pod", "worker")
    cluster.kubectl("delete", "sf", "--all", "--timeout=180s")
    assert kernels(cluster) == {"worker-1": 0}


@pytest.mark.usefixtures("two")
def test_with_the_kinds_all_sub_functions_go_from_the_kernels_while_agents_run(cluster: Cluster) -> None:
    cluster.kubectl("delete", "crd", "-l", "app.kubernetes.io/part-of=subfunction", "--wait=false")
    cluster.until(lambda: kernels(cluster) == {"worker-1": 1}, "what is free is gone")
    cluster.until(lambda: leaving(found(cluster, "sf", "blue")), "what a pod has waits")
    cluster.kubectl("delete", "pod", "worker")
    cluster.kubectl("wait", "--for=delete", "crd/subfunctions.subfunction.dev", "--timeout=180s")
    assert kernels(cluster) == {"worker-1": 0}
    # The programs outlive that, and go on once the kinds are there again.
    upgraded(cluster)
    cluster.plane.until_served()
    applied(cluster, BLUE, POOL)
    cluster.until(lambda: len(sub_functions(cluster)) == 2, "the pool has its own")


def test_in_order_nothing_is_left(cluster: Cluster) -> None:
    for kind in ("sfpool", "sf"):
        cluster.kubectl("delete", kind, "--all", "--timeout=180s")
    cluster.helm("uninstall", "subfunction", "--wait")
    cluster.kubectl("delete", "crd", "-l", "app.kubernetes.io/part-of=subfunction", "--timeout=180s")
    kinds = (
        "all,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,crds,configmaps,secrets,"
        "controllerrevisions,validatingadmissionpolicies,validatingadmissionpolicybindings"
    )
    for selector in ("app.kubernetes.io/part-of=subfunction", "app.kubernetes.io/name=subfunction"):
        cluster.until(
            lambda selector=selector: cluster.listed(kinds, "--all-namespaces", "-l", selector) == [], "nothing is left"
        )
    assert programs(cluster) == set()
    assert kernels(cluster) == {"worker-1": 0}


def test_no_controller_of_kubernetes_own_was_refused_anything(cluster: Cluster) -> None:
    asked = audit.requests(cluster.plane.audit_log, "system:serviceaccount:kube-system:generic-garbage-collector")
    ours = {(each.verb, each.resource) for each in asked if each.group == "subfunction.dev"}
    assert ours >= {
        ("delete", "subfunctions"),
        ("patch", "subfunctions"),
        ("patch", "subfunctionpools"),
        ("delete", "subfunctionnodes"),
    }
    assert refused(cluster) == []
