"""What an administrator does to whole parents, on the real kernel: each sub-function comes back as the same."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import yaml

from conftest import fresh
from harness.machine import Machine
from node_in_vm import NAME, OTHER, PARENT, PCI, Node, api_server, running

DRIVER = "/sys/bus/pci/drivers/mlx5_core"
BACK = 20.0
"""Seconds; a card's functions are made anew, all by the same thread, in an emulated machine."""


@pytest.fixture(scope="module")
def node(mlx5_machine: Machine) -> Iterator[Node]:
    with (
        api_server() as cluster,
        fresh(mlx5_machine) as mlx5,
        running(mlx5, cluster, survey_interval="1") as node,
    ):
        yield node


@pytest.fixture(autouse=True)
def _left_empty(node: Node) -> Iterator[None]:
    yield
    node.empty()


def driver_unbound(node: Node) -> None:
    node.shell(f"echo {PCI} > {DRIVER}/unbind")


def driver_bound(node: Node) -> None:
    node.shell(f"echo {PCI} > {DRIVER}/bind")
    switchdev(node)  # a driver begins in legacy mode


def removed(node: Node) -> None:
    node.shell(f"echo 1 > /sys/bus/pci/devices/{PCI}/remove")


def rescanned(node: Node) -> None:
    node.shell("echo 1 > /sys/bus/pci/rescan")
    switchdev(node)


def legacy(node: Node) -> None:
    node.shell(f"devlink dev eswitch set {PARENT} mode legacy")


def switchdev(node: Node) -> None:
    node.shell(f"devlink dev eswitch set {PARENT} mode switchdev")


def identities(node: Node, parent: str) -> dict[int, str]:
    """Number and address of each sub-function that is attached there, by iproute2."""
    ports = {name: port for name, port in node.nic.ports("pcisf").items() if name.startswith(parent)}
    attached = [port for port in ports.values() if port["function"]["opstate"] == "attached"]
    return {port["sfnum"]: port["function"]["hw_addr"] for port in attached}


@pytest.mark.parametrize(
    ("leaves", "returns", "reason"),
    [
        (driver_unbound, driver_bound, "ParentNotFound"),
        (removed, rescanned, "ParentNotFound"),
        (legacy, switchdev, "NotSwitchdev"),
    ],
    ids=["driver unbound and bound", "removed and found by a rescan", "legacy and back"],
)
def test_a_parent_that_left_and_came_back_has_the_same_numbers_and_addresses(
    node: Node, leaves: Callable[[Node], None], returns: Callable[[Node], None], reason: str
) -> None:
    names = ("blue", "green", "vhost")
    node.cluster.apply_all(
        {"blue": {}, "green": {}, "vhost": {"flavour": "virtio"}, "elsewhere": {"parent": {"device": OTHER}}}
    )
    before = {name: node.until_ready(name) for name in names}
    elsewhere = node.until_ready("elsewhere")
    made = identities(node, PARENT)
    assert made == {status["number"]: status["macAddress"] for status in before.values()}

    leaves(node)
    for name in names:
        node.until_refused(name, reason, BACK)
    assert node.cluster.ready("elsewhere")["status"] == "True"
    returns(node)

    for name in names:
        after = node.until_ready(name, BACK)
        assert (after["number"], after["macAddress"]) == (before[name]["number"], before[name]["macAddress"])
    assert identities(node, PARENT) == made
    assert node.status("elsewhere")["port"] == elsewhere["port"]


class TestWhatIsSomebodyElses:
    def foreign(self, node: Node) -> list[Mapping[str, Any]]:
        """What the node's object tells of others' sub-functions on the parent."""
        told = yaml.safe_load(node.cluster.kubectl("get", "sfnode", NAME, "-o", "yaml"))
        parents = told.get("status", {}).get("parents", [])
        (parent,) = (parent for parent in parents if parent["device"] == PARENT)
        return list(parent.get("foreignSubFunctions", []))

    def test_it_is_left_alone_and_shown_and_taken_over_when_asked(self, node: Node) -> None:
        theirs, _ = node.nic.attach(PARENT, 5, "02:00:00:00:00:05")
        before = node.nic.port(theirs)
        (shown,) = node.until(lambda: self.foreign(node), bool, 20)
        assert (shown["number"], shown["port"]) == (5, int(theirs.rpartition("/")[2]))

        node.made("blue")
        node.cluster.apply("wants", number=5)
        assert "spec.adopt" in node.until_refused("wants", "Foreign")
        assert node.nic.port(theirs) == before
        node.removed("wants", "blue")
        assert node.nic.port(theirs) == before

        taken = node.made("wants", number=5, adopt=True, deletionPolicy="Drain")
        assert f"{taken['parent']}/{taken['port']}" == theirs
        after = node.nic.port(theirs)["function"]
        assert (after["hw_addr"], taken["macAddress"]) == ("02:00:00:00:00:05", "02:00:00:00:00:05")
        assert after["nested_devlink"].keys() == before["function"]["nested_devlink"].keys()
        node.until(lambda: self.foreign(node), lambda shown: not shown, 20)
        node.removed("wants")
        assert node.nic.ports("pcisf") == {}
