"""The life of a sub-function's port, from `devlink port add` to `devlink port del`."""

import dataclasses
from collections.abc import Callable

import pytest
from tests.contract.node import UNSET, Node, until

from subfunction.errors import (
    Gone,
    Invalid,
    NotSwitchdev,
    NumberTaken,
    PfNumberRefused,
    StillAttached,
    SubFunctionError,
    Unsupported,
)
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.bus.auxiliary import AuxiliaryDevice
from subfunction.kernel.netdev import Netdev, find_parent
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.kernel.uapi import EswitchMode, PortFlavour

MAC = Mac.parse("02:00:00:00:88:88")
MULTICAST = Mac.parse("01:00:5e:00:00:01")
Judge = Callable[[], None]


def sysfs_of(node: Node, handle: Handle) -> tuple[tuple[str, ...], ...]:
    """List what there is of sub-functions: auxiliary devices, netdevs, the parent's directory."""
    directory = node.sysfs.resolve(handle.path)
    return (
        node.sysfs.names("bus/auxiliary/devices"),
        node.sysfs.names("class/net"),
        node.sysfs.names("class/infiniband"),
        node.sysfs.names("class/infiniband_verbs"),
        node.sysfs.names(str(directory)),
    )


def test_a_new_port_is_inactive_detached_and_has_the_drivers_defaults(node: Node, judge: Judge) -> None:
    if node.personality.address_unset:
        node.clear_address()
    port = node.new(88)
    assert port == node.seen(port)
    assert (port.handle, port.flavour, port.controller) == (node.parent, PortFlavour.PCI_SF, 0)
    assert (port.pf, port.number) == (node.pf(node.parent), 88)
    assert port.function is not None
    assert port.function.mac is not None
    assert port.function.mac.unset is node.personality.address_unset
    assert (port.function.active, port.function.attached, port.function.instance) == (False, False, None)
    assert (port.function.roce, port.function.max_io_eqs) == node.personality.caps
    assert (port.function.migratable, port.function.ipsec_crypto, port.function.ipsec_packet, port.vf) == (None,) * 4
    judge()


@pytest.mark.needs("mlx5")
def test_a_new_port_has_the_address_of_its_slots_last_owner_until_that_is_cleared(node: Node, judge: Judge) -> None:
    first = node.new(1, settings=FunctionSettings(mac=MAC))
    node.devlink.delete_port(first.handle, first.index)
    second = node.new(2)
    assert second.index == first.index
    assert second.function is not None
    assert second.function.mac == MAC
    judge()
    assert node.netdev(second).mac == MAC
    node.detach(second)
    node.devlink.delete_port(second.handle, second.index)
    node.clear_address(3)
    third = node.new(4)
    assert third.index == first.index
    assert third.function is not None
    assert third.function.mac == UNSET
    assert node.netdev(third).mac not in {MAC, UNSET}


@pytest.mark.needs("mlx5")
def test_an_address_outlives_the_mode_of_the_e_switch(node: Node) -> None:
    first = node.new(1, parent=node.spare, settings=FunctionSettings(mac=MAC))
    for mode in (EswitchMode.LEGACY, EswitchMode.SWITCHDEV):
        node.console.set_mode(node.spare, mode)
    second = node.new(2, parent=node.spare)
    assert second.index == first.index
    assert second.function is not None
    assert second.function.mac == MAC


@pytest.mark.needs("mlx5")
def test_event_queues_that_nobody_set_are_eight_once_the_function_was_activated(node: Node) -> None:
    port = node.new(88)
    node.attach(port)
    node.detach(port)
    function = node.seen(port).function
    assert function is not None
    assert function.max_io_eqs == 8


def test_a_new_port_has_a_representor_that_names_parent_and_number(node: Node) -> None:
    for parent in node.parents:
        port = node.new(88, parent=parent)
        assert port.netdev is not None
        representor = Netdev.named(node.sysfs, port.netdev)
        assert representor is not None
        assert representor.ifindex == port.ifindex
        assert node.sysfs.read(f"{representor.path}/phys_port_name") == f"pf{port.pf}sf88"
        assert not representor.up
        assert find_parent(node.sysfs, port.netdev) == parent


def test_numbers_are_a_parents_own_and_indices_are_never_shared_on_one(node: Node, judge: Judge) -> None:
    ports = [node.make_room(node.new(number, parent=parent)) for parent in node.parents for number in (1, 2, 3)]
    assert len({(port.handle, port.index) for port in ports}) == len(ports)
    judge()


def test_a_function_keeps_what_it_is_set_to(node: Node, judge: Judge) -> None:
    wanted = dataclasses.replace(node.personality.settings, mac=MAC)
    function = node.seen(node.new(88, settings=wanted)).function
    assert function is not None
    assert (function.mac, function.roce, function.max_io_eqs) == (MAC, wanted.roce, wanted.max_io_eqs)
    judge()


@pytest.mark.needs("mlx5")
def test_setting_one_thing_leaves_the_others(node: Node) -> None:
    port = node.new(88, settings=FunctionSettings(mac=MAC, max_io_eqs=4))
    node.devlink.set_function(port.handle, port.index, FunctionSettings(roce=False))
    function = node.seen(port).function
    assert function is not None
    assert (function.mac, function.roce, function.max_io_eqs) == (MAC, False, 4)


