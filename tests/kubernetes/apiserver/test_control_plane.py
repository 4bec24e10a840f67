"""The real API server: how it is started and ended, and what only a real one has (TLS, roles, tokens that run out)."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import under_test
from components.controlplane import ADMIN, CRDS, ControlPlane
from harness.errors import CommandFailed, HostLacks
from rig.cluster import NODE, Cluster
from subfunction_simulator.kubectl import kubectl

ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/agent"
SECRETS = "/api/v1/namespaces/default/secrets"
ROLES = "/apis/rbac.authorization.k8s.io/v1"
RULES = [
    {"apiGroups": ["subfunction.dev"], "resources": ["subfunctions"], "verbs": ["get", "list", "watch", "patch"]},
    {"apiGroups": ["subfunction.dev"], "resources": ["subfunctions/status"], "verbs": ["patch"]},
    {"apiGroups": ["subfunction.dev"], "resources": ["subfunctionnodes"], "verbs": ["get", "create", "patch"]},
    {"apiGroups": ["subfunction.dev"], "resources": ["subfunctionnodes/status"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]
"""All that an agent may do."""
SECONDS_A_TOKEN_IS_REMEMBERED = 10


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_process_that_started_it(end: signal.Signals, tmp_path: Path) -> None:
    code = (
        "import signal, time; from components.controlplane import ControlPlane\n"
        # What a shell starts in the background ignores Ctrl-C.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with ControlPlane() as plane:\n"
        "    print(plane._store.pid, plane._server.pid, flush=True); time.sleep(60)"
    )
    roots = os.pathsep.join(path for path in sys.path if path)
    starter = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": roots, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    with starter.stdout as said:
        pids = [int(word) for word in said.readline().split()]
    assert len(pids) == 2
    assert all(map(_alive, pids))
    starter.send_signal(end)
    starter.wait(20)
    deadline = time.monotonic() + 10
    while any(map(_alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_folder_of_assets_that_lacks_a_program_is_said_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etcd").symlink_to(under_test.plane()._binaries.etcd)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(HostLacks, match=f"KUBEBUILDER_ASSETS={tmp_path} has no kube-apiserver"):
        ControlPlane()


def test_the_crds_are_applied_in_either_way_and_again(plane: ControlPlane, tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text(plane.kubeconfig())

    def apply(*words: str) -> list[str]:
        command = [str(kubectl()), "--kubeconfig", str(config), "apply", "-f", str(CRDS), *words]
        done = subprocess.run(command, env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
        return [line.partition(" ")[2] for line in done.stdout.splitlines()]

    count = len(list(CRDS.glob("*.yaml")))
    assert apply("--server-side", "--force-conflicts") == ["serverside-applied"] * count
    assert set(apply()) <= {"configured", "unchanged"}
    assert apply() == ["unchanged"] * count
    for path in CRDS.glob("*.yaml"):
        name = yaml.safe_load(path.read_text())["metadata"]["name"]
        crd = plane.request("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
        conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.fixture
def account(plane: ControlPlane) -> Iterator[ControlPlane]:
    """A service account with an agent's role."""
    role = {"metadata": {"name": "agent"}, "rules": RULES}
    subject = {"kind": "ServiceAccount", "name": "agent", "namespace": "default"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "agent"}
    plane.request("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "agent"}})
    plane.request("POST", f"{ROLES}/clusterroles", role)
    binding = {"metadata": {"name": "agent"}, "roleRef": reference, "subjects": [subject]}
    plane.request("POST", f"{ROLES}/clusterrolebindings", binding)
    yield plane
    for path in (f"{ROLES}/clusterrolebindings/agent", f"{ROLES}/clusterroles/agent", ACCOUNT):
        plane.request("DELETE", path)


def _token(plane: ControlPlane, bound_to: str) -> str:
    """Make a token that lives as long as a secret."""
    secret = plane.request("POST", SECRETS, {"metadata": {"name": bound_to}})
    reference = {"kind": "Secret", "apiVersion": "v1", "name": bound_to, "uid": secret["metadata"]["uid"]}
    spec = {"audiences": [], "expirationSeconds": 600, "boundObjectRef": reference}
    token: str = plane.request("POST", f"{ACCOUNT}/token", {"spec": spec})["status"]["token"]
    return token


@pytest.fixture
async def node(account: ControlPlane, root: Path) -> AsyncIterator[Cluster]:
    """A node whose agent goes straight to the real server, over TLS, with a token from a file."""
    async with Cluster(root) as made:
        account.request("POST", "/api/v1/nodes", {"metadata": {"name": NODE}})
        config: Any = yaml.safe_load(account.kubeconfig())
        config["users"][0]["user"] = {"tokenFile": str(root / "token")}
        made.kubeconfig.write_text(yaml.safe_dump(config))
        yield made


async def test_an_agent_with_no_more_than_its_role_outlives_the_end_of_its_token(
    account: ControlPlane, node: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    first = _token(account, "first")
    (node.root / "token").write_text(first)
    node.start_agent(relist=1.0)
    await node.apply()
    await node.until_ready()
    second = _token(account, "second")
    (node.root / "token").write_text(second)
    account.request("DELETE", f"{SECRETS}/first")
    deadline = time.monotonic() + 2 * SECONDS_A_TOKEN_IS_REMEMBERED
    while _is_known(account, first):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    # The watch was opened with the first token; what comes now needs the second one.
    await node.apply("late")
    await node.until_ready("late", within=15)
    await node.delete()
    await node.until_gone()
    sfnode = account.request("GET", f"/apis/subfunction.dev/v1alpha1/subfunctionnodes/{NODE}")
    assert sfnode["status"]["parents"]
    events = account.request("GET", "/api/v1/namespaces/default/events")["items"]
    assert {event["involvedObject"]["name"] for event in events} >= {"late"}
    assert "forbidden" not in caplog.text
    account.request("DELETE", f"{SECRETS}/second")


def _is_known(plane: ControlPlane, token: str) -> bool:
    try:
        plane.request("GET", "/apis/subfunction.dev/v1alpha1/subfunctions", token=token)
    except CommandFailed as error:
        return error.code != 401
    return True


async def test_the_real_server_is_killed_and_comes_back(account: ControlPlane, node: Cluster) -> None:
    (node.root / "token").write_text(ADMIN)
    node.start_agent()
    await node.apply("first")
    await node.until_ready("first")
    await asyncio.to_thread(account.stop_server)
    await asyncio.sleep(1)
    await asyncio.to_thread(account.start_server)
    await node.apply("second")
    await node.until_ready("second", within=20)
    await node.delete("first")
    await node.until_gone("first", within=20)
