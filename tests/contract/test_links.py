"""Setting a network link, and what is said of it afterwards: a representor, and the netdev of a function."""

import dataclasses
import re

import pytest
from tests.contract.node import Node, until

from subfunction.errors import Gone, Invalid, KernelError, Unsupported
from subfunction.kernel.address import Mac
from subfunction.kernel.link import LinkNames, LinkSettings
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.port import Port

MAC = Mac.parse("02:00:00:00:88:88")
MULTICAST = Mac.parse("01:00:5e:00:00:01")


def representor(node: Node) -> tuple[Port, Netdev]:
    port = node.make_room(node.new(88))
    return port, node.representor(port)


def test_a_representor_can_be_set_up_and_down(node: Node) -> None:
    port, netdev = representor(node)
    for up in (True, False):
        node.links.set(netdev.ifindex, LinkSettings(up=up))
        assert node.representor(port).up is up


def test_name_address_and_mtu_are_set_by_one_request(node: Node) -> None:
    netdev = node.netdev(node.new(88))
    mac, mtu = MAC if node.personality.address_settable else None, node.personality.function_mtu
    node.links.set(netdev.ifindex, LinkSettings(name="sf88", mac=mac, mtu=mtu, up=True))
    renamed = Netdev.named(node.sysfs, "sf88")
    assert renamed is not None
    assert (renamed.ifindex, renamed.mac, renamed.mtu, renamed.up) == (netdev.ifindex, mac or netdev.mac, mtu, True)
    assert Netdev.named(node.sysfs, netdev.name) is None


@pytest.mark.needs("mlx5", "as-6.12")
def test_a_representor_takes_no_address(node: Node) -> None:
    port, netdev = representor(node)
    with pytest.raises(Unsupported):
        node.links.set(netdev.ifindex, LinkSettings(mac=MAC))
    assert node.representor(port) == netdev


@pytest.mark.needs("mlx5", "as-7.3")
def test_a_representor_takes_an_address_and_its_function_keeps_its_own(node: Node) -> None:
    port, netdev = representor(node)
    node.links.set(netdev.ifindex, LinkSettings(mac=MAC))
    assert node.representor(port).mac == MAC
    assert node.seen(port) == port


@pytest.mark.needs("mlx5")
def test_a_representor_stays_in_its_network_namespace(node: Node) -> None:
    port, netdev = representor(node)
    # Linux 7.3 says it in words.
    with pytest.raises(OSError, match=r"Invalid argument|The interface netns is immutable"):
        node.console.take_netdev(netdev.name)
    assert node.representor(port) == netdev


def test_a_port_names_its_representor_by_the_new_name(node: Node) -> None:
    port, netdev = representor(node)
    node.links.set(netdev.ifindex, LinkSettings(name="sfrep88"))
    assert until(lambda: node.seen(port), lambda seen: seen.netdev == "sfrep88").ifindex == netdev.ifindex


def test_what_is_not_asked_for_stays_as_it_was(node: Node) -> None:
    port, netdev = representor(node)
    node.links.set(netdev.ifindex, LinkSettings(mtu=1400, up=True))
    node.links.set(netdev.ifindex, LinkSettings(mtu=1300))
    seen = node.representor(port)
    assert (seen.name, seen.mac, seen.mtu, seen.up) == (netdev.name, netdev.mac, 1300, True)
    node.links.set(netdev.ifindex, LinkSettings(up=False))
    assert node.representor(port) == dataclasses.replace(seen, up=False)


def test_a_representor_is_put_into_a_bridge_and_taken_out(node: Node) -> None:
    port, netdev = representor(node)
    assert netdev.master is None
    node.console.bridge("sfbr0")
    node.links.set(netdev.ifindex, LinkSettings(up=True, master=node.ifindex("sfbr0")))
    assert (node.representor(port).master, node.representor(port).up) == ("sfbr0", True)
    node.links.set(netdev.ifindex, LinkSettings(master=0))
    assert (node.representor(port).master, node.representor(port).up) == (None, True)


def test_a_bridge_is_told_from_the_netdev_of_a_device_by_its_kind(node: Node) -> None:
    _, netdev = representor(node)
    node.console.bridge("sfbr0")
    assert node.links.kind(node.ifindex("sfbr0")) == "bridge"
    assert node.links.kind(netdev.ifindex) == ""
    assert node.links.kind(4711) is None


def test_a_link_is_found_by_each_of_its_names_and_no_other_takes_one(node: Node) -> None:
    _, netdev = representor(node)
    other = node.representor(node.new(89))
    long = "fabric-blue-port0-of-a-node-with-a-long-name"
    for alternative in ("sfalt0", long):
        node.console.add_alternative_name(netdev.name, alternative)
    expected = LinkNames(netdev.name, ("sfalt0", long))
    assert [node.links.find(name) for name in (netdev.name, "sfalt0", long)] == [expected] * 3
    assert node.links.find(other.name) == LinkNames(other.name)
    assert node.links.find("sfalt1") is None
    for link in (netdev, other):
        with pytest.raises(KernelError, match="File exists"):
            node.links.set(link.ifindex, LinkSettings(name="sfalt0"))


def test_a_link_that_is_not_there_is_gone(node: Node) -> None:
    with pytest.raises(Gone, match="ip link set if4711 up"):
        node.links.set(4711, LinkSettings(up=True))


def test_a_master_that_is_not_there_is_refused(node: Node) -> None:
    port, netdev = representor(node)
    with pytest.raises(KernelError):
        node.links.set(netdev.ifindex, LinkSettings(master=4711))
    assert node.representor(port).master is None


def test_the_name_of_another_link_is_refused(node: Node) -> None:
    port, netdev = representor(node)
    other = node.representor(node.new(89))
    with pytest.raises(KernelError, match="File exists") as refused:
        node.links.set(netdev.ifindex, LinkSettings(name=other.name))
    assert "ip link show" in refused.value.hint
    assert node.representor(port) == netdev


def test_an_mtu_beyond_the_drivers_limit_is_refused_with_that_limit(node: Node) -> None:
    netdev = node.netdev(node.new(88))
    with pytest.raises(Invalid, match="mtu greater than device maximum") as refused:
        node.links.set(netdev.ifindex, LinkSettings(mtu=20000))
    assert Netdev.named(node.sysfs, netdev.name) == netdev
    found = re.search(r"68 to (\d+)", refused.value.hint)
    assert found is not None
    limit = int(found[1])
    assert limit >= node.personality.function_mtu
    with pytest.raises(Invalid):
        node.links.set(netdev.ifindex, LinkSettings(mtu=limit + 1))


@pytest.mark.parametrize("settings", [LinkSettings(mtu=40), LinkSettings(mac=MULTICAST)])
def test_a_value_that_no_link_can_have_is_refused(node: Node, settings: LinkSettings) -> None:
    netdev = node.netdev(node.new(88))
    fixed = settings.mac is not None and not node.personality.address_settable
    with pytest.raises(Unsupported if fixed else Invalid):
        node.links.set(netdev.ifindex, settings)
    assert Netdev.named(node.sysfs, netdev.name) == netdev
