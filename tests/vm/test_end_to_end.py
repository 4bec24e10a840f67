"""From `kubectl apply` on the host to a pod's device on the real kernel, and back to a kernel as it was.

On the host: kubectl and the embedded API server. In the machine: the agent, the device plugin, the stand-in kubelet,
and the real mlx5 driver of either kernel.
The judge is iproute2's devlink and the machine's own /dev.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import fresh, on_each_kernel
from harness.machine import HOST, Machine, Process
from harness.mlx5 import Mlx5
from harness.nic import AUX
from harness.wait import until
from subfunction_simulator.kubectl import kubectl

pytestmark = [pytest.mark.ground("real mlx5"), on_each_kernel]

NODE = "worker-1"
PARENT = "pci/0000:05:00.0"
MAC = "02:53:46:00:00:01"
PATIENCE = 180
"""Seconds: on a machine with a load of fifteen the programs of the node were up after more than sixty."""


class Cluster:
    """What a person has: kubectl, a kubeconfig, and a terminal."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubectl = kubectl()
        self.environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}

    def run(self, *words: str, manifest: Any = None) -> str:
        run = subprocess.run(
            [self.kubectl, *words],
            input=None if manifest is None else json.dumps(manifest),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE + 10,
            check=False,
        )
        assert run.returncode == 0, f"kubectl {' '.join(words)}: {run.stdout}{run.stderr}"
        return run.stdout

    def get(self, *words: str) -> Any:
        return json.loads(self.run("get", *words, "-o", "json"))

    def apply(self, name: str, **spec: Any) -> None:
        whole = {"nodeName": NODE, "flavour": "mlx5", "parent": {"device": PARENT}, **spec}
        manifest = {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunction", "metadata": {"name": name}}
        self.run("apply", "-f", "-", manifest={**manifest, "spec": whole})

    def ready(self, name: str) -> dict[str, str]:
        conditions = self.get("sf", name).get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == "Ready"), {})

    def wait(self, name: str) -> None:
        self.run("wait", "--for=condition=Ready", f"sf/{name}", f"--timeout={PATIENCE}s")

    def delete(self, *names: str) -> None:
        self.run("delete", "sf", *names, "--timeout=60s")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    kubeconfig = tmp_path_factory.mktemp("cluster") / "kubeconfig"
    command = [sys.executable, "-m", "subfunction_simulator", "apiserver", "--kubeconfig", str(kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            until(kubeconfig.exists, bool, timeout=30)
            yield Cluster(kubeconfig)
        finally:
            server.terminate()


@contextlib.contextmanager
def programs(machine: Machine, cluster: Cluster) -> Iterator[dict[str, Process]]:
    """The three programs of a node, in the machine, with a way to the API server on the host."""
    kubeconfig = Path(cluster.environment["KUBECONFIG"]).read_text()
    (machine.place.share / "kubeconfig").write_text(kubeconfig.replace("127.0.0.1", HOST))
    where = ["--kubeconfig", "/run/share/kubeconfig", "--node-name", NODE]
    running = {
        "kubelet": ("subfunction_simulator", ["kubelet", "--root", "/var/lib/kubelet", *where]),
        "agent": ("subfunction_operator", ["agent", *where, "--usage-interval", "1"]),
        "plugin": ("subfunction_deviceplugin", []),
    }
    machine.run("mkdir -p /var/lib && mount -t tmpfs tmpfs /var/lib", check=False)
    processes = {name: machine.spawn(module=module, args=args, name=name) for name, (module, args) in running.items()}
    try:
        yield processes
    finally:
        for process in reversed(processes.values()):
            process.signal(15)
        for process in processes.values():
            process.wait()


@pytest.fixture(scope="module")
def node(mlx5_machine: Machine, cluster: Cluster) -> Iterator[Mlx5]:
    with fresh(mlx5_machine) as mlx5, programs(mlx5_machine, cluster):
        yield mlx5


@pytest.fixture(autouse=True)
def _gone_afterwards(node: Mlx5, cluster: Cluster) -> Iterator[None]:
    yield
    cluster.run("delete", "sf", "--all", "--timeout=60s")
    assert node.ports("pcisf") == {}


def kernel(machine: Machine) -> str:
    return machine.run(
        "devlink port show; ls /sys/bus/auxiliary/devices /sys/class/infiniband_verbs /sys/class/net"
    ).stdout


def settled(machine: Machine) -> str:
    """The kernel, once it has let go of what was deleted: mlx5 frees a function's device after the port."""
    seen = kernel(machine)
    for _ in range(50):
        time.sleep(0.1)
        if (now := kernel(machine)) == seen:
            return now
        seen = now
    return seen


class TestFromManifestToPod:
    def test_apply_makes_the_sub_function_and_delete_leaves_the_kernel_as_before(
        self, node: Mlx5, cluster: Cluster
    ) -> None:
        before = settled(node.machine)
        cluster.apply("blue", macAddress=MAC)
        cluster.wait("blue")
        status = cluster.get("sf", "blue")["status"]
        port = node.port(f"{status['parent']}/{status['port']}")
        assert (port["function"]["state"], port["function"]["opstate"]) == ("active", "attached")
        assert port["function"]["hw_addr"] == MAC
        assert list(port["function"]["nested_devlink"]) == [f"auxiliary/{status['device']['id']}"]
        assert port["netdev"] == status["representor"]
        assert "UP" in node.machine.run(f"ip link show {port['netdev']}").stdout
        assert MAC in node.machine.run(f"ip link show {status['device']['netdev']}").stdout
        cluster.delete("blue")
        assert until(lambda: kernel(node.machine), lambda now: now == before) == before

    def test_a_pod_that_asks_gets_the_verbs_device_that_exists(self, node: Mlx5, cluster: Cluster) -> None:
        cluster.apply("green", macAddress=MAC)
        cluster.wait("green")
        uid = cluster.get("sf", "green")["metadata"]["uid"]
        until(
            lambda: cluster.get("node", NODE)["status"].get("allocatable", {}),
            lambda seen: seen.get("subfunction.dev/mlx5") == "1",
            30,
        )
        container = {"name": "main", "image": "none", "resources": {"limits": {"subfunction.dev/mlx5": "1"}}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "worker", "namespace": "default"}}
        cluster.run("apply", "-f", "-", manifest={**pod, "spec": {"nodeName": NODE, "containers": [container]}})
        cluster.run("wait", "--for=jsonpath={.status.phase}=Running", "pod/worker", "--timeout=30s")
        got = json.loads(node.machine.run("cat /var/lib/kubelet/pods/default_worker/main.json").stdout)
        assert got["env"]["SUBFUNCTION_UID"] == uid
        assert got["env"]["SUBFUNCTION_MAC"] == MAC
        assert got["env"]["PCIDEVICE_SUBFUNCTION_DEV_MLX5"] == got["env"]["SUBFUNCTION_DEVICE"]
        verbs = [device for device in got["devices"] if "uverbs" in json.dumps(device)]
        assert len(verbs) == 1
        # The physical functions have nodes too.
        name = node.machine.run(f"ls {AUX}/{got['env']['SUBFUNCTION_DEVICE']}/infiniband_verbs").stdout.strip()
        assert f'"/dev/infiniband/{name}"' in json.dumps(verbs)
        node.machine.run(f"test -c /dev/infiniband/{name}")

        cluster.run("delete", "sf", "green", "--wait=false")
        until(lambda: cluster.ready("green"), lambda ready: "default/worker" in ready.get("message", ""), 30)
        assert node.ports("pcisf"), "it was taken from the pod"
        cluster.run("delete", "pod", "worker", "--timeout=30s")
        cluster.run("wait", "--for=delete", "sf/green", "--timeout=60s")
        assert node.ports("pcisf") == {}

    def test_a_port_deleted_by_somebody_is_made_again_with_its_number_and_mac(
        self, node: Mlx5, cluster: Cluster
    ) -> None:
        cluster.apply("red", macAddress=MAC, number=77)
        cluster.wait("red")
        (handle,) = node.ports("pcisf")
        node.delete(handle)
        remade = until(lambda: list(node.ports("pcisf").values()), _attached, 30)
        assert (remade[0]["sfnum"], remade[0]["function"]["hw_addr"]) == (77, MAC)
        cluster.wait("red")
        cluster.delete("red")


def _attached(ports: list[Any]) -> bool:
    return len(ports) == 1 and ports[0]["function"]["opstate"] == "attached"


class TestWhatCannotBeHad:
    """Each is on the object: a reason, the kernel's own text, what to type; and nothing half-made is left."""

    def refused(self, cluster: Cluster, name: str, reason: str) -> str:
        ready = until(lambda: cluster.ready(name), lambda ready: ready.get("reason") == reason, 30)
        assert ready["status"] == "False"
        return ready["message"]

    def test_a_parent_in_legacy_mode_says_so_and_is_taken_up_when_a_person_switches_it(
        self, node: Mlx5, cluster: Cluster
    ) -> None:
        second = "pci/0000:05:00.1"
        node.machine.run(f"devlink dev eswitch set {second} mode legacy")
        cluster.apply("legacy", parent={"device": second})
        message = self.refused(cluster, "legacy", "NotSwitchdev")
        assert f"the e-switch of {second} is in legacy mode" in message
        assert f"devlink dev eswitch set {second} mode switchdev" in message
        assert node.ports("pcisf") == {}
        node.machine.run(f"devlink dev eswitch set {second} mode switchdev")
        cluster.run("wait", "--for=condition=Ready", "sf/legacy", "--timeout=60s")

    def test_an_absent_parent_is_named(self, cluster: Cluster) -> None:
        cluster.apply("absent", parent={"device": "pci/0000:99:00.0"})
        message = self.refused(cluster, "absent", "ParentNotFound")
        assert "pci/0000:99:00.0" in message
        assert "devlink dev show" in message

    def test_a_number_that_somebody_else_has_stays_his(self, node: Mlx5, cluster: Cluster) -> None:
        foreign = node.add(PARENT, 5)
        cluster.apply("taken", number=5)
        message = self.refused(cluster, "taken", "Foreign")
        assert foreign in message
        assert list(node.ports("pcisf")) == [foreign]
        node.delete(foreign)

    def test_a_full_parent_says_full(self, node: Mlx5, cluster: Cluster) -> None:
        with loaded_anew(node, cluster, max_sfs=1):
            cluster.apply("first")
            cluster.wait("first")
            cluster.apply("second")
            message = self.refused(cluster, "second", "Full")
            assert "No space left on device" in message
            assert "devlink resource show" in message
            cluster.run("delete", "sf", "first", "--timeout=60s")
            cluster.run("wait", "--for=condition=Ready", "sf/second", "--timeout=60s")

    def test_a_firmware_without_sub_functions_says_so_in_the_drivers_own_words(
        self, node: Mlx5, cluster: Cluster
    ) -> None:
        with loaded_anew(node, cluster, max_sfs=0):
            cluster.apply("old")
            message = self.refused(cluster, "old", "KernelTooOld")
            assert "SF ports are not supported" in message
            assert "PF_TOTAL_SF" in message
            assert "CONFIG_MLX5_SF" not in message


@contextlib.contextmanager
def loaded_anew(node: Mlx5, cluster: Cluster, max_sfs: int) -> Iterator[None]:
    """Other firmware, with so many sub-functions for each physical function, until the end of the block."""
    node.unload()
    node.load(max_sfs=max_sfs)
    node.reset()
    try:
        yield
    finally:
        cluster.run("delete", "sf", "--all", "--timeout=60s")
        node.unload()
        node.load()
        node.reset()
