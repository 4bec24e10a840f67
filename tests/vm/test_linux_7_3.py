"""What is otherwise on Linux 7.3 and reaches a node: seen on the real mlx5 driver, with the agent beside it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from conftest import fresh, on_7_3
from harness.kernels import LINUX_7_3
from harness.machine import Machine
from harness.mlx5 import Mlx5
from harness.snapshot import build_snapshot
from harness.topology import MLX5
from node_in_vm import NAME, OTHER, PARENT, Node, api_server, running, started

pytestmark = pytest.mark.ground("real mlx5")

SET_INACTIVE = """
import struct
import genetlink
bus, device = "{parent}".split("/")
body = genetlink.text(1, bus) + genetlink.text(2, device) + genetlink.number(25, 2, "H")
genetlink.Family("devlink").request(30, body)
"""
"""iproute2 6.15 does not know the mode: DEVLINK_CMD_ESWITCH_SET with DEVLINK_ESWITCH_MODE_SWITCHDEV_INACTIVE."""

HUNG = 120.0
"""Seconds: the agent's deadline and its next look, on a busy machine."""


@pytest.fixture(scope="module")
def node(mlx5_machine: Machine) -> Iterator[Node]:
    with (
        api_server() as cluster,
        fresh(mlx5_machine) as mlx5,
        running(mlx5, cluster, survey_interval="1") as node,
    ):
        yield node


def parents(node: Node) -> dict[str, Mapping[str, Any]]:
    """What the node's object tells of its parents."""
    told = yaml.safe_load(node.cluster.kubectl("get", "sfnode", NAME, "-o", "yaml", "--ignore-not-found")) or {}
    return {parent["device"]: parent for parent in told.get("status", {}).get("parents", [])}


def messages(node: Node, parent: str) -> str:
    return " ".join(flavour.get("message", "") for flavour in parents(node).get(parent, {}).get("flavours", []))


@on_7_3
class TestBesideTheAgent:
    @pytest.fixture(autouse=True)
    def _left_empty(self, node: Node) -> Iterator[None]:
        """Leave no sub-function: under an active one neither the drivers nor the machine can be ended here."""
        yield
        node.empty()

    def test_an_instance_without_a_device_is_no_parent(self, node: Node) -> None:
        shown = node.shell("devlink dev show")
        assert "devlink_index/" in shown, shown
        found = node.until(lambda: parents(node), bool)
        assert set(found) == {f"pci/{address}" for address in node.mlx5.addresses}

    def test_a_card_whose_e_switch_is_inactive_makes_sub_functions_and_says_what_they_lack(self, node: Node) -> None:
        before = node.made("before", parent={"device": OTHER})
        node.machine.python(SET_INACTIVE.format(parent=OTHER), env={"PYTHONPATH": "/src/tests/vm/programs"})
        node.until(lambda: messages(node, OTHER), lambda said: "no frame passes until its e-switch is active" in said)
        assert parents(node)[OTHER]["eswitchMode"] == "switchdev_inactive"
        during = node.made("during", parent={"device": OTHER})
        node.shell(f"devlink dev eswitch set {OTHER} mode switchdev")
        # Nothing announces the mode: it is read with the next event, or resync.
        node.made("after", parent={"device": OTHER})
        node.until(lambda: messages(node, OTHER), lambda said: "no frame" not in said)
        for name, status in (("before", before), ("during", during)):
            assert node.until_ready(name)["port"] == status["port"]
            assert node.port(status)["function"]["opstate"] == "attached"

    def test_the_number_of_the_pf_is_that_of_the_pci_function_where_the_port_has_another(self, node: Node) -> None:
        node.mlx5.unload()
        node.mlx5.load(swap_ports=1)
        try:
            node.mlx5.reset()
            refused = node.mlx5.refusal(f"devlink port add {PARENT} flavour pcisf pfnum 1 sfnum 10")
            assert "Invalid pfnum supplied" in refused
            assert node.port(node.made("blue"))["pfnum"] == 0
            node.empty()
        finally:
            node.mlx5.unload()
            node.mlx5.load()
            node.mlx5.reset()


@pytest.fixture
def hung() -> Iterator[Node]:
    """A node on which an administrator reloads a card under a sub-function. It cannot be mended, nor even shut down."""
    with build_snapshot(MLX5, LINUX_7_3).restore() as machine, api_server() as cluster:
        mlx5 = Mlx5(machine)
        mlx5.reset()
        node = started(mlx5, cluster, survey_interval="1", kernel_deadline="10")
        node.made("blue")
        machine.spawn(f"devlink dev reload {PARENT}")
        yield node


def test_a_card_that_was_reloaded_under_a_sub_function_is_named_and_the_other_one_goes_on(hung: Node) -> None:
    said = hung.until(lambda: messages(hung, PARENT), lambda said: "did not answer within 10 s" in said, HUNG)
    assert PARENT in said
    hung.cluster.apply("late")
    assert PARENT in hung.until_refused("late", "KernelBusy", HUNG)
    hung.cluster.apply("elsewhere", parent={"device": OTHER})
    assert hung.port(hung.until_ready("elsewhere", HUNG))["function"]["opstate"] == "attached"
    assert "did not answer" not in messages(hung, OTHER)
