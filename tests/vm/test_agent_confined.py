"""The agent with what its DaemonSet gives it, on the real kernel: that it is enough, and that one less is not.

Sub-functions and vDPA devices are of the real mlx5 driver; test_agent_confined_vfio.py has the other kinds.

uid 0 with NET_ADMIN and no other capability, no_new_privs, the host's network, a read-only root and a read-only /sys of
its own, the host's at /host/sys, and the folders of the chart. The guest has no container runtime: seccomp and AppArmor
are not shown here.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from confined_node import PATIENCE, assert_refused, assert_witnessed, with_it_mended
from conftest import fresh
from harness.holder import held, release
from harness.machine import Machine
from harness.mlx5 import Mlx5
from node_in_vm import PARENT, Cluster, Node, api_server, running

MAC, OTHER_MAC = "02:53:46:00:00:01", "02:53:46:00:00:02"
NET_ADMIN = 1 << 12
IN_ANOTHER_NETWORK = """
import ctypes, json
assert ctypes.CDLL(None).unshare(0x40000000) == 0  # CLONE_NEWNET
import life
print(json.dumps(life.run(life.wanted(deleting=False))))
"""
WRITABLE = {
    "/run/subfunction/devices",
    "/var/lib/subfunction",
    "/var/run/cdi",
    "/var/run/k8s.cni.cncf.io/devinfo/dp",
    "/host/sys",
    "/tmp",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with api_server() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def nic(mlx5_machine: Machine) -> Iterator[Mlx5]:
    with fresh(mlx5_machine) as mlx5:
        yield mlx5


@pytest.fixture(scope="class")
def node(nic: Mlx5, cluster: Cluster) -> Iterator[Node]:
    """A node whose agent has all that the chart gives it."""
    with running(nic, cluster, confinement={}, listen="127.0.0.1:9341", usage_interval="1") as node:
        yield node


class TestWhatItHasIsEnough:
    @pytest.fixture(autouse=True)
    def _left_empty(self, node: Node) -> Iterator[None]:
        yield
        node.empty()

    def test_it_has_one_capability_and_writes_to_the_charts_folders_alone(self, node: Node) -> None:
        node.until(
            lambda: node.machine.run("wget -qO- http://127.0.0.1:9341/readyz", check=False).stdout, bool, PATIENCE
        )
        # kopf asks who runs it, and no /etc/passwd names uid 0 here.
        assert "subfunction_watch_restarts_total 0.0" in node.shell("wget -qO- http://127.0.0.1:9341/metrics")
        own = f"/proc/{node.agents[-1].pid}"
        status = dict(line.split(":\t", 1) for line in node.shell(f"cat {own}/status").splitlines())
        sets = {name: int(status[name], 16) for name in ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")}
        assert sets == {"CapBnd": NET_ADMIN, "CapPrm": NET_ADMIN, "CapEff": NET_ADMIN, "CapInh": 0, "CapAmb": 0}
        assert (status["NoNewPrivs"], status["Uid"].split()[0]) == ("1", "0")
        mounts = [line.split() for line in node.shell(f"cat {own}/mountinfo").splitlines()]
        writable = {place for _, _, _, _, place, options, *_ in mounts if "rw" in options.split(",")}
        assert writable == {*WRITABLE, "/proc", "/dev/null", "/dev/urandom"}
        assert {options.split(",")[0] for _, _, _, _, place, options, *_ in mounts if place in {"/", "/sys"}} == {"ro"}
        node.shell(f"test $(readlink {own}/ns/net) = $(readlink /proc/1/ns/net)")
        node.shell(f"test $(readlink {own}/ns/mnt) != $(readlink /proc/1/ns/mnt)")

    def test_a_native_sub_function_lives_its_whole_life(self, node: Node) -> None:
        node.shell("ip link add br0 type bridge && ip link set br0 up")
        spec = {
            "macAddress": MAC,
            "mtu": 1400,
            "capabilities": {"roce": True, "maxIOEventQueues": 8},
            "rate": {"maxBitsPerSecond": 100_000_000},
            "representor": {"bridge": "br0", "mtu": 1450},
        }
        status = node.made("blue", **spec)
        function = node.port(status)["function"]
        assert (function["hw_addr"], function["state"], function["opstate"]) == (MAC, "active", "attached")
        netdev, representor = status["device"]["netdev"], status["representor"]
        assert "mtu 1400 " in node.shell(f"ip link show {netdev}")
        shown = node.shell(f"ip link show {representor}")
        assert "mtu 1450 " in shown
        assert "master br0" in shown
        assert_witnessed(node)
        node.cluster.apply("blue", **{**spec, "macAddress": OTHER_MAC, "mtu": 1300})
        changed = node.until_ready("blue")
        assert node.port(changed)["function"]["hw_addr"] == OTHER_MAC
        assert "mtu 1300 " in node.shell(f"ip link show {changed['device']['netdev']}")
        node.removed("blue")
        node.shell("ip link del br0")
        assert node.nic.ports("pcisf") == {}

    @pytest.mark.parametrize("driver", ["vhost-vdpa", "virtio-vdpa"])
    def test_a_vdpa_device_is_made_bound_drained_and_removed(self, node: Node, driver: str) -> None:
        status = node.made("blue", flavour="virtio", virtio={"driver": driver}, macAddress=MAC)
        name, vdpa = status["device"]["id"], node.nic.vdpa
        assert vdpa.driver(name) == driver.replace("-", "_")
        assert_witnessed(node)
        if driver == "vhost-vdpa":
            with held(node.machine, vdpa.node(name)) as holder:
                node.cluster.delete("blue")
                assert f"has {name} open" in node.until_refused("blue", "HeldOpen", 20)
                release(holder)
                node.until_gone("blue", timeout=20)
        else:
            node.removed("blue")
        assert vdpa.devices() == {}
        assert node.nic.ports("pcisf") == {}


class TestOneLessIsNot:
    """What is refused stands on the object: which privilege is missing, and what of the manifest gives it."""

    def test_without_net_admin_nothing_is_made_and_the_object_says_why(self, nic: Mlx5, cluster: Cluster) -> None:
        specs: dict[str, dict[str, Any]] = {"native": {}, "vdpa": {"flavour": "virtio"}}
        with running(nic, cluster, confinement={"keeps": []}) as node:
            node.cluster.apply_all(specs)
            for name in specs:
                said = ("Operation not permitted", "`capabilities: {add: [NET_ADMIN]}`", "`hostUsers: true`")
                assert_refused(node, name, *said)
            assert node.nic.ports("pcisf") == {}
            with_it_mended(node, specs)

    def test_without_the_hosts_network_there_is_no_parent_and_the_message_says_why(self, nic: Mlx5) -> None:
        env = {
            "PYTHONPATH": "/src/tests/vm/programs",
            "SPEC": json.dumps({"flavour": "mlx5", "parent": {"device": PARENT}}),
        }
        told = json.loads(nic.machine.python(IN_ANOTHER_NETWORK, env=env).stdout)
        assert "devlink shows no instance" in told["error"]
        assert "`hostNetwork: true`" in told["error"]

    def test_with_a_read_only_host_sys_the_object_says_which_mount_it_is(self, nic: Mlx5, cluster: Cluster) -> None:
        with running(nic, cluster, confinement={"sysfs": "ro"}) as node:
            # vhost_vdpa takes it by itself: for the other driver it must be told.
            specs = {"vdpa": {"flavour": "virtio", "virtio": {"driver": "virtio-vdpa"}}}
            node.cluster.apply_all(specs)
            assert_refused(node, "vdpa", "Read-only file system", "`{name: sys, mountPath: /host/sys}`")
            # What needs no write to sysfs is had all the same.
            node.made("native")
            node.removed("native")
            with_it_mended(node, specs)
