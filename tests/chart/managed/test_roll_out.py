"""The chart's pods as the real controllers make, place and roll them, on nodes where nothing runs.

Of a node there is a kubelet that says of each pod that it is ready. Each test begins where the one before it ended.
"""

import base64
import copy
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from components import accounts
from components.helm import CHART, NAMESPACE
from components.managed import Cluster
from components.nodes import projected
from harness.errors import CommandFailed

LINUX: Final = ("worker-1", "worker-2", "worker-3")
SUB_FUNCTIONS: Final = "/apis/subfunction.dev/v1alpha1/subfunctions"
PROGRAMS: Final = ("agent", "device-plugin")
TAINTS: Final = (
    {"key": "dedicated", "value": "gpu", "effect": "NoExecute"},
    {"key": "maintenance", "effect": "NoSchedule"},
)


def uids(cluster: Cluster, *components: str) -> set[str]:
    return {pod["metadata"]["uid"] for each in components for pod in cluster.pods(each).values()}


def is_ready(pod: Any) -> bool:
    conditions = {each["type"]: each["status"] for each in pod.get("status", {}).get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def test_where_the_namespace_forbids_its_pods_an_installation_does_not_pretend_to_succeed(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", NAMESPACE)
    level = "pod-security.kubernetes.io/enforce"
    cluster.kubectl("label", "namespace", NAMESPACE, f"{level}=baseline")
    for name in LINUX:
        cluster.nodes.join(name, taints=TAINTS if name == "worker-3" else ())
    cluster.nodes.join("windows-1", system="windows")
    for name in (*LINUX, "windows-1"):
        cluster.nodes.boot(name)
    with pytest.raises(CommandFailed, match="DaemonSet/subfunction-system/subfunction-agent not ready"):
        cluster.helm("install", "subfunction", str(CHART), "--wait", "--timeout", "5s")
    events = cluster.kubectl("get", "events", "-n", NAMESPACE, "--field-selector", "reason=FailedCreate")
    assert "daemonset/subfunction-agent" in events
    assert 'violates PodSecurity "baseline:latest"' in events
    cluster.kubectl("label", "--overwrite", "namespace", NAMESPACE, f"{level}=privileged")


def test_an_installation_that_waits_ends_once_all_pods_are_ready(cluster: Cluster) -> None:
    cluster.helm("upgrade", "--install", "subfunction", str(CHART), "--wait", "--timeout", "180s")
    for component in PROGRAMS:
        assert {name: is_ready(pod) for name, pod in cluster.pods(component).items()} == dict.fromkeys(LINUX, True)
    [pod] = cluster.pods("controller").values()
    assert is_ready(pod)


def test_each_node_has_one_of_each_whatever_its_taints_and_one_without_linux_has_none(cluster: Cluster) -> None:
    # `pods` makes sure that no node has two.
    for component in PROGRAMS:
        pods = cluster.pods(component)
        assert set(pods) == set(LINUX)
        assert {pod["spec"]["priorityClassName"] for pod in pods.values()} == {"system-node-critical"}
        assert {pod["spec"]["priority"] for pod in pods.values()} == {2_000_001_000}
    assert set(cluster.pods("controller")) <= {"worker-1", "worker-2"}


def test_an_agents_token_is_bound_to_its_pod_tells_the_node_and_ends_with_the_pod(cluster: Cluster) -> None:
    pod = cluster.pods("agent")["worker-2"]
    assert "serviceAccountToken" in json.dumps(pod["spec"]["volumes"])
    assert "kube-api-access" not in json.dumps(pod["spec"]), "no second token is mounted"
    files = projected(cluster.plane, pod)
    assert files["ca.crt"] == cluster.plane.authority.read_bytes(), "it trusts the API server by what is published"
    token = files["token"].decode()
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["kubernetes.io"]["node"]["name"] == "worker-2"
    assert claims["kubernetes.io"]["pod"]["uid"] == pod["metadata"]["uid"]

    # The API server knows one that it has seen for ten seconds more: hence another.
    unseen = accounts.mounted_token(cluster.plane, pod, 3600)["token"]
    cluster.plane.request("GET", SUB_FUNCTIONS, token=token)
    cluster.kubectl("delete", "pod", "-n", NAMESPACE, pod["metadata"]["name"])
    with pytest.raises(CommandFailed) as refused:
        cluster.plane.request("GET", SUB_FUNCTIONS, token=unseen)
    assert refused.value.code == 401
    cluster.until(lambda: "worker-2" in cluster.pods("agent"), "the next one is there")
    assert cluster.pods("agent")["worker-2"]["metadata"]["uid"] != pod["metadata"]["uid"]
    with pytest.raises(CommandFailed, match=r"not found|UID"):
        accounts.mounted_token(cluster.plane, pod, 3600)


class Watch:
    """`kubectl get pods --watch` of the agents, as events."""

    def __init__(self, cluster: Cluster, path: Path) -> None:
        self._path = path
        label = "app.kubernetes.io/component=agent"
        command = cluster.command(
            "get", "pods", "-n", NAMESPACE, "-l", label, "--output-watch-events", "-w", "-o", "json"
        )
        with path.open("w") as out:
            self._process = subprocess.Popen(command, env={"HOME": str(path.parent)}, stdout=out)

    def events(self) -> list[tuple[str, Any]]:
        """All so far that are whole."""
        text, decoder, found, at = self._path.read_text(), json.JSONDecoder(), [], 0
        while at < len(text):
            try:
                event, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError:
                break
            found.append((event["type"], event["object"]))
            at += len(text[at:]) - len(text[at:].lstrip())
        return found

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(10)


def meant_for(pod: Any) -> str:
    """The node that the DaemonSet made a pod for."""
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return str(terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0])


def history(events: list[tuple[str, Any]]) -> list[dict[str, dict[str, bool]]]:
    """After each event: which agents each node has, and whether each is ready."""
    agents: dict[str, dict[str, bool]] = {name: {} for name in LINUX}
    told = []
    for kind, pod in events:
        on_node, uid = agents[meant_for(pod)], pod["metadata"]["uid"]
        if kind == "DELETED":
            del on_node[uid]
        else:
            on_node[uid] = is_ready(pod)
        told.append(copy.deepcopy(agents))
    return told


def test_a_roll_out_goes_node_by_node_and_never_puts_two_agents_on_one(cluster: Cluster, tmp_path: Path) -> None:
    before = uids(cluster, "agent")
    others = uids(cluster, "device-plugin", "controller")
    watch = Watch(cluster, tmp_path / "events")
    try:
        cluster.until(lambda: len(watch.events()) >= len(LINUX), "the watch has begun")
        cluster.helm("upgrade", "subfunction", str(CHART), "--set", "agent.podAnnotations.rolled=yes", "--wait")
        now = uids(cluster, "agent")
        cluster.until(lambda: set().union(*history(watch.events())[-1].values()) == now, "all was told")
    finally:
        watch.end()
    assert now.isdisjoint(before)
    assert len(now) == len(LINUX)
    told = history(watch.events())[len(LINUX) - 1 :]
    assert max(len(agents) for each in told for agents in each.values()) == 1
    without = [{name for name, agents in each.items() if not any(agents.values())} for each in told]
    assert max(map(len, without)) == 1, "10 % of three nodes is one"
    assert set().union(*without) == set(LINUX)
    assert uids(cluster, "device-plugin", "controller") == others


def test_an_upgrade_that_changes_no_program_rolls_no_pod(cluster: Cluster, tmp_path: Path) -> None:
    before = uids(cluster, *PROGRAMS, "controller")
    chart = tmp_path / "subfunction"
    shutil.copytree(CHART, chart)
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": "0.1.1"}))
    words = ("--reset-then-reuse-values", "--set", "networkPolicy.enabled=true", "--wait")
    cluster.helm("upgrade", "subfunction", str(chart), *words)
    assert uids(cluster, *PROGRAMS, "controller") == before
    assert len(cluster.listed("networkpolicies", "-n", NAMESPACE)) == 2


def test_only_nodes_that_are_chosen_have_agents_and_each_that_is_chosen_later(cluster: Cluster) -> None:
    cluster.kubectl("label", "node", "worker-3", "nic=yes")
    words = (f"{each}.nodeSelector.nic=yes" for each in ("agent", "devicePlugin"))
    cluster.helm("upgrade", "subfunction", str(CHART), "--set", ",".join(words), "--wait")
    for component in PROGRAMS:
        cluster.until(lambda component=component: set(cluster.pods(component)) == {"worker-3"}, "the others are gone")
    cluster.kubectl("label", "node", "worker-1", "nic=yes")
    for component in PROGRAMS:
        cluster.until(
            lambda component=component: set(cluster.pods(component)) == {"worker-1", "worker-3"}, "it has one too"
        )
