"""What a spec sets: MTU, rate, representor, and what of it may change while a pod has the device."""

from pathlib import Path
from typing import Any

import pytest

from rig.world import PARENT, World, derived
from subfunction.api.reasons import Reason
from subfunction.errors import BridgeNotFound, Invalid, SubFunctionError, UnsupportedField
from subfunction.kernel.devlink import RateLeaf
from subfunction.kernel.netdev import Netdev
from subfunction_operator.agent.model.decision import ReconcileResult, Settled
from subfunction_operator.agent.model.steps import Deactivate, SetLink, SetRate
from subfunction_simulator.kernel import Operation, Topology
from subfunction_simulator.kernel.network.netdev import Looks
from subfunction_simulator.kernel.network.netdevs import VIRTUAL

GBIT = 1_000_000_000


def assert_ready(result: ReconcileResult) -> None:
    assert result.error is None, result.error
    assert result.decision == Settled()


def representor(world: World) -> Netdev:
    name = world.objects["uid-blue"].status.representor
    found = Netdev.named(world.sysfs, name or "")
    assert found is not None
    return found


def netdev(world: World) -> Netdev:
    found = Netdev.named(world.sysfs, world.record().env["SUBFUNCTION_NETDEV"])
    assert found is not None
    return found


def rate(world: World) -> RateLeaf | None:
    port = world.look().port
    assert port is not None
    return world.devlink.rate(PARENT, port.index)


def test_the_mtu_is_set_and_follows_the_spec(world: World) -> None:
    world.apply(mtu=1300)
    assert_ready(world.settle())
    assert netdev(world).mtu == 1300
    world.apply(mtu=1400)
    assert_ready(world.settle())
    assert netdev(world).mtu == 1400
    assert [step for step in world.seam.steps if isinstance(step, Deactivate)] == []


def test_an_mtu_that_the_driver_refuses_is_said_in_its_words_and_takes_nothing_away(world: World) -> None:
    world.apply()
    world.settle()
    world.apply(mtu=9978)
    world.kernel.faults.fail_next(Operation.SET_LINK, 22, "mtu greater than device maximum")
    error = world.settle().error
    assert isinstance(error, Invalid)
    assert "mtu greater than device maximum" in str(error)
    assert world.offered()


def test_an_mtu_that_changes_while_a_pod_has_the_netdev_waits_for_its_return(world: World) -> None:
    world.apply()
    world.settle()
    name = netdev(world).name
    world.kernel.move_netdev(name)
    world.settle()
    world.apply(mtu=1300)
    result = world.settle()
    assert isinstance(result.decision, Settled)
    assert "MTU" in result.decision.pending
    world.kernel.namespace_ends()
    assert_ready(world.settle())
    assert netdev(world).mtu == 1300


@pytest.mark.mlx5("rates")
def test_a_rate_is_given_in_bits_and_reaches_the_kernel_in_bytes(world: World) -> None:
    world.apply(rate={"shareBitsPerSecond": GBIT, "maxBitsPerSecond": 10 * GBIT})
    assert_ready(world.settle())
    assert rate(world) == RateLeaf(share=125_000_000, maximum=1_250_000_000)


@pytest.mark.mlx5("rates")
def test_a_rate_changes_while_a_pod_has_the_device_and_ends_with_the_spec(world: World) -> None:
    world.apply(rate={"maxBitsPerSecond": GBIT})
    world.settle()
    world.pods.take("uid-blue")
    world.apply(rate={"maxBitsPerSecond": 2 * GBIT})
    assert_ready(world.settle())
    assert rate(world) == RateLeaf(share=0, maximum=250_000_000)
    world.apply()
    assert_ready(world.settle())
    assert rate(world) == RateLeaf(share=0, maximum=0)
    assert [step for step in world.seam.steps if isinstance(step, Deactivate)] == []


@pytest.mark.mlx5("rates")
def test_a_rate_that_somebody_else_set_is_theirs(world: World) -> None:
    world.apply()
    world.settle()
    port = world.look().port
    assert port is not None
    world.devlink.set_rate(PARENT, port.index, maximum=125_000_000)
    world.restart()
    assert_ready(world.settle())
    assert [step for step in world.seam.steps if isinstance(step, SetRate)] == []


