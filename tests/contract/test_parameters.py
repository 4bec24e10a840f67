"""The light probe: a function comes up with its devlink instance alone; parameters and a reload make it whole."""

from collections.abc import Callable

import pytest
from tests.contract.node import Node

from subfunction.errors import Invalid, Unsupported
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.port import FunctionSettings
from subfunction.kernel.rdma import RdmaDevice
from subfunction.kernel.uapi import PortFlavour

pytestmark = pytest.mark.needs("mlx5")
MAC = Mac.parse("02:00:00:00:88:88")


def path_of(node: Node, instance: Handle) -> str:
    path = node.sysfs.resolve(instance.path)
    assert path is not None
    return path


def test_a_function_comes_up_with_everything_disabled(node: Node) -> None:
    instance = node.attach(node.new(88))
    names = ("enable_roce", "enable_eth", "enable_rdma", "enable_vnet")
    assert [node.devlink.parameter(instance, name) for name in names] == [False] * 4
    assert node.virtual_port(instance) is None
    assert Netdev.under(node.sysfs, path_of(node, instance)) == ()
    assert RdmaDevice.under(node.sysfs, path_of(node, instance)) is None


def test_a_parameter_that_is_not_there_is_unknown(node: Node) -> None:
    instance = node.attach(node.new(88))
    assert node.devlink.parameter(instance, "enable_everything") is None
    assert node.devlink.parameter(Handle("auxiliary", "mlx5_core.sf.4711"), "enable_eth") is None


def test_a_parameter_set_is_shown_at_once_and_acts_with_the_reload(node: Node) -> None:
    instance = node.attach(node.new(88))
    node.devlink.set_parameter(instance, "enable_eth", value=True)
    assert node.devlink.parameter(instance, "enable_eth") is True
    assert node.devlink.parameter(instance, "enable_rdma") is False
    assert Netdev.under(node.sysfs, path_of(node, instance)) == ()
    node.devlink.reload(instance)
    assert len(Netdev.under(node.sysfs, path_of(node, instance))) == 1


def test_a_reload_brings_the_netdev_with_the_functions_address(node: Node, judge: Callable[[], None]) -> None:
    instance = node.attach(node.new(88, settings=FunctionSettings(mac=MAC)))
    node.load(instance)
    port = node.virtual_port(instance)
    assert port is not None
    assert port.flavour is PortFlavour.VIRTUAL
    (netdev,) = Netdev.under(node.sysfs, path_of(node, instance))
    assert (netdev.name, netdev.ifindex, netdev.mac) == (port.netdev, port.ifindex, MAC)
    assert (netdev.mtu, netdev.up) == (1500, False)
    judge()


def test_a_reload_brings_the_rdma_device_and_its_verbs_device(node: Node) -> None:
    instance = node.attach(node.new(88))
    node.load(instance)
    device = RdmaDevice.under(node.sysfs, path_of(node, instance))
    assert device is not None
    assert node.sysfs.resolve(f"class/infiniband/{device.name}") == device.path
    assert device.verbs is not None
    major, _, minor = device.verbs.number.partition(":")
    assert major == "231"
    assert int(minor) >= 192
    assert device.verbs.name.startswith("infiniband/uverbs")
    assert node.sysfs.resolve(f"class/infiniband_verbs/{device.verbs.name.removeprefix('infiniband/')}")


def test_what_is_disabled_again_goes_with_the_next_reload(node: Node) -> None:
    instance = node.attach(node.new(88))
    node.load(instance)
    node.devlink.set_parameter(instance, "enable_rdma", value=False)
    node.devlink.reload(instance)
    assert RdmaDevice.under(node.sysfs, path_of(node, instance)) is None
    assert len(Netdev.under(node.sysfs, path_of(node, instance))) == 1


def gids(node: Node, instance: Handle) -> int:
    device = RdmaDevice.under(node.sysfs, path_of(node, instance))
    assert device is not None
    assert device.verbs is not None
    return len(node.sysfs.names(f"{device.path}/ports/1/gids"))


def test_an_rdma_device_has_gids_where_roce_is_enabled_too(node: Node) -> None:
    instance = node.attach(node.new(88))
    node.load(instance, "enable_eth", "enable_rdma")
    assert gids(node, instance) == 0
    node.load(instance, "enable_roce")
    assert gids(node, instance) == 64


def test_a_function_without_roce_has_rdma_for_raw_ethernet_and_refuses_roce(node: Node) -> None:
    instance = node.attach(node.new(88, settings=FunctionSettings(roce=False)))
    with pytest.raises(Unsupported, match="name enable_roce value true"):
        node.devlink.set_parameter(instance, "enable_roce", value=True)
    node.load(instance, "enable_eth", "enable_rdma")
    assert gids(node, instance) == 0


def test_parameters_are_forgotten_when_the_function_is_activated_anew(node: Node) -> None:
    port = node.new(88)
    node.load(node.attach(port))
    node.detach(port)
    instance = node.attach(port)
    assert node.devlink.parameter(instance, "enable_eth") is False


def test_a_sub_function_has_no_e_switch_and_no_room_for_others(node: Node) -> None:
    instance = node.attach(node.new(88))
    assert node.devlink.eswitch_mode(instance) is None
    assert node.devlink.capacity(instance) is None


def test_a_netdev_that_a_pod_took_is_missing_from_port_and_sysfs_until_it_is_back(node: Node) -> None:
    instance = node.attach(node.new(88))
    node.load(instance)
    (netdev,) = Netdev.under(node.sysfs, path_of(node, instance))
    node.console.take_netdev(netdev.name)
    port = node.virtual_port(instance)
    assert port is not None
    assert (port.netdev, port.ifindex) == (None, None)
    assert Netdev.under(node.sysfs, path_of(node, instance)) == ()
    assert Netdev.named(node.sysfs, netdev.name) is None
    node.console.return_netdev(netdev.name)
    (back,) = Netdev.under(node.sysfs, path_of(node, instance))
    assert (back.name, back.up) == (netdev.name, False)


def test_the_sizes_of_event_queues_are_shown_set_loaded_and_forgotten(node: Node) -> None:
    port = node.new(88)
    instance = node.attach(port)
    sizes = ("io_eq_size", "event_eq_size")
    assert [node.devlink.parameter(instance, name) for name in sizes] == [1024, 4096]
    for name in sizes:
        node.devlink.set_parameter(instance, name, value=64)
    assert [node.devlink.parameter(instance, name) for name in sizes] == [64, 64]
    node.load(instance)
    assert [node.devlink.parameter(instance, name) for name in sizes] == [64, 64]
    assert len(Netdev.under(node.sysfs, path_of(node, instance))) == 1
    node.detach(port)
    instance = node.attach(port)
    assert [node.devlink.parameter(instance, name) for name in sizes] == [1024, 4096]


@pytest.mark.parametrize("size", [0, 63, 4097])
def test_a_size_out_of_range_is_refused_and_the_former_one_stays(node: Node, size: int) -> None:
    instance = node.attach(node.new(88))
    with pytest.raises(Invalid, match=f"name io_eq_size value {size} "):
        node.devlink.set_parameter(instance, "io_eq_size", value=size)
    assert node.devlink.parameter(instance, "io_eq_size") == 1024


def test_a_value_of_another_type_is_refused(node: Node) -> None:
    instance = node.attach(node.new(88))
    with pytest.raises(Invalid):
        node.devlink.set_parameter(instance, "io_eq_size", value=True)
    with pytest.raises(Invalid):
        node.devlink.set_parameter(instance, "enable_eth", value=1)