def test_an_active_function_attaches_and_names_its_device(node: Node, judge: Judge) -> None:
    port = node.new(88, settings=FunctionSettings(mac=MAC))
    instance = node.attach(port)
    judge()
    assert instance in node.devlink.instances()
    device = AuxiliaryDevice.named(node.sysfs, instance.device)
    assert device is not None
    tells = node.personality.tells_number
    assert device.driver == node.personality.function_driver
    assert node.sysfs.read(f"{device.path}/sfnum") == ("88" if tells else None)
    assert device.path.startswith(f"{node.sysfs.resolve(node.parent.path)}/")
    assert AuxiliaryDevice.of_sub_function(node.sysfs, node.parent, 88) == (device if tells else None)
    assert AuxiliaryDevice.of_sub_function(node.sysfs, node.parent, 89) is None


def test_asking_for_the_state_it_has_changes_nothing(node: Node) -> None:
    port = node.new(88)
    node.devlink.set_active(port.handle, port.index, active=False)
    assert node.seen(port) == port
    instance = node.attach(port)
    node.devlink.set_active(port.handle, port.index, active=True)
    assert node.attach(port) == instance


def test_an_inactive_function_loses_its_device(node: Node, judge: Judge) -> None:
    port = node.new(88)
    instance = node.attach(port)
    node.detach(port)
    until(node.auxiliary, lambda names: not names)
    judge()
    assert instance not in node.devlink.instances()
    assert AuxiliaryDevice.named(node.sysfs, instance.device) is None
    function = node.seen(port).function
    assert function is not None
    assert (function.active, function.instance) == (False, None)


@pytest.mark.needs("mlx5")
def test_a_function_that_lets_go_cannot_be_activated_yet(node: Node) -> None:
    node.console.slow_detach(node.parent)
    port = node.new(88)
    node.attach(port)
    node.devlink.set_active(port.handle, port.index, active=False)
    function = node.seen(port).function
    assert function is not None
    assert (function.active, function.attached) == (False, True)
    with pytest.raises(StillAttached, match="SF is inactivated but it is still attached") as refused:
        node.devlink.set_active(port.handle, port.index, active=True)
    assert refused.value.retry_after == 1


@pytest.mark.needs("mlx5")
def test_the_number_of_a_port_deleted_while_active_is_free_only_later(node: Node) -> None:
    node.console.slow_detach(node.parent)
    port = node.new(88)
    node.attach(port)
    node.devlink.delete_port(port.handle, port.index)
    with pytest.raises(NumberTaken, match="SF already exist") as refused:
        node.new(88)
    assert refused.value.retry_after == 2

    def again() -> Port | SubFunctionError:
        try:
            return node.new(88)
        except NumberTaken as error:
            return error

    assert until(again, lambda made: isinstance(made, Port))


def test_a_deleted_port_leaves_sysfs_as_it_was(node: Node, judge: Judge) -> None:
    before = sysfs_of(node, node.parent)
    port = node.new(88, settings=FunctionSettings(mac=MAC))
    instance = node.attach(port)
    if node.personality.tells_number:
        node.load(instance)
    assert sysfs_of(node, node.parent) != before
    node.detach(port)
    until(node.auxiliary, lambda names: not names)
    node.devlink.delete_port(port.handle, port.index)
    assert node.devlink.port(port.handle, port.index) is None
    assert sysfs_of(node, node.parent) == before
    judge()


def test_an_index_that_is_not_there_is_no_port_and_cannot_be_changed(node: Node) -> None:
    index = node.new(88).index
    node.devlink.delete_port(node.parent, index)
    assert node.devlink.port(node.parent, index) is None
    with pytest.raises(Gone):
        node.devlink.delete_port(node.parent, index)
    with pytest.raises(Gone):
        node.devlink.set_active(node.parent, index, active=True)
    with pytest.raises(Gone):
        node.devlink.set_function(node.parent, index, FunctionSettings(mac=MAC))


def test_a_number_is_given_once(node: Node, judge: Judge) -> None:
    node.new(88)
    with pytest.raises(NumberTaken, match=node.personality.taken) as refused:
        node.new(88)
    assert "devlink port add" in refused.value.message
    assert "devlink port show" in refused.value.hint
    judge()


def test_a_parent_in_legacy_mode_refuses_and_the_error_says_what_to_type(node: Node) -> None:
    pf = node.pf(node.spare)
    node.console.set_mode(node.spare, EswitchMode.LEGACY)
    with pytest.raises(NotSwitchdev, match=node.personality.legacy) as refused:
        node.devlink.create_port(node.spare, pf=pf, number=88)
    assert f"devlink dev eswitch set {node.spare} mode switchdev" in refused.value.hint


@pytest.mark.needs("mlx5", "as-6.12")
def test_in_legacy_mode_what_is_wrong_in_the_request_is_said_first(node: Node) -> None:
    node.console.set_mode(node.spare, EswitchMode.LEGACY)
    with pytest.raises(PfNumberRefused, match=node.personality.wrong_pf):
        node.devlink.create_port(node.spare, pf=7, number=88)