@pytest.mark.mlx5("rates")
def test_a_rate_between_two_steps_of_the_nic_is_refused_with_both(world: World) -> None:
    world.apply(rate={"maxBitsPerSecond": 1_500_000})
    error = world.settle().error
    assert isinstance(error, UnsupportedField)
    assert "1000000 or 2000000" in str(error)


@pytest.mark.mlx5("rates")
def test_a_rate_above_the_links_speed_is_said_in_the_kernels_words(world: World) -> None:
    world.apply(rate={"maxBitsPerSecond": 1_000 * GBIT})
    error = world.settle().error
    assert isinstance(error, Invalid)
    assert "link maximum speed" in str(error)


def test_the_representor_is_up_has_its_mtu_and_is_in_its_bridge(root: Path) -> None:
    world = World(root, Topology(bridges=("br0",)))
    world.apply(representor={"mtu": 9000, "bridge": "br0"})
    assert_ready(world.settle())
    shown = representor(world)
    assert (shown.up, shown.mtu, shown.master) == (True, 9000, "br0")
    assert netdev(world).mtu == 1500


def test_a_bridge_that_is_not_there_is_waited_for_by_its_name(world: World) -> None:
    world.apply(representor={"bridge": "br0"})
    error = world.settle().error
    assert isinstance(error, BridgeNotFound)
    assert "ip link add br0 type bridge" in str(error)
    world.kernel.bridge("br0")
    assert_ready(world.settle())
    assert representor(world).master == "br0"


@pytest.mark.parametrize(
    ("kind", "parent", "words"),
    [
        ("openvswitch", VIRTUAL, ("an interface of Open vSwitch", "ovs-vsctl add-port")),
        ("bond", VIRTUAL, ("a link of kind bond", "ip -d link show other")),
        (None, "devices/pci0000:00/0000:00:19.0", ("the netdev of a device", "ip -d link show other")),
    ],
    ids=["openvswitch", "bond", "NIC"],
)
def test_a_link_that_has_the_name_of_the_bridge_is_named_by_what_it_is(
    world: World, kind: str | None, parent: str, words: tuple[str, str]
) -> None:
    with world.kernel.lock:
        world.kernel.hardware.netdevs.add(parent, None, Looks(name="other", kind=kind))
    world.apply(representor={"bridge": "other"})
    error = world.settle().error
    assert isinstance(error, BridgeNotFound)
    assert words[0] in error.message
    assert words[1] in error.hint
    assert "ip link add" not in str(error)
    shown = world.look().representor
    assert shown is not None
    assert shown.name in str(error)
    assert shown.master is None


def test_a_representor_that_is_in_somebodys_bridge_stays_there_if_none_is_asked_for(root: Path) -> None:
    world = World(root, Topology(bridges=("br0",)))
    world.apply(representor={"bridge": "br0"})
    world.settle()
    world.apply()
    assert_ready(world.settle())
    assert representor(world).master == "br0"


@pytest.mark.parametrize("what", ["down", "renamed"])
def test_a_representor_that_changed_is_as_it_should_be_after_the_next_look(world: World, what: str) -> None:
    world.apply()
    world.settle()
    if what == "down":
        world.kernel.set_netdev_up(representor(world).name, up=False)
    else:
        world.kernel.rename_netdev(representor(world).name, "rep88")
    assert_ready(world.settle())
    assert representor(world).up
    assert what == "down" or representor(world).name == "rep88"


def test_a_netdev_that_udev_renames_is_offered_under_its_new_name(world: World) -> None:
    world.apply()
    world.settle()
    world.kernel.rename_netdev(netdev(world).name, "enp3s0f0s1")
    world.restart()
    assert_ready(world.settle())
    assert netdev(world).name == "enp3s0f0s1"
    assert [step for step in world.seam.steps if isinstance(step, SetLink)] == []


@pytest.mark.parametrize(
    "spec",
    [{"rate": {"maxBitsPerSecond": 1_500_000}}, {"capabilities": {"migratable": True}}],
    ids=["rate", "capability"],
)
def test_an_edit_that_cannot_be_had_says_so_and_takes_nothing_out_of_the_offer(
    world: World, spec: dict[str, Any]
) -> None:
    world.apply()
    world.settle()
    world.apply(**spec)
    error = world.settle().error
    assert isinstance(error, SubFunctionError)
    assert error.reason == Reason.UNSUPPORTED
    assert world.offered()
    assert world.mac(1) == derived()
