"""The life of a vDPA device: made on a function, bound to one driver or the other, held open, deleted."""

import threading
from collections.abc import Callable

import pytest
from tests.contract.instruments import find_vdpa
from tests.contract.node import Node, until

from subfunction.errors import Full, Gone, KernelError, Unsupported
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.bus import driver_binding
from subfunction.kernel.bus.vdpa import BUS, FEATURES, VdpaDevice, VdpaSettings, derive_vdpa_name, list_virtio_netdevs
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.port import FunctionSettings

pytestmark = pytest.mark.needs("vdpa")
MAC = Mac.parse("02:00:00:00:88:88")
NAME = derive_vdpa_name("7f0c0a52-0b7c-4a3e-9c0d-3f2f0d6a9a11")
OTHER = derive_vdpa_name("another")
SETTINGS = VdpaSettings(mac=MAC, mtu=1500)


def function(node: Node, number: int = 88) -> Handle:
    """Bring up a function that vDPA devices can be made on."""
    instance = node.attach(node.new(number, settings=FunctionSettings(mac=MAC)))
    node.load(instance, "enable_vnet")
    return instance


def seen(node: Node, name: str = NAME) -> VdpaDevice:
    device = find_vdpa(node.sysfs, name)
    assert device is not None
    return device


def bind(node: Node, driver: str, name: str = NAME) -> VdpaDevice:
    """Bind a device to a driver, from whatever it is bound to."""
    driver_binding.override(node.sysfs, BUS, name, driver)
    before = seen(node, name).driver
    if before not in {None, driver}:
        driver_binding.unbind(node.sysfs, BUS, name, str(before))
        until(lambda: seen(node, name).driver, lambda bound: bound is None)
    if before != driver:
        driver_binding.probe(node.sysfs, BUS, name)
    # A driver's link is there before its probe is over, and not every way to a kernel waits for that when it writes.
    is_vhost = driver == "vhost_vdpa"
    return until(
        lambda: seen(node, name), lambda device: device.driver == driver and (device.vhost is not None) is is_vhost
    )


def unbind(node: Node, name: str = NAME) -> None:
    driver = seen(node, name).driver
    if driver is not None:
        driver_binding.unbind(node.sysfs, BUS, name, driver)


def answers(ask: Callable[[], object]) -> bool:
    """Say whether something is answered while something else is not."""
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()


def test_a_function_is_managed_once_it_has_vnet(node: Node) -> None:
    instance = node.attach(node.new(88))
    assert instance not in [device.handle for device in node.vdpa.management_devices()]
    node.load(instance, "enable_vnet")
    (device,) = [device for device in node.vdpa.management_devices() if device.handle == instance]
    for name in ("MAC", "MTU", "VERSION_1", "ACCESS_PLATFORM"):
        assert device.features >> FEATURES[name] & 1
    assert device.max_queue_pairs is not None
    assert device.max_queue_pairs >= 1


def test_a_device_is_found_by_name_and_under_its_function(node: Node) -> None:
    instance = function(node)
    assert find_vdpa(node.sysfs, NAME) is None
    assert VdpaDevice.under(node.sysfs, node.path(instance)) == ()
    node.vdpa.add(NAME, instance, SETTINGS)
    device = seen(node)
    assert device.path == f"{node.path(instance)}/{NAME}"
    assert device.driver in {None, "vhost_vdpa", "virtio_vdpa"}
    assert VdpaDevice.under(node.sysfs, node.path(instance)) == (device,)


def test_a_device_has_what_it_was_asked_for(node: Node) -> None:
    node.vdpa.add(NAME, function(node), VdpaSettings(mac=MAC, mtu=1400, queue_pairs=2))
    config = node.vdpa.config(NAME)
    assert config is not None
    assert (config.mac, config.mtu, config.queue_pairs) == (MAC, 1400, 2)
    assert config.features is not None
    assert config.features >> FEATURES["MAC"] & 1


def test_a_device_of_which_nothing_is_asked_has_the_functions_address(node: Node) -> None:
    node.vdpa.add(NAME, function(node), VdpaSettings())
    config = node.vdpa.config(NAME)
    assert config is not None
    assert config.mac == MAC


def test_both_drivers_are_loaded(node: Node) -> None:
    assert {"vhost_vdpa", "virtio_vdpa"} <= driver_binding.list_drivers(node.sysfs, BUS)


def test_vhost_gives_a_character_device(node: Node) -> None:
    node.vdpa.add(NAME, function(node), SETTINGS)
    device = bind(node, "vhost_vdpa")
    vhost = device.vhost
    assert vhost is not None
    assert vhost.name.startswith("vhost-vdpa-")
    assert vhost.path == f"{device.path}/{vhost.name}"
    assert vhost.number.partition(":")[0].isdecimal()


