"""Whose a port is on the real mlx5 driver, which shows a slot's last address on the next port of that slot."""

import operator
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

import pytest

from conftest import fresh
from harness.firmware import Status
from harness.machine import Machine
from harness.mlx5 import Mlx5
from node_in_vm import OTHER, OTHER_PCI, PARENT, PCI, Cluster, Node, api_server, running

THEIRS: Final = "02:aa:bb:cc:dd:ee"
UNSET: Final = "00:00:00:00:00:00"
NAMES: Final = ("blue", "green", "red")
BACK: Final = 40.0
"""Seconds; a card's functions are made anew, all by the same thread, in an emulated machine."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with api_server() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def node(mlx5_machine: Machine, cluster: Cluster) -> Iterator[Node]:
    with fresh(mlx5_machine) as mlx5, running(mlx5, cluster) as node:
        yield node


@pytest.fixture(autouse=True)
def _left_empty(node: Node) -> Iterator[None]:
    yield
    for handle, port in node.nic.ports("pcisf").items():
        if port["sfnum"] >= 900:
            node.nic.delete(handle)
    node.empty()


def use_slots(node: Node, count: int) -> None:
    """Leave another tool's address in the first free slots of the parent."""
    made = [node.nic.add(PARENT, 900 + index) for index in range(count)]
    for handle in made:
        node.nic.set(handle, "hw_addr", THEIRS)
    for handle in made:
        node.nic.delete(handle)


def identity(node: Node, status: Mapping[str, Any]) -> tuple[int, str]:
    port = node.port(status)
    return port["sfnum"], port["function"]["hw_addr"]


def gids(node: Node, status: Mapping[str, Any]) -> int:
    """How many addresses RoCE has on a sub-function's RDMA device."""
    return int(node.shell(f"ls /sys/class/infiniband/{status['device']['rdma']}/ports/1/gids | wc -l"))


def test_a_port_in_a_used_slot_is_ours_and_its_address_is_taken_off_before_it_is_deleted(node: Node) -> None:
    use_slots(node, 1)
    shown = node.nic.add(PARENT, 900)
    assert node.nic.port(shown)["function"]["hw_addr"] == THEIRS, "this driver does not keep a slot's address"
    node.nic.delete(shown)

    status = node.made("blue")
    assert identity(node, status) == (status["number"], status["macAddress"])
    assert status["macAddress"] != THEIRS
    node.removed("blue")
    again = node.nic.add(PARENT, 900)
    assert again == f"{PARENT}/{status['port']}"
    assert node.nic.port(again)["function"]["hw_addr"] == UNSET


def test_after_a_reload_each_is_itself_though_slots_are_dealt_out_in_another_order(node: Node) -> None:
    before = {name: node.made(name) for name in NAMES}
    node.agents[-1].signal(15)
    node.agents[-1].wait()
    node.shell(f"devlink dev reload {PARENT}", timeout=60)
    node.shell(f"devlink dev eswitch set {PARENT} mode switchdev", timeout=60)
    theirs = node.nic.add(PARENT, 900)
    assert theirs == f"{PARENT}/{before['blue']['port']}", "the first slot was to be another's"
    node.start_agent()
    for name, status in before.items():
        now = (status["number"], status["macAddress"])
        # What is Ready is so since before the reload, until the agent has had its look.
        node.until(partial(_identity_of, node, name), partial(operator.eq, now), BACK)
        node.until_ready(name, BACK)
    assert node.nic.port(theirs)["function"]["state"] == "inactive"
    assert sorted(port["sfnum"] for port in node.nic.ports("pcisf").values()) == [1, 2, 3, 900]


def _identity_of(node: Node, name: str) -> tuple[int, str] | None:
    """Number and address of the port that the object shows, once it is attached."""
    status = node.status(name)
    port = node.nic.ports("pcisf").get(f"{status['parent']}/{status.get('port')}")
    attached = port is not None and port["function"]["opstate"] == "attached"
    return (port["sfnum"], port["function"]["hw_addr"]) if port is not None and attached else None


def test_while_one_ports_query_fails_the_list_is_empty_and_nothing_is_made_anew(node: Node) -> None:
    theirs = node.nic.add(PARENT, 900)
    status = node.made("blue")
    node.mlx5.faults(PCI).fail_next("QUERY_HCA_CAP", Status.BAD_SYSTEM_STATE, 100_000, 900)
    assert not [port for port in node.nic.ports("pcisf") if port.startswith(PARENT)]
    node.kill_agent()
    node.start_agent()
    node.made("green", parent={"device": OTHER})
    assert node.cluster.ready("blue")["status"] == "True"
    assert identity(node, status) == (status["number"], status["macAddress"])
    second = node.made("red")
    assert identity(node, second) == (second["number"], second["macAddress"])
    node.mlx5.faults(PCI).fail_next("QUERY_HCA_CAP", Status.BAD_SYSTEM_STATE, 0, 900)
    numbers = {port["sfnum"] for handle, port in node.nic.ports("pcisf").items() if handle.startswith(PARENT)}
    assert numbers == {900, status["number"], second["number"]}
    node.nic.delete(theirs)


class TestRoce:
    def test_a_sub_function_that_is_ready_has_all_its_gids(self, node: Node) -> None:
        assert gids(node, node.made("blue")) == 64

    def test_one_that_was_made_without_roce_gets_it(self, node: Node) -> None:
        status = node.made("blue")
        instance = f"auxiliary/{status['device']['id']}"
        node.shell(f"devlink dev param set {instance} name enable_roce value false cmode driverinit")
        node.shell(f"devlink dev reload {instance}")
        node.until(lambda: gids(node, node.until_ready("blue")), lambda seen: seen == 64, BACK)

    def test_without_roce_it_has_a_verbs_device_for_raw_ethernet(self, node: Node) -> None:
        status = node.made("blue", capabilities={"roce": False})
        assert gids(node, status) == 0
        assert any("uverbs" in path for path in status["device"]["nodes"])
        assert node.port(status)["function"]["roce"] == "disable"


def test_a_card_whose_port_numbers_are_not_its_functions_makes_sub_functions(node: Node) -> None:
    mlx5: Mlx5 = node.mlx5
    mlx5.unload()
    mlx5.load(swap_ports=1)
    try:
        mlx5.reset()
        numbers = {handle: port["pfnum"] for handle, port in _made_on_both(node).items()}
        assert {handle.rpartition("/")[0]: pfnum for handle, pfnum in numbers.items()} == {PARENT: 1, OTHER: 0}
        node.empty()
    finally:
        mlx5.unload()
        mlx5.load()
        mlx5.reset()


def _made_on_both(node: Node) -> Mapping[str, Mapping[str, Any]]:
    assert (PARENT.removeprefix("pci/"), OTHER.removeprefix("pci/")) == (PCI, OTHER_PCI)
    node.made("blue")
    node.made("green", parent={"device": OTHER})
    return node.nic.ports("pcisf")
