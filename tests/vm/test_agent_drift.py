"""What somebody breaks is mended because the kernel announces it: the agent's resync is an hour away.

The promise is a second, and kept where it can be measured (tests/agent/triggers/test_drift.py, on the simulated
kernel); a kernel emulated by TCG on a busy host takes about a second itself to make a function.
"""

import operator
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest

from conftest import fresh
from harness.machine import Machine
from harness.nic import AUX
from node_in_vm import PCI, Node, api_server, running

MAC = "02:53:46:00:00:01"
BOUND = 12.0
"""Seconds; far less than anything that the agent looks at by the clock in these tests."""

NATIVE: dict[str, Any] = {"macAddress": MAC, "number": 77, "mtu": 1400}
VHOST: dict[str, Any] = {"flavour": "virtio", "macAddress": MAC, "number": 77}


@pytest.fixture(scope="module")
def node(mlx5_machine: Machine) -> Iterator[Node]:
    with api_server() as cluster, fresh(mlx5_machine) as mlx5, running(mlx5, cluster) as node:
        yield node


@pytest.fixture(autouse=True)
def _left_empty(node: Node) -> Iterator[None]:
    yield
    node.shell("ip netns del pod 2>/dev/null || true")
    node.empty()


Status = Mapping[str, Any]

ACTIVATED = {"ENABLE_HCA": 3}
"""What the firmware is asked when a port is activated: then, at its driver's probe, and at the reload by which it comes
up. One whose driver was unbound is activated anew: bound again, it could not be reloaded."""
MADE = {"ALLOC_SF": 1, **ACTIVATED}
"""When a port is made besides."""


def port_deleted(node: Node, status: Status) -> None:
    node.nic.delete(f"{status['parent']}/{status['port']}")


def deactivated(node: Node, status: Status) -> None:
    node.nic.set(f"{status['parent']}/{status['port']}", "state", "inactive")


def unbound(node: Node, status: Status) -> None:
    function = node.nic.devlink("port", "show", f"{status['parent']}/{status['port']}")["port"]
    (port,) = function.values()
    (instance,) = port["function"]["nested_devlink"]
    name = str(instance).removeprefix("auxiliary/")
    node.shell(f"echo {name} > {AUX}/{name}/driver/unbind")


def lost_by_firmware(node: Node, status: Status) -> None:
    node.mlx5.faults(PCI).lose(status["number"])


def vdpa_deleted(node: Node, status: Status) -> None:
    node.nic.vdpa.delete(status["device"]["id"])


def vdpa_unbound(node: Node, status: Status) -> None:
    node.shell(f"echo {status['device']['id']} > /sys/bus/vdpa/drivers/vhost_vdpa/unbind")


def vdpa_taken(node: Node, status: Status) -> None:
    node.nic.vdpa.bind(status["device"]["id"], "virtio_vdpa")


def representor_down(node: Node, status: Status) -> None:
    node.shell(f"ip link set {status['representor']} down")


def mtu_changed(node: Node, status: Status) -> None:
    node.shell(f"ip link set {status['device']['netdev']} mtu 1300")


def whole(node: Node, spec: Mapping[str, Any]) -> bool:
    """Whether iproute2 and sysfs show one sub-function, all of it, as the spec has it."""
    ports = list(node.nic.ports("pcisf").values())
    if len(ports) != 1:
        return False
    (port,) = ports
    function, representor = port["function"], port.get("netdev")
    said = (port["sfnum"], function["hw_addr"], function["state"], function["opstate"])
    if said != (77, MAC, "active", "attached") or representor is None or "nested_devlink" not in function:
        return False
    if "UP" not in node.machine.run(f"ip link show {representor}", check=False).stdout:
        return False
    if spec.get("flavour") == "virtio":
        return [node.nic.vdpa.driver(name) for name in node.nic.vdpa.devices()] == ["vhost_vdpa"]
    name = str(next(iter(function["nested_devlink"]))).removeprefix("auxiliary/")
    seen = node.machine.run(f"cat {AUX}/{name}/net/*/address {AUX}/{name}/net/*/mtu", check=False).stdout.split()
    return seen == [MAC, "1400"] and bool(node.machine.run(f"ls {AUX}/{name}/infiniband_verbs", check=False).stdout)


@pytest.mark.parametrize(
    ("happens", "spec", "asked"),
    [
        (port_deleted, NATIVE, MADE),
        (deactivated, NATIVE, ACTIVATED),
        (lost_by_firmware, NATIVE, MADE),
        (unbound, NATIVE, ACTIVATED),
        (representor_down, NATIVE, {}),
        (mtu_changed, NATIVE, {}),
        (port_deleted, VHOST, MADE),
        (deactivated, VHOST, ACTIVATED),
        (vdpa_deleted, VHOST, {}),
        (vdpa_unbound, VHOST, {}),
        (vdpa_taken, VHOST, {}),
    ],
    ids=lambda value: value.__name__ if callable(value) else value.get("flavour", "mlx5") if "number" in value else "",
)
def test_what_somebody_breaks_is_whole_again_soon_and_by_no_more_than_it_takes(
    node: Node, happens: Callable[[Node, Status], None], spec: dict[str, Any], asked: dict[str, int]
) -> None:
    status = node.made("blue", **spec)
    assert whole(node, spec)
    faults = node.mlx5.faults(PCI)
    faults.forget()
    happens(node, status)
    broken = time.monotonic()
    node.until(partial(whole, node, spec), bool, 30)
    took = time.monotonic() - broken
    after = node.until_ready("blue")
    assert (after["number"], after["macAddress"]) == (77, MAC)
    counts = {name: calls for name, (calls, _) in faults.counts().items() if name in MADE}
    assert counts == asked
    assert took < BOUND


def test_a_netdev_that_is_renamed_is_shown_under_its_new_name(node: Node) -> None:
    status = node.made("blue", **NATIVE)
    node.shell(f"ip link set {status['device']['netdev']} name pf0sf77")
    node.until(lambda: node.status("blue"), lambda now: now["device"]["netdev"] == "pf0sf77", BOUND)


def address_and_mtu(node: Node, name: str) -> list[str]:
    folder = f"/sys/class/net/{name}"
    return node.machine.run(f"cat {folder}/address {folder}/mtu", check=False).stdout.split()


def lent(node: Node) -> bool:
    return '"lent": true' in node.shell("cat /run/subfunction/devices/*.json")


@pytest.mark.parametrize(
    "inside",
    ["true", "ip link set eth0 mtu 1300", "ip link set eth0 up", "ip link set eth0 address 02:00:00:00:00:99"],
    ids=["renamed", "another MTU", "up", "another address"],
)
def test_a_netdev_that_comes_back_from_a_namespace_that_ended_is_as_recorded(node: Node, inside: str) -> None:
    status = node.made("blue", **NATIVE)
    name = status["device"]["netdev"]
    node.shell(f"ip netns add pod; ip link set {name} netns pod name eth0; ip netns exec pod {inside}")
    node.until(partial(lent, node), bool, BOUND)
    assert node.cluster.ready("blue")["status"] == "True"
    node.shell("ip netns del pod")
    node.until(partial(address_and_mtu, node, name), lambda seen: seen == [MAC, "1400"], BOUND)
    node.until(partial(lent, node), operator.not_, BOUND)
    node.until(lambda: node.status("blue"), lambda now: now["device"] == status["device"], BOUND)
    assert node.cluster.ready("blue")["status"] == "True"
