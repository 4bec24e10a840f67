"""A virtual function that the host itself uses (a management port is one) is left to it, unless it is adopted."""

from pathlib import Path

import pytest

from rig.virtualfunctions import FUNCTIONS, VF, assert_ready, function, netdev
from rig.world import World
from subfunction.errors import Foreign
from subfunction.kernel.link import LinkSettings
from subfunction.kernel.netdev import Netdev
from subfunction_simulator.kernel import Topology


def in_a_bridge_of_the_host(root: Path) -> World:
    world = World(root, Topology(parents=(FUNCTIONS,)))
    world.kernel.bridge("br-ex")
    bridge = Netdev.named(world.sysfs, "br-ex")
    assert bridge is not None
    world.doors.links.set(netdev(world).ifindex, LinkSettings(up=True, master=bridge.ifindex))
    assert (netdev(world).up, netdev(world).master) == (True, "br-ex")
    return world


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: a virtual function that is up and in a bridge of the host is taken without `adopt`",
)
def test_a_function_whose_netdev_is_up_and_in_a_bridge_is_foreign(root: Path) -> None:
    world = in_a_bridge_of_the_host(root)
    before = function(world).driver
    world.apply(**VF)
    error = world.settle().error
    assert function(world).driver == before, "it was unbound from the host's driver"
    assert isinstance(error, Foreign)
    assert netdev(world).master == "br-ex"


def test_a_function_that_the_host_uses_is_taken_when_it_is_adopted(root: Path) -> None:
    world = in_a_bridge_of_the_host(root)
    world.apply(**VF, adopt=True)
    assert_ready(world, world.settle())
