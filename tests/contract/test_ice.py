"""What ice does otherwise than mlx5: drivers/net/ethernet/intel/ice of Linux 6.12.

File and line stand at the code of the two imitations, `cards/ice_eswitch.py` and `tests/vm/sfsim/sfsim_ice.c`.
"""

import errno

import pytest
from tests.contract.node import UNSET, Node

from subfunction.errors import KernelError, PortUnfinished, StillAttached, Unsupported
from subfunction.kernel.address import Mac
from subfunction.kernel.link import LinkSettings
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.port import FunctionSettings
from subfunction.kernel.uapi import EswitchMode

pytestmark = pytest.mark.needs("ice")
MAC = Mac.parse("02:00:00:00:88:88")


def test_beside_a_port_that_was_never_activated_its_parent_makes_no_other(node: Node) -> None:
    first = node.new(88)
    with pytest.raises(PortUnfinished, match="Failed to attach SF to eswitch") as refused:
        node.new(89)
    assert "opstate detached" in refused.value.hint
    assert [port.number for port in node.devlink.ports(node.parent) if port.is_sub_function] == [88]
    assert node.new(89, parent=node.spare).number == 89
    node.attach(first)
    second = node.new(89)
    node.attach(second)
    assert second.number == 89


def test_a_port_that_was_activated_once_is_in_nobodys_way_when_it_is_inactive_again(node: Node) -> None:
    first = node.new(88)
    node.attach(first)
    node.detach(first)
    second = node.new(89)
    with pytest.raises(PortUnfinished):
        node.new(90)
    node.devlink.delete_port(second.handle, second.index)
    assert node.new(90).number == 90


def test_the_first_port_is_not_made_while_the_uplink_is_in_a_bridge(node: Node) -> None:
    node.console.bridge("sfbr0")
    uplink = node.physical(node.parent).ifindex
    assert uplink is not None
    node.links.set(uplink, LinkSettings(master=node.ifindex("sfbr0")))
    with pytest.raises(KernelError, match="Failed to attach SF to eswitch") as refused:
        node.new(88)
    assert refused.value.errno == errno.EINVAL
    assert "nomaster" in refused.value.hint
    node.links.set(uplink, LinkSettings(master=0))
    assert node.new(88).number == 88


def test_the_number_is_looked_at_before_the_unfinished_port(node: Node) -> None:
    node.new(88)
    with pytest.raises(KernelError, match="already exists"):
        node.new(88)


def test_a_port_without_a_number_is_refused_without_a_text(node: Node) -> None:
    with pytest.raises(KernelError) as refused:
        node.devlink.create_unnumbered(node.parent, node.pf(node.parent))
    assert (refused.value.errno, refused.value.text) == (errno.EINVAL, "")


def test_ports_stay_in_legacy_mode_and_the_change_of_mode_succeeds(node: Node) -> None:
    port = node.new(88, parent=node.spare)
    node.attach(port)
    attached = node.seen(port)
    try:
        # The driver says something of a change that succeeds, which is no refusal.
        node.devlink.set_mode(node.spare, EswitchMode.LEGACY)
        assert node.devlink.eswitch_mode(node.spare) is EswitchMode.LEGACY
        assert node.seen(port) == attached
        node.devlink.set_mode(node.spare, EswitchMode.SWITCHDEV)
        assert node.seen(port) == attached
    finally:
        # The real driver would free a port that is registered still.
        node.console.rebind(node.spare)
    assert [each for each in node.devlink.ports(node.spare) if each.is_sub_function] == []


def test_a_parent_that_switches_is_not_reloaded(node: Node) -> None:
    port = node.new(88)
    with pytest.raises(Unsupported, match="Go to legacy mode before doing reinit"):
        node.devlink.reload(node.parent)
    assert node.seen(port) == port


def test_a_functions_instance_is_nested_in_its_parents_while_it_is_there(node: Node) -> None:
    assert node.devlink.nested(node.parent) == []
    port = node.new(88)
    instance = node.attach(port)
    assert node.devlink.nested(node.parent) == [instance]
    second = node.attach(node.new(89))
    assert set(node.devlink.nested(node.parent)) == {instance, second}
    node.detach(port)
    assert node.devlink.nested(node.parent) == [second]


def test_no_netdev_of_a_function_or_representor_takes_an_address(node: Node) -> None:
    port = node.new(88)
    netdev = node.netdev(port)
    for each in (netdev, node.representor(port)):
        with pytest.raises(Unsupported):
            node.links.set(each.ifindex, LinkSettings(mac=MAC))
        assert Netdev.named(node.sysfs, each.name) == each


def test_a_representor_has_the_cards_mtu_and_a_function_has_that_of_any_ethernet_device(node: Node) -> None:
    port = node.new(88)
    netdev = node.netdev(port)
    with pytest.raises(KernelError, match="greater than device maximum") as refused:
        node.links.set(netdev.ifindex, LinkSettings(mtu=1501))
    assert "68 to 1500" in refused.value.hint
    node.links.set(node.representor(port).ifindex, LinkSettings(mtu=9702))
    assert node.representor(port).mtu == 9702
    with pytest.raises(KernelError, match="greater than device maximum"):
        node.links.set(node.representor(port).ifindex, LinkSettings(mtu=9703))


def test_while_a_function_is_attached_no_address_is_looked_at(node: Node) -> None:
    port = node.new(88)
    with pytest.raises(KernelError, match="Invalid ethernet address"):
        node.devlink.set_function(port.handle, port.index, FunctionSettings(mac=UNSET))
    node.attach(port)
    with pytest.raises(StillAttached):
        node.devlink.set_function(port.handle, port.index, FunctionSettings(mac=UNSET))


def test_a_port_and_its_functions_virtual_port_have_one_index_and_the_last_freed_comes_next(node: Node) -> None:
    ports = [node.make_room(node.new(number)) for number in (1, 2, 3)]
    assert len({port.index for port in ports}) == len(ports)
    virtual = node.virtual_port(node.attach(ports[1]))
    assert virtual is not None
    assert virtual.index == ports[1].index
    for port in (ports[2], ports[0]):
        node.devlink.delete_port(port.handle, port.index)
    assert node.make_room(node.new(4)).index == ports[0].index
    assert node.physical(node.parent).index == 0
