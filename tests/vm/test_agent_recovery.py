"""A card whose firmware meets fatal errors, seen by an agent on the real driver: the other card's go on."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from conftest import fresh
from harness.firmware import Status
from harness.machine import Machine
from node_in_vm import NAME, OTHER, PARENT, PCI, Node, api_server, running

FAR = "pci/0000:81:00.0"
FATAL = f"{PARENT} reporter fw_fatal"
SWITCHDEV = f"devlink dev eswitch set {PARENT} mode switchdev"
RECOVER = f"devlink health recover {FATAL}"
LATE = 60.0
"""Seconds; the driver looks about once in each, recovers for a few, and a busy machine takes its time."""


@pytest.fixture(scope="module")
def node(mlx5_machine: Machine) -> Iterator[Node]:
    with (
        api_server() as cluster,
        fresh(mlx5_machine) as mlx5,
        running(mlx5, cluster, survey_interval="1") as node,
    ):
        yield node
        for card in (PARENT, OTHER):
            node.shell(f"devlink health recover {card} reporter fw_fatal", timeout=60)


@pytest.fixture(autouse=True)
def _left_empty(node: Node) -> Iterator[None]:
    yield
    node.empty()


def judged(node: Node, card: str) -> tuple[bool, str]:
    """What the node's object says of native sub-functions on a card: possible or not, and the reason."""
    told = yaml.safe_load(node.cluster.kubectl("get", "sfnode", NAME, "-o", "yaml"))
    (parent,) = (parent for parent in told.get("status", {}).get("parents", []) if parent["device"] == card)
    (flavour,) = (each for each in parent["flavours"] if each["name"] == "mlx5")
    return flavour["possible"], flavour.get("reason", "")


def identity(status: dict[str, Any]) -> tuple[int, str]:
    return status["number"], status["macAddress"]


def until_back(node: Node, name: str) -> dict[str, Any]:
    """Do what the object says, as an administrator; its status when it is ready again."""
    assert SWITCHDEV in node.until_refused(name, "NotSwitchdev", LATE)
    node.shell(SWITCHDEV, timeout=60)
    return node.until_ready(name, LATE)


def test_each_fatal_error_is_named_and_the_other_card_goes_on(node: Node) -> None:
    node.cluster.apply_all({"near": {}, "far": {"parent": {"device": FAR}}})
    before, far = node.until_ready("near"), node.until_ready("far")

    # One that the driver recovers from: it is in legacy mode then.
    node.mlx5.faults(PCI).be("fatal")
    assert identity(until_back(node, "near")) == identity(before)
    assert node.mlx5.faults(PCI).resets() == 1

    # Another one within a minute, from which it does not.
    node.mlx5.faults(PCI).be("fatal")
    assert RECOVER in node.until_refused("near", "CardFailed", LATE)
    node.until(lambda: judged(node, PARENT), lambda told: told == (False, "CardFailed"), LATE)
    assert judged(node, FAR) == (True, "")
    node.made("more", parent={"device": FAR})
    assert node.cluster.ready("far")["status"] == "True"
    assert node.status("far") == far

    node.shell(RECOVER, timeout=60)
    assert identity(until_back(node, "near")) == identity(before)
    node.until(lambda: judged(node, PARENT), lambda told: told == (True, ""), LATE)


def test_a_card_that_nobody_recovers_is_named_although_all_its_devices_are_there(node: Node) -> None:
    before = node.made("near")
    node.shell(f"devlink health set {FATAL} auto_recover false")
    node.mlx5.faults(PCI).be("fatal")
    assert RECOVER in node.until_refused("near", "CardFailed", LATE)
    conditions = {each["type"]: each["status"] for each in node.status("near")["conditions"]}
    assert conditions["Allocatable"] == "False"
    node.until(lambda: judged(node, PARENT), lambda told: told == (False, "CardFailed"), LATE)
    assert judged(node, FAR) == (True, "")
    node.made("more", parent={"device": FAR})

    node.shell(f"devlink health set {FATAL} auto_recover true; {RECOVER}", timeout=60)
    assert identity(until_back(node, "near")) == identity(before)


def test_with_restore_switchdev_a_reloaded_card_is_whole_again_without_an_administrator(node: Node) -> None:
    node.kill_agent()
    node.options["restore-switchdev"] = ""
    node.start_agent()
    before = node.made("near")
    node.shell(f"devlink dev reload {PARENT}", timeout=60)
    node.until(lambda: node.shell(f"devlink dev eswitch show {PARENT}"), lambda told: "mode switchdev" in told, LATE)
    assert identity(node.until_ready("near", LATE)) == identity(before)
    node.kill_agent()
    del node.options["restore-switchdev"]
    node.start_agent()


def test_a_reload_that_fails_is_named_and_then_healed(node: Node) -> None:
    before = node.made("blue", parent={"device": FAR}, mlx5={"rdma": False})
    firmware = node.mlx5.faults("0000:81:00.0")
    firmware.fail_next("INIT_HCA", Status.BAD_SYSTEM_STATE, count=3, owner=before["number"])
    node.cluster.apply("blue", parent={"device": FAR}, mlx5={"rdma": True})
    assert "devlink dev reload auxiliary/" in node.until_refused("blue", "KernelRefused")
    after = node.until_ready("blue", 2 * LATE)
    assert identity(after) == identity(before)
