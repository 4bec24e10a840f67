"""A virtual function of a parent: found, bound to a VFIO driver, given back to the driver it had."""

import pytest
from tests.contract.node import Node, until

from subfunction.errors import Gone
from subfunction.kernel.address import Handle
from subfunction.kernel.bus import driver_binding
from subfunction.kernel.bus.pci import PciFunction, VirtualFunction, list_virtual_functions
from subfunction.kernel.bus.vfio import VfioNodes, list_group_members, read_group
from subfunction.kernel.port import FunctionSettings
from subfunction.kernel.uapi import PortFlavour

pytestmark = pytest.mark.needs("virtual-functions")
BUS, VFIO = "pci", "vfio-pci"


def seen(node: Node, index: int = 0) -> VirtualFunction:
    function = VirtualFunction.at(node.sysfs, node.parent, index)
    assert function is not None
    return function


def bind(node: Node, function: VirtualFunction, driver: str | None) -> VirtualFunction:
    """Bind a function to a driver, or let any that matches have it again."""
    driver_binding.override(node.sysfs, BUS, function.address, driver)
    before = seen(node, function.index).driver
    if before is not None:
        driver_binding.unbind(node.sysfs, BUS, function.address, before)
        until(lambda: seen(node, function.index).driver, lambda bound: bound is None)
    driver_binding.probe(node.sysfs, BUS, function.address)
    return until(lambda: seen(node, function.index), lambda found: found.driver not in {None, before})


def test_a_parents_virtual_functions_have_an_address_each_and_the_parents_numa_node(node: Node) -> None:
    functions = list_virtual_functions(node.sysfs, node.parent)
    assert [function.index for function in functions] == list(range(len(functions)))
    assert len({function.address for function in functions}) == len(functions) >= 2
    assert functions[0] == seen(node)
    for function in functions:
        assert node.sysfs.target(f"{function.path}/physfn") == f"../{node.parent.device}"
        assert function.driver is not None
        seen_as_any = PciFunction.at(node.sysfs, Handle("pci", function.address))
        assert seen_as_any is not None
        assert seen_as_any.virtual
    parent = PciFunction.at(node.sysfs, node.parent)
    assert parent is not None
    assert not parent.virtual


def test_a_parent_without_virtual_functions_has_none(node: Node) -> None:
    assert list_virtual_functions(node.sysfs, node.spare) == ()
    assert VirtualFunction.at(node.sysfs, node.spare, 0) is None
    assert VirtualFunction.at(node.sysfs, node.parent, 4711) is None


def test_a_group_lists_the_functions_in_it_with_their_drivers(node: Node) -> None:
    function = seen(node)
    assert function.group is not None
    assert read_group(node.sysfs, function.path) == function.group
    members = {member.address: member.driver for member in list_group_members(node.sysfs, function.group)}
    assert members[function.address] == function.driver


def test_a_function_on_vfio_has_a_node_and_given_back_has_none(node: Node) -> None:
    before = seen(node)
    assert before.driver is not None
    assert VfioNodes.of(node.sysfs, before.path) is None
    assert VFIO in driver_binding.list_drivers(node.sysfs, BUS)
    bound = bind(node, before, VFIO)
    assert (bound.driver, bound.inode) == (VFIO, before.inode)
    nodes = until(lambda: VfioNodes.of(node.sysfs, bound.path), bool)
    assert nodes is not None
    assert nodes.group.name == f"vfio/{before.group}"
    assert nodes.container is not None
    (member,) = [
        member for member in list_group_members(node.sysfs, before.group or 0) if member.address == before.address
    ]
    assert member.driver == VFIO
    assert bind(node, bound, None) == before
    assert VfioNodes.of(node.sysfs, before.path) is None


def test_the_other_functions_are_left_alone(node: Node) -> None:
    other = seen(node, 1)
    bind(node, seen(node), VFIO)
    assert seen(node, 1) == other
    bind(node, seen(node), None)


@pytest.mark.needs("answers-writes")
def test_a_driver_that_does_not_have_the_function_cannot_be_unbound(node: Node) -> None:
    with pytest.raises(Gone):
        driver_binding.unbind(node.sysfs, BUS, seen(node).address, VFIO)


def test_switchdev_shows_a_port_for_each_with_what_only_they_can_be_set_to(node: Node) -> None:
    ports = [port for port in node.devlink.ports(node.parent) if port.flavour is PortFlavour.PCI_VF]
    assert [port.vf for port in ports] == [
        function.index for function in list_virtual_functions(node.sysfs, node.parent)
    ]
    first = ports[0]
    assert first.number is None
    for migratable in (True, False):
        node.devlink.set_function(first.handle, first.index, FunctionSettings(migratable=migratable))
        function = node.seen(first).function
        assert function is not None
        assert function.migratable is migratable
        assert function.roce is not None
