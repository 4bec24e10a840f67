"""What the kernel shows of the parents of sub-functions."""

from collections.abc import Callable

import pytest
from tests.contract.node import Node

from subfunction.errors import FamilyMissing
from subfunction.kernel.address import Handle
from subfunction.kernel.bus.pci import PciFunction
from subfunction.kernel.netdev import Netdev, find_parent
from subfunction.kernel.uapi import EswitchMode

NOBODY = Handle("pci", "0000:ff:1f.7")


def test_every_physical_function_is_an_instance(node: Node) -> None:
    assert set(node.parents) <= set(node.devlink.instances())


@pytest.mark.needs("mlx5", "as-7.3")
def test_a_card_is_an_instance_without_a_device_ports_or_room(node: Node) -> None:
    cards = [handle for handle in node.devlink.instances() if handle.bus == "devlink_index"]
    assert len(cards) == 2
    for card in cards:
        assert node.devlink.exists(card)
        assert node.devlink.ports(card) == []
        assert (node.devlink.eswitch_mode(card), node.devlink.capacity(card)) == (None, None)
        assert PciFunction.at(node.sysfs, card) is None


def test_ports_of_one_instance_are_its_own_and_together_they_are_all(node: Node, judge: Callable[[], None]) -> None:
    judge()
    by_instance = [port for handle in node.devlink.instances() for port in node.devlink.ports(handle)]
    assert sorted(map(str, by_instance)) == sorted(map(str, node.devlink.all_ports()))


def test_a_parents_physical_port_tells_its_pf_number_and_has_no_function(node: Node) -> None:
    for handle in node.parents:
        port = node.physical(handle)
        assert port.port_number == int(handle.device[-1])
        assert (port.function, port.number) == (None, None)


def test_a_parents_netdev_leads_back_to_it(node: Node) -> None:
    for handle in node.parents:
        port = node.physical(handle)
        assert port.netdev is not None
        netdev = Netdev.named(node.sysfs, port.netdev)
        assert netdev is not None
        assert netdev.ifindex == port.ifindex
        assert find_parent(node.sysfs, port.netdev) == handle


def test_the_mode_of_an_e_switch_is_what_was_set(node: Node) -> None:
    assert node.devlink.eswitch_mode(node.spare) is EswitchMode.SWITCHDEV
    node.console.set_mode(node.spare, EswitchMode.LEGACY)
    assert node.devlink.eswitch_mode(node.spare) is EswitchMode.LEGACY
    assert node.devlink.eswitch_mode(node.parent) is EswitchMode.SWITCHDEV


def test_a_card_that_is_well_has_no_reporter_of_fatal_errors_in_error(node: Node) -> None:
    assert not node.devlink.has_failed(node.parent, "fw_fatal")


@pytest.mark.parametrize("name", ["none", ""])
def test_a_reporter_that_there_is_not_is_not_in_error(node: Node, name: str) -> None:
    assert not node.devlink.has_failed(node.parent, name)
    assert not node.devlink.has_failed(NOBODY, name)


@pytest.mark.needs("mlx5")
def test_a_parent_tells_how_many_sub_functions_it_has_room_for(node: Node) -> None:
    capacity = node.devlink.capacity(node.parent)
    assert capacity is not None
    assert capacity > 0


def test_a_parent_has_a_driver_a_vendor_and_a_numa_node(node: Node) -> None:
    for handle in node.parents:
        function = PciFunction.at(node.sysfs, handle)
        assert function is not None
        assert function.driver == node.personality.driver
        assert node.devlink.driver_name(handle) == node.personality.driver
        assert function.vendor is not None
        assert function.vendor.startswith("0x")
        assert function.numa_node in {0, 1}


@pytest.mark.needs("two-nodes")
def test_parents_on_different_cards_are_near_different_numa_nodes(node: Node) -> None:
    functions = [PciFunction.at(node.sysfs, handle) for handle in node.parents]
    assert {function.numa_node for function in functions if function} == {0, 1}


def test_an_instance_that_is_not_there_has_no_ports_no_capacity_and_no_directory(node: Node) -> None:
    assert node.devlink.ports(NOBODY) == []
    assert node.devlink.port(NOBODY, 1) is None
    assert node.devlink.capacity(NOBODY) is None
    assert PciFunction.at(node.sysfs, NOBODY) is None


def test_a_family_the_kernel_lacks_is_named(node: Node) -> None:
    with pytest.raises(FamilyMissing, match="'no-such-family'"):
        node.netlink.family("no-such-family")
