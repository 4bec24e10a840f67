"""What a spec asks of a sub-function, as iproute2 shows it, at first and when it changes; and frames that pass."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from conftest import fresh
from harness.machine import Machine
from harness.nic import AUX
from node_in_vm import Node, api_server, running

MAC = "02:53:46:00:00:01"
MEGABIT = 1_000_000


@pytest.fixture(scope="module")
def node(mlx5_machine: Machine) -> Iterator[Node]:
    with api_server() as cluster, fresh(mlx5_machine) as mlx5, running(mlx5, cluster) as node:
        yield node


@pytest.fixture(autouse=True)
def _left_empty(node: Node) -> Iterator[None]:
    yield
    node.shell("for name in $(ip netns list | cut -d' ' -f1); do ip netns del $name; done")
    node.shell("ip link del br0 2>/dev/null || true")
    node.empty()


def link(node: Node, name: str) -> Mapping[str, str]:
    """A link by the kernel's own files."""
    folder = f"/sys/class/net/{name}"
    said = node.shell(f"cd {folder}; cat address mtu flags; basename $(readlink master || echo none)").split()
    return {"mac": said[0], "mtu": said[1], "up": str(bool(int(said[2], 16) & 1)), "master": said[3]}


def rates(node: Node, status: Mapping[str, Any]) -> tuple[int, int]:
    """Share and maximum in bytes a second, as `devlink port function rate show` has them."""
    shown = node.nic.devlink("port", "function", "rate", "show")["rate"]
    rate = shown[f"{status['parent']}/{status['port']}"]
    return rate.get("tx_share", 0), rate.get("tx_max", 0)


class TestWhatIsAskedAtFirst:
    def test_all_of_it_is_in_the_kernel_when_the_object_says_ready(self, node: Node) -> None:
        node.shell("ip link add br0 type bridge")
        status = node.made(
            "blue",
            macAddress=MAC,
            mtu=1400,
            number=77,
            capabilities={"roce": False, "maxIOEventQueues": 4},
            mlx5={"rdma": False},
            rate={"shareBitsPerSecond": 100 * MEGABIT, "maxBitsPerSecond": 1000 * MEGABIT},
            representor={"mtu": 1450, "bridge": "br0"},
        )
        port = node.port(status)
        function = port["function"]
        assert (port["sfnum"], function["hw_addr"], function["state"]) == (77, MAC, "active")
        assert (function["roce"], function["max_io_eqs"]) == ("disable", 4)
        assert rates(node, status) == (100 * MEGABIT // 8, 1000 * MEGABIT // 8)
        netdev = link(node, status["device"]["netdev"])
        assert (netdev["mac"], netdev["mtu"]) == (MAC, "1400")
        assert status["representor"] == port["netdev"]
        representor = link(node, port["netdev"])
        assert (representor["up"], representor["mtu"], representor["master"]) == ("True", "1450", "br0")
        assert not node.shell(f"ls {AUX}/{status['device']['id']} | grep infiniband || true")

    def test_without_a_word_it_has_an_address_of_its_own_that_stays(self, node: Node) -> None:
        first, second = node.made("blue"), node.made("green")
        macs = [node.port(status)["function"]["hw_addr"] for status in (first, second)]
        assert macs == [first["macAddress"], second["macAddress"]]
        assert len(set(macs)) == 2
        assert rates(node, first) == (0, 0)


class TestWhatChanges:
    def test_rate_mtu_and_representor_follow_without_taking_it_down(self, node: Node) -> None:
        status = node.made("blue", rate={"maxBitsPerSecond": 1000 * MEGABIT})
        node.mlx5.faults("0000:05:00.0").forget()
        changed = node.made(
            "blue",
            mtu=1300,
            rate={"maxBitsPerSecond": 500 * MEGABIT},
            representor={"adminState": "down", "mtu": 1350},
        )
        assert changed["device"] == status["device"]
        assert rates(node, status) == (0, 500 * MEGABIT // 8)
        assert link(node, status["device"]["netdev"])["mtu"] == "1300"
        representor = link(node, status["representor"])
        assert (representor["up"], representor["mtu"]) == ("False", "1350")
        node.made("blue")
        assert rates(node, status) == (0, 0)
        assert link(node, status["representor"])["up"] == "True"
        asked = node.mlx5.faults("0000:05:00.0").counts().keys()
        assert asked & {"MODIFY_SCHEDULING_ELEMENT", "CREATE_SCHEDULING_ELEMENT"}
        assert not asked & {"ENABLE_HCA", "DISABLE_HCA", "INIT_HCA", "MODIFY_VHCA_STATE"}

    def test_a_new_address_is_set_by_taking_it_down_and_up_again(self, node: Node) -> None:
        before = node.made("blue")
        after = node.made("blue", macAddress=MAC)
        assert (after["port"], after["number"]) == (before["port"], before["number"])
        assert node.port(after)["function"]["hw_addr"] == MAC
        assert link(node, after["device"]["netdev"])["mac"] == MAC


def test_a_bridge_that_is_missing_is_named_and_taken_when_it_is_made(node: Node) -> None:
    node.cluster.apply("blue", representor={"bridge": "br0"})
    message = node.until_refused("blue", "BridgeNotFound")
    assert "ip link add br0 type bridge" in message
    node.shell("ip link add br0 type bridge")
    status = node.until_ready("blue", 10)
    assert link(node, status["representor"])["master"] == "br0"