@pytest.mark.needs("mlx5", "as-7.3")
def test_in_legacy_mode_the_mode_is_said_first(node: Node) -> None:
    node.console.set_mode(node.spare, EswitchMode.LEGACY)
    with pytest.raises(NotSwitchdev, match=node.personality.legacy):
        node.devlink.create_port(node.spare, pf=7, number=88)
    assert node.devlink.supports_port_add(node.spare)


@pytest.mark.needs("mlx5")
def test_legacy_mode_ends_every_sub_function_of_the_parent_and_of_no_other(node: Node) -> None:
    lost = node.new(1, parent=node.spare)
    node.attach(lost)
    kept = node.new(2)
    node.console.set_mode(node.spare, EswitchMode.LEGACY)
    assert node.devlink.port(lost.handle, lost.index) is None
    assert node.seen(kept) == kept
    until(node.auxiliary, lambda names: not names)


def test_a_pf_number_of_somebody_else_is_refused(node: Node, judge: Judge) -> None:
    with pytest.raises(PfNumberRefused, match=node.personality.wrong_pf):
        node.devlink.create_port(node.parent, pf=7, number=88)
    judge()


def test_a_driver_with_sub_functions_is_known_by_its_words_and_makes_no_port(node: Node, judge: Judge) -> None:
    before = node.console.ports()
    assert node.devlink.supports_port_add(node.parent)
    assert node.console.ports() == before
    judge()


def test_a_controller_is_refused_by_a_card_that_has_none(node: Node) -> None:
    with pytest.raises(Unsupported, match=node.personality.controller):
        node.devlink.create_port(node.parent, pf=node.pf(node.parent), number=88, controller=1)


def test_a_multicast_address_is_refused(node: Node) -> None:
    port = node.new(88)
    with pytest.raises(Invalid, match=node.personality.not_unicast):
        node.devlink.set_function(port.handle, port.index, FunctionSettings(mac=MULTICAST))
    assert node.seen(port) == port


def test_a_physical_port_has_no_function_to_set_and_cannot_be_deleted(node: Node) -> None:
    physical = node.physical(node.parent)
    with pytest.raises(Unsupported, match="Port doesn't support function attributes"):
        node.devlink.set_function(physical.handle, physical.index, FunctionSettings(mac=MAC))
    with pytest.raises(Unsupported, match="Function does not support state setting"):
        node.devlink.set_active(physical.handle, physical.index, active=True)
    with pytest.raises(Unsupported):
        node.devlink.delete_port(physical.handle, physical.index)


@pytest.mark.needs("ice")
def test_an_ice_function_attaches_before_the_request_returns_and_needs_no_reload(node: Node) -> None:
    port = node.new(88)
    node.devlink.set_active(port.handle, port.index, active=True)
    function = node.seen(port).function
    assert function is not None
    assert (function.active, function.attached) == (True, True)
    assert function.instance is not None
    (virtual,) = node.devlink.ports(function.instance)
    netdev = Netdev.named(node.sysfs, str(virtual.netdev))
    assert netdev is not None
    assert (netdev.ifindex, netdev.mac) == (virtual.ifindex, function.mac)
    # It hangs under the parent, not under the function: only the virtual port leads to it.
    assert find_parent(node.sysfs, netdev.name) == node.parent
    assert Netdev.under(node.sysfs, node.path(function.instance)) == ()


@pytest.mark.needs("ice")
def test_an_ice_function_has_detached_before_the_request_returns(node: Node) -> None:
    port = node.new(88)
    node.attach(port)
    node.devlink.set_active(port.handle, port.index, active=False)
    function = node.seen(port).function
    assert function is not None
    assert (function.active, function.attached, function.instance) == (False, False, None)


@pytest.mark.needs("ice")
def test_an_ice_function_keeps_its_address_while_it_is_attached(node: Node) -> None:
    port = node.new(88)
    node.attach(port)
    with pytest.raises(StillAttached, match="detached state"):
        node.devlink.set_function(port.handle, port.index, FunctionSettings(mac=MAC))
    node.detach(port)
    node.devlink.set_function(port.handle, port.index, FunctionSettings(mac=MAC))
    function = node.seen(port).function
    assert function is not None
    assert function.mac == MAC


@pytest.mark.needs("ice")
@pytest.mark.parametrize("settings", [FunctionSettings(roce=False), FunctionSettings(max_io_eqs=4)])
def test_an_ice_function_has_no_roce_and_no_event_queues_to_set(node: Node, settings: FunctionSettings) -> None:
    port = node.new(88)
    with pytest.raises(Unsupported):
        node.devlink.set_function(port.handle, port.index, settings)
    assert node.seen(port) == port


def test_what_only_virtual_functions_have_is_refused(node: Node) -> None:
    port = node.new(88)
    for settings in (FunctionSettings(migratable=True), FunctionSettings(ipsec_crypto=True)):
        with pytest.raises(Unsupported):
            node.devlink.set_function(port.handle, port.index, settings)
    assert node.seen(port) == port
