"""The agent with what its DaemonSet gives it, on the real kernel: that it is enough, and that one less is not.

uid 0 with NET_ADMIN and no other capability, no_new_privs, the host's network, a read-only root and a read-only /sys of
its own, the host's at /host/sys, and the folders of the chart. The guest has no container runtime: seccomp and AppArmor
are not shown here.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from conftest import loaded
from harness.holder import held, release
from harness.machine import Machine
from harness.sfsim import Sfsim
from node_in_vm import PARENT, PCI, Cluster, Node, api_server, running

CARD = "0000:41:00.0"
MAC, OTHER_MAC = "02:53:46:00:00:01", "02:53:46:00:00:02"
KIND = "mlx5_core-local"
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
def nic(iommu_machine: Machine) -> Iterator[Sfsim]:
    """A machine for every flavour: with an IOMMU, virtual functions, and parents that offer mediated devices."""
    with loaded(iommu_machine, switchdev=1, mdev=1) as sfsim:
        sfsim.virtual_functions(CARD).make(2)
        yield sfsim


@pytest.fixture(scope="class")
def node(nic: Sfsim, cluster: Cluster) -> Iterator[Node]:
    """A node whose agent has all that the chart gives it."""
    with running(nic, cluster, confinement={}, listen="127.0.0.1:9341", usage_interval="1") as node:
        yield node


class TestWhatItHasIsEnough:
    @pytest.fixture(autouse=True)
    def _left_empty(self, node: Node) -> Iterator[None]:
        yield
        node.empty()

    def test_it_has_one_capability_and_writes_to_the_charts_folders_alone(self, node: Node) -> None:
        node.until(lambda: node.machine.run("wget -qO- http://127.0.0.1:9341/readyz", check=False).stdout, bool)
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
        assert node.sfsim.ports("pcisf") == {}

    @pytest.mark.parametrize("driver", ["vhost-vdpa", "virtio-vdpa"])
    def test_a_vdpa_device_is_made_bound_drained_and_removed(self, node: Node, driver: str) -> None:
        status = node.made("blue", flavour="virtio", virtio={"driver": driver}, macAddress=MAC)
        name, vdpa = status["device"]["id"], node.sfsim.vdpa
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
        assert node.sfsim.ports("pcisf") == {}

    def test_a_virtual_function_is_bound_and_given_back(self, node: Node) -> None:
        functions = node.sfsim.virtual_functions(CARD)
        address = functions.addresses()[1]
        before = (functions.driver(address), node.sfsim.ports("pcivf"))
        spec = {"parent": {"device": f"pci/{CARD}"}, "vfio": {"virtualFunction": 1}, "macAddress": MAC}
        assert node.made("blue", flavour="vfio", **spec)["device"]["id"] == address
        assert functions.driver(address) == "vfio-pci"
        assert_witnessed(node)
        node.removed("blue")
        assert (functions.driver(address), node.sfsim.ports("pcivf")) == before

    def test_a_mediated_device_is_made_and_removed(self, node: Node) -> None:
        left = node.sfsim.mediated.available(PCI, KIND)
        uuid = node.made("blue", flavour="vfio", vfio={"mediatedDevice": KIND})["device"]["id"]
        assert node.sfsim.mediated.exists(uuid)
        assert_witnessed(node)
        node.removed("blue")
        assert node.sfsim.mediated.available(PCI, KIND) == left


def assert_witnessed(node: Node) -> None:
    """Whoever sees the same sysfs at /sys finds what the agent recorded at /host/sys."""
    record = record_of(node)
    assert record["state"] == "ready"
    witness = record["witness"]
    assert witness["inodes"]
    for path, inode in witness["inodes"].items():
        assert not path.startswith("/")
        assert node.shell(f"stat -L -c %i '/sys/{path}'").strip() == str(inode)
    for path, target in witness.get("links", {}).items():
        assert node.shell(f"readlink '/sys/{path}'").strip() == target
    for path, number in witness.get("numbers", {}).items():
        assert node.shell(f"cat '/sys/{path}'").strip() == number
    assert "/host/sys" not in json.dumps(record)


def record_of(node: Node) -> Mapping[str, Any]:
    record: Mapping[str, Any] = json.loads(node.shell("cat /run/subfunction/devices/*.json"))
    return record


class TestOneLessIsNot:
    """What is refused stands on the object: which privilege is missing, and what of the manifest gives it."""

    def test_without_net_admin_nothing_is_made_and_the_object_says_why(self, nic: Sfsim, cluster: Cluster) -> None:
        specs: dict[str, dict[str, Any]] = {"native": {}, "vdpa": {"flavour": "virtio"}}
        with running(nic, cluster, confinement={"keeps": []}) as node:
            node.cluster.apply_all(specs)
            for name in specs:
                message = node.until_refused(name, "NotPermitted")
                assert "Operation not permitted" in message
                assert "`capabilities: {add: [NET_ADMIN]}`" in message
                assert "`hostUsers: true`" in message
            assert node.sfsim.ports("pcisf") == {}
            with_it_mended(node, specs)

    def test_without_the_hosts_network_there_is_no_parent_and_the_message_says_why(self, nic: Sfsim) -> None:
        env = {
            "PYTHONPATH": "/src/tests/vm/programs",
            "SPEC": json.dumps({"flavour": "mlx5", "parent": {"device": PARENT}}),
        }
        told = json.loads(nic.machine.python(IN_ANOTHER_NETWORK, env=env).stdout)
        assert "devlink shows no physical port" in told["error"]
        assert "`hostNetwork: true`" in told["error"]

    def test_with_a_read_only_host_sys_the_object_says_which_mount_it_is(self, nic: Sfsim, cluster: Cluster) -> None:
        with running(nic, cluster, confinement={"sysfs": "ro"}) as node:
            functions = node.sfsim.virtual_functions(CARD)
            before = [functions.driver(address) for address in functions.addresses()]
            specs: dict[str, dict[str, Any]] = {
                # vhost_vdpa takes it by itself: for the other driver it must be told.
                "vdpa": {"flavour": "virtio", "virtio": {"driver": "virtio-vdpa"}},
                "function": {"flavour": "vfio", "parent": {"device": f"pci/{CARD}"}, "vfio": {"virtualFunction": 0}},
                "mediated": {"flavour": "vfio", "vfio": {"mediatedDevice": KIND}},
            }
            node.cluster.apply_all(specs)
            for name in specs:
                message = node.until_refused(name, "NotPermitted")
                assert "Read-only file system" in message
                assert "`{name: sys, mountPath: /host/sys}`" in message
            # What needs no write to sysfs is had all the same.
            node.made("native")
            node.removed("native")
            assert [functions.driver(address) for address in functions.addresses()] == before
            with_it_mended(node, specs)


def with_it_mended(node: Node, specs: Mapping[str, Any]) -> None:
    """Roll out the manifest as it should be: what was refused goes on by itself."""
    node.agents[-1].signal(15)
    node.agents[-1].wait()
    node.confinement = {}
    node.start_agent()
    for name in specs:
        node.until_ready(name)
    node.removed(*specs)
