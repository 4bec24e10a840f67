"""A vhost device that a process has open, deleted by a person: nobody waits but its deletion. On the real kernel."""

import time
from collections.abc import Iterator

import pytest

from conftest import fresh
from harness.holder import held, release
from harness.machine import Machine
from node_in_vm import Node, api_server, running

ANSWER = 2.0
QUESTIONS = ("devlink dev show", "devlink port show", "vdpa dev show", "vdpa mgmtdev show", "ip link show")


@pytest.fixture(scope="module")
def node(mlx5_machine: Machine) -> Iterator[Node]:
    with api_server() as cluster, fresh(mlx5_machine) as mlx5, running(mlx5, cluster) as node:
        yield node


@pytest.fixture(autouse=True)
def _left_empty(node: Node) -> Iterator[None]:
    yield
    node.empty()


def assert_answers(node: Node) -> None:
    """Each question of an administrator is answered in time, while the kernel waits for a holder."""
    for question in QUESTIONS:
        began = time.monotonic()
        node.machine.run(f"timeout {ANSWER} {question}")
        assert time.monotonic() - began < 2 * ANSWER, question


class TestVhost:
    def test_the_device_has_what_was_asked_and_its_node_is_that_of_the_status(self, node: Node) -> None:
        spec = {"driver": "vhost-vdpa", "queuePairs": 2, "mtu": 9000}
        status = node.made("blue", flavour="virtio", virtio=spec, macAddress="02:53:46:00:00:01")
        vdpa, name = node.nic.vdpa, status["device"]["id"]
        assert vdpa.driver(name) == "vhost_vdpa"
        config = vdpa.config(name)
        assert (config["mac"], config["mtu"], config["max_vq_pairs"]) == ("02:53:46:00:00:01", 9000, 2)
        assert status["device"]["nodes"] == [vdpa.node(name)]
        node.shell(f"test -c {vdpa.node(name)}")

    def test_the_host_gets_a_netdev_though_another_driver_was_loaded_first(self, node: Node) -> None:
        status = node.made("blue", flavour="virtio", virtio={"driver": "virtio-vdpa"})
        name = status["device"]["id"]
        assert node.nic.vdpa.driver(name) == "virtio_vdpa"
        assert status["device"]["netdev"] == node.nic.vdpa.netdev(name, "0000:05:00.0")


class TestHeldOpen:
    def test_its_deletion_waits_and_says_so_and_nobody_else_does(self, node: Node) -> None:
        status = node.made("held", flavour="virtio")
        name = status["device"]["id"]
        with held(node.machine, node.nic.vdpa.node(name)) as holder:
            node.cluster.delete("held")
            message = self.until_it_waits(node, name)
            assert "fuser -v" in message
            assert_answers(node)

            for flavour in ("mlx5", "virtio"):
                other = node.made("other", flavour=flavour)
                assert other["parent"] == status["parent"]
                node.removed("other")
            assert_answers(node)

            node.kill_agent()
            node.start_agent()
            another = node.made("another", flavour="virtio")
            assert node.cluster.ready("held")["reason"] == "HeldOpen"
            assert set(node.nic.vdpa.devices()) == {name, another["device"]["id"]}
            function = node.port(status)["function"]
            assert (function["state"], function["opstate"]) == ("active", "attached")
            assert_answers(node)
            node.removed("another")

            release(holder)
            node.until_gone("held", timeout=20)
        assert node.nic.ports("pcisf") == {}
        assert node.nic.vdpa.devices() == {}

    @staticmethod
    def until_it_waits(node: Node, name: str) -> str:
        ready = node.until(
            lambda: node.cluster.ready("held"), lambda ready: f"has {name} open" in ready.get("message", "")
        )
        assert ready["reason"] == "HeldOpen"
        return ready["message"]
