"""Frames between a representor and the netdev of its sub-function, made by the agent.

On sfsim as `ice`: the emulated firmware under the real mlx5 driver moves none.
"""

from collections.abc import Iterator

import pytest

from conftest import loaded
from harness.machine import Machine
from node_in_vm import Node, api_server, running

pytestmark = pytest.mark.ground("sfsim ice")


@pytest.fixture(scope="module")
def node(machine: Machine) -> Iterator[Node]:
    with (
        api_server() as cluster,
        loaded(machine, switchdev=1, personality="ice") as sfsim,
        running(sfsim, cluster) as node,
    ):
        yield node


@pytest.fixture(autouse=True)
def _left_empty(node: Node) -> Iterator[None]:
    yield
    node.shell("ip netns del pod 2>/dev/null || true; ip link del br0 2>/dev/null || true")
    node.empty()


@pytest.mark.parametrize("bridge", ["br0", None], ids=["through a bridge", "at the representor"])
def test_a_ping_passes_from_the_representors_side_to_a_pods_namespace(node: Node, bridge: str | None) -> None:
    node.shell("ip link add br0 type bridge")
    status = node.made(
        "blue", flavour="ice", mtu=1400, representor={"mtu": 1400, **({"bridge": bridge} if bridge else {})}
    )
    near = bridge or status["representor"]
    node.shell(
        f"set -e; ip netns add pod; ip link set {status['device']['netdev']} netns pod name eth0\n"
        "ip -n pod address add 192.0.2.2/24 dev eth0; ip -n pod link set eth0 up\n"
        f"ip address add 192.0.2.1/24 dev {near}; ip link set {near} up"
    )
    for size in (56, 1400 - 28):
        assert " 0% packet loss" in node.shell(f"ping -c 1 -W 5 -s {size} 192.0.2.2")
    assert node.cluster.ready("blue")["status"] == "True"