def test_virtio_gives_a_netdev_under_the_parent_with_the_devices_address(node: Node) -> None:
    parent = node.path(node.parent)
    before = list_virtio_netdevs(node.sysfs, parent)
    node.vdpa.add(NAME, function(node), SETTINGS)
    assert bind(node, "virtio_vdpa").vhost is None

    def ours() -> list[Netdev]:
        return [netdev for netdev in list_virtio_netdevs(node.sysfs, parent) if netdev not in before]

    (netdev,) = until(ours, len)
    assert (netdev.mac, netdev.mtu) == (MAC, 1500)
    unbind(node)
    until(ours, lambda netdevs: not netdevs)


def test_a_device_goes_from_one_driver_to_the_other_and_keeps_its_inode(node: Node) -> None:
    node.vdpa.add(NAME, function(node), SETTINGS)
    inode = seen(node).inode
    for driver in ("vhost_vdpa", "virtio_vdpa", "vhost_vdpa"):
        device = bind(node, driver)
        assert (device.driver, device.vhost is not None, device.inode) == (driver, driver == "vhost_vdpa", inode)


def test_a_device_made_anew_is_another_one(node: Node) -> None:
    instance = function(node)
    node.vdpa.add(NAME, instance, SETTINGS)
    first = seen(node)
    unbind(node)
    node.vdpa.delete(NAME)
    node.vdpa.add(NAME, instance, SETTINGS)
    assert seen(node).inode != first.inode


def test_a_deleted_device_is_gone(node: Node) -> None:
    instance = function(node)
    node.vdpa.add(NAME, instance, SETTINGS)
    node.vdpa.delete(NAME)
    assert find_vdpa(node.sysfs, NAME) is None
    assert VdpaDevice.under(node.sysfs, node.path(instance)) == ()
    assert node.vdpa.config(NAME) is None
    with pytest.raises(Gone, match=f"vdpa dev del {NAME}"):
        node.vdpa.delete(NAME)


def test_a_device_goes_with_its_function(node: Node) -> None:
    port = node.new(88, settings=FunctionSettings(mac=MAC))
    instance = node.attach(port)
    node.load(instance, "enable_vnet")
    node.vdpa.add(NAME, instance, SETTINGS)
    node.detach(port)
    until(lambda: find_vdpa(node.sysfs, NAME), lambda device: device is None)


def test_a_function_has_one_device(node: Node) -> None:
    instance = function(node)
    node.vdpa.add(NAME, instance, SETTINGS)
    with pytest.raises(Full, match="No space left") as refused:
        node.vdpa.add(OTHER, instance, SETTINGS)
    assert "vdpa dev show" in refused.value.hint
    assert find_vdpa(node.sysfs, OTHER) is None


def test_a_name_is_one_devices_of_the_whole_node(node: Node) -> None:
    first, second = function(node, 88), function(node, 89)
    node.vdpa.add(NAME, first, SETTINGS)
    with pytest.raises(KernelError, match="File exists") as refused:
        node.vdpa.add(NAME, second, SETTINGS)
    assert "another device of that name" in refused.value.hint
    assert VdpaDevice.under(node.sysfs, node.path(second)) == ()
    node.vdpa.add(OTHER, second, SETTINGS)


def test_a_function_without_vnet_is_no_management_device(node: Node) -> None:
    instance = node.attach(node.new(88))
    with pytest.raises(Gone, match="Fail to find the specified management device") as refused:
        node.vdpa.add(NAME, instance, SETTINGS)
    assert "enable_vnet" in refused.value.hint


def test_features_without_those_that_it_must_have_are_refused(node: Node) -> None:
    with pytest.raises((KernelError, Unsupported)):
        node.vdpa.add(NAME, function(node), VdpaSettings(features=1 << FEATURES["MAC"]))
    assert find_vdpa(node.sysfs, NAME) is None


def test_what_is_not_there_cannot_be_bound(node: Node) -> None:
    with pytest.raises(Gone):
        driver_binding.override(node.sysfs, BUS, NAME, "vhost_vdpa")
    with pytest.raises(Gone):
        driver_binding.unbind(node.sysfs, BUS, NAME, "no_such_driver")


@pytest.mark.needs("answers-writes")
def test_while_an_unbind_waits_for_who_has_the_device_open_everything_else_goes_on(node: Node) -> None:
    node.vdpa.add(NAME, function(node, 88), SETTINGS)
    other = function(node, 89)
    device = bind(node, "vhost_vdpa")
    assert device.vhost is not None
    with node.console.open(device.vhost.name):
        waiting = threading.Thread(target=lambda: unbind(node), daemon=True)
        waiting.start()
        # The link goes first, while the driver's remove() waits.
        until(lambda: seen(node), lambda device: device.driver is None)
        assert answers(node.devlink.all_ports)
        assert answers(lambda: node.vdpa.add(OTHER, other, SETTINGS))
        assert answers(lambda: node.vdpa.delete(OTHER))
        assert answers(lambda: node.new(90))
        assert find_vdpa(node.sysfs, OTHER) is None
        assert waiting.is_alive()
    waiting.join(20)
    assert not waiting.is_alive()
    node.vdpa.delete(NAME)
    assert find_vdpa(node.sysfs, NAME) is None
