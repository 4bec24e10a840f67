"""What tells a device from another one of the same name: the inodes of its directories."""

import pytest
from tests.contract.node import Node, until

from subfunction.kernel.address import Handle
from subfunction.kernel.bus.auxiliary import AuxiliaryDevice
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.rdma import RdmaDevice

pytestmark = pytest.mark.needs("mlx5")


def inodes(node: Node, instance: Handle) -> tuple[int, int, int]:
    """Give the inodes of auxiliary device, netdev and verbs device."""
    device = AuxiliaryDevice.named(node.sysfs, instance.device)
    assert device is not None
    (netdev,) = Netdev.under(node.sysfs, device.path)
    rdma = RdmaDevice.under(node.sysfs, device.path)
    assert rdma is not None
    assert rdma.verbs is not None
    inode = node.sysfs.inode(netdev.path)
    assert inode is not None
    return device.inode, inode, rdma.verbs.inode


def test_a_function_activated_anew_is_another_device_of_the_same_name(node: Node) -> None:
    port = node.new(88)
    first = node.attach(port)
    node.load(first)
    before = inodes(node, first)
    node.detach(port)
    until(node.auxiliary, lambda names: not names)
    second = node.attach(port)
    node.load(second)
    assert second == first
    after = inodes(node, second)
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_a_reload_keeps_the_auxiliary_device_and_makes_its_netdev_and_verbs_anew(node: Node) -> None:
    instance = node.attach(node.new(88))
    node.load(instance)
    device, netdev, verbs = inodes(node, instance)
    node.devlink.reload(instance)
    again = inodes(node, instance)
    assert again[0] == device
    assert again[1] != netdev
    assert again[2] != verbs


def test_two_functions_activated_in_the_other_order_swap_their_names(node: Node) -> None:
    eleven, twelve = node.new(11), node.new(12)
    first, second = node.attach(eleven), node.attach(twelve)
    node.detach(eleven)
    node.detach(twelve)
    until(node.auxiliary, lambda names: not names)
    assert node.attach(twelve) == first
    assert node.attach(eleven) == second
    assert node.sysfs.read(f"{first.path}/sfnum") == "12"
