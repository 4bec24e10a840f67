"""Flavour virtio: a vDPA device on a sub-function, on the driver of its use, and never in anybody's way."""

import time
from pathlib import Path

import pytest
from tests.contract.instruments import VdpaConfig, WholeVdpa, find_vdpa

from rig.claims import port_claim
from rig.waiting import until
from rig.world import PARENT, World, derived
from subfunction.api.reasons import Reason
from subfunction.errors import DriverNotLoaded, Foreign, HeldOpen, UnsupportedField
from subfunction.kernel.address import Mac
from subfunction.kernel.bus.vdpa import FEATURES, VdpaDevice, VdpaSettings, derive_vdpa_name
from subfunction.kernel.link import LinkSettings
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.state.records import State
from subfunction_operator.agent.model.decision import ReconcileResult, Settled
from subfunction_operator.agent.model.steps import Deactivate, DeletePort, DeleteVdpa, OverrideDriver, UnbindDriver
from subfunction_simulator.kernel import Topology
from subfunction_simulator.kernel.topology import MODULES

pytestmark = pytest.mark.mlx5("vDPA")

NAME = derive_vdpa_name("uid-blue")


def device(world: World) -> VdpaDevice | None:
    return find_vdpa(world.sysfs, NAME)


def config_of(world: World) -> VdpaConfig:
    config = WholeVdpa(Netlink(world.kernel.transport())).config(NAME)
    assert config is not None
    return config


def driver(world: World) -> str | None:
    found = device(world)
    return found.driver if found else None


def assert_ready(world: World, result: ReconcileResult) -> None:
    assert result.error is None, result.error
    assert result.decision == Settled()
    assert world.offered()


def test_user_space_gets_the_vhost_device_of_a_sub_function_that_is_nothing_else(world: World) -> None:
    world.apply(flavour="virtio")
    assert_ready(world, world.settle())
    record = world.record()
    assert driver(world) == "vhost_vdpa"
    assert record.device_id == NAME
    assert [(node.container_path, node.permissions) for node in record.nodes] == [("/dev/vhost-vdpa-0", "rw")]
    assert record.env == {"SUBFUNCTION_DEVICE": NAME, "SUBFUNCTION_MAC": derived()}
    config = config_of(world)
    assert str(config.mac) == derived()
    seen = world.look()
    assert (seen.native, seen.rdma) == (None, None)


def test_the_host_gets_a_virtio_netdev_with_the_objects_mac(world: World) -> None:
    world.apply(flavour="virtio", virtio={"driver": "virtio-vdpa"})
    assert_ready(world, world.settle())
    record = world.record()
    netdev = Netdev.named(world.sysfs, record.env["SUBFUNCTION_NETDEV"])
    assert netdev is not None
    assert str(netdev.mac) == derived()
    assert record.nodes == ()


def test_a_device_that_another_driver_took_first_is_bound_anew_before_it_is_offered(root: Path) -> None:
    world = World(root, Topology(modules=tuple(reversed(MODULES))))
    world.apply(flavour="virtio")
    assert_ready(world, world.settle())
    assert driver(world) == "vhost_vdpa"


@pytest.mark.parametrize("missing", ["vhost_vdpa", "mlx5_vdpa"])
def test_a_driver_that_is_not_loaded_is_named_with_what_to_type(root: Path, missing: str) -> None:
    world = World(root, Topology(modules=tuple(module for module in MODULES if module != missing)))
    world.apply(flavour="virtio")
    error = world.settle().error
    assert isinstance(error, DriverNotLoaded)
    assert error.reason == Reason.DRIVER_NOT_LOADED
    assert f"modprobe {missing}" in str(error)
    assert "/etc/modules-load.d/" in str(error)
    world.kernel.load_module(missing)
    assert_ready(world, world.settle())


def test_it_is_made_as_asked(world: World) -> None:
    world.apply(flavour="virtio", virtio={"queuePairs": 2, "mtu": 9000})
    assert_ready(world, world.settle())
    config = config_of(world)
    assert (config.queue_pairs, config.mtu) == (2, 9000)


def test_a_feature_that_virtio_does_not_have_is_refused_with_those_it_has(world: World) -> None:
    world.apply(flavour="virtio", virtio={"features": ["TELEPATHY"]})
    error = world.settle().error
    assert isinstance(error, UnsupportedField)
    assert "TELEPATHY" in str(error)
    assert all(name in str(error) for name in FEATURES)


def test_what_it_is_made_with_is_changed_by_making_it_anew_unless_a_pod_has_it(world: World) -> None:
    world.apply(flavour="virtio")
    world.settle()
    world.pods.take("uid-blue")
    world.apply(flavour="virtio", virtio={"mtu": 1400})
    before = device(world)
    result = world.settle()
    assert isinstance(result.decision, Settled)
    assert "vDPA device" in result.decision.pending
    assert device(world) == before
    world.pods.give_back("uid-blue")
    assert_ready(world, world.settle())
    config = config_of(world)
    assert config.mtu == 1400


def test_another_driver_is_bound_without_making_the_device_anew(world: World) -> None:
    world.apply(flavour="virtio")
    world.settle()
    world.apply(flavour="virtio", virtio={"driver": "virtio-vdpa"})
    assert_ready(world, world.settle())
    assert driver(world) == "virtio_vdpa"
    assert [step for step in world.seam.steps if isinstance(step, DeleteVdpa)] == []


def test_it_goes_in_an_order_that_stops_nobody_else(world: World) -> None:
    world.apply(flavour="virtio")
    world.settle()
    world.delete()
    world.settle()
    order = (UnbindDriver, OverrideDriver, DeleteVdpa, Deactivate, DeletePort)
    taken = [type(step) for step in world.seam.steps if isinstance(step, order)]
    assert taken[-5:] == [UnbindDriver, OverrideDriver, DeleteVdpa, Deactivate, DeletePort]
    assert world.objects == {}
    assert (world.port_numbers(), device(world)) == ([], None)


def test_a_deletion_waits_for_whoever_has_it_open_and_everybody_else_goes_on(world: World) -> None:
    world.apply(flavour="virtio")
    world.settle()
    held = world.kernel.hold_open("vhost-vdpa-0")
    world.delete()
    error = world.settle().error
    assert isinstance(error, HeldOpen)
    assert error.reason == Reason.HELD_OPEN
    assert world.record().state is State.DRAINING
    began = time.monotonic()
    for _ in range(2):
        assert isinstance(world.settle().error, HeldOpen)  # asked again, and no second thread waits
    world.apply("other", flavour="virtio")
    world.settle("other")
    assert world.offered("other")
    world.delete("other")
    world.settle("other")
    assert time.monotonic() - began < 5
    held.close()
    until(lambda: world.settle().error is None, "the device is let go")
    assert (world.objects, world.port_numbers()) == ({}, [])


def test_a_restarted_agent_does_not_delete_what_is_still_being_unbound(world: World) -> None:
    world.apply(flavour="virtio")
    world.settle()
    held = world.kernel.hold_open("vhost-vdpa-0")
    world.delete()
    world.settle()
    world.restart()
    assert isinstance(world.settle().error, HeldOpen)
    assert [step for step in world.seam.steps if isinstance(step, DeleteVdpa)] == []
    held.close()
    until(lambda: world.settle().error is None, "the device is let go")
    assert world.port_numbers() == []


def test_a_device_that_somebody_deleted_is_made_again(world: World) -> None:
    world.apply(flavour="virtio")
    world.settle()
    world.kernel.delete_vdpa(NAME)
    assert_ready(world, world.settle())
    assert driver(world) == "vhost_vdpa"


def test_a_mac_that_changes_reaches_the_vdpa_device(world: World) -> None:
    world.apply(flavour="virtio")
    world.settle()
    world.apply(flavour="virtio", macAddress="02:00:00:00:00:07")
    assert_ready(world, world.settle())
    config = config_of(world)
    assert str(config.mac) == "02:00:00:00:00:07"
    assert port_claim(world.record()).mac_address == "02:00:00:00:00:07"


def test_a_vdpa_device_that_somebody_made_on_a_native_sub_function_goes_before_it_is_deactivated(root: Path) -> None:
    world = World(root, Topology(light_probe=False))
    world.apply()
    world.settle()
    auxiliary = world.look().auxiliary
    assert auxiliary is not None
    world.doors.vdpa.add("theirs", auxiliary.handle, VdpaSettings())
    world.delete()
    world.settle()
    assert world.port_numbers(PARENT) == []
    assert find_vdpa(world.sysfs, "theirs") is None


@pytest.fixture
def in_a_pod(world: World) -> World:
    """A node whose virtio netdev is in a pod."""
    world.apply(flavour="virtio", virtio={"driver": "virtio-vdpa"})
    world.settle()
    world.pods.take("uid-blue")
    world.kernel.move_netdev(world.record().env["SUBFUNCTION_NETDEV"])
    return world


def test_a_virtio_netdev_in_a_pod_is_no_drift(in_a_pod: World) -> None:
    assert_ready(in_a_pod, in_a_pod.settle())
    assert in_a_pod.record().lent
    in_a_pod.restart()
    assert_ready(in_a_pod, in_a_pod.settle())
    assert in_a_pod.seam.steps == []


def test_a_virtio_netdev_that_comes_back_is_made_what_it_was(in_a_pod: World) -> None:
    in_a_pod.settle()
    name = in_a_pod.record().env["SUBFUNCTION_NETDEV"]
    in_a_pod.pods.give_back("uid-blue")
    in_a_pod.kernel.namespace_ends(mtu=1300)
    assert_ready(in_a_pod, in_a_pod.settle())
    netdev = Netdev.named(in_a_pod.sysfs, name)
    assert netdev is not None
    assert netdev.mtu == 1500
    in_a_pod.delete()
    in_a_pod.settle()
    assert in_a_pod.port_numbers() == []


def test_a_virtio_netdev_with_another_address_is_still_ours(world: World) -> None:
    world.apply(flavour="virtio", virtio={"driver": "virtio-vdpa"})
    world.settle()
    netdev = Netdev.named(world.sysfs, world.record().env["SUBFUNCTION_NETDEV"])
    assert netdev is not None
    world.doors.links.set(netdev.ifindex, LinkSettings(up=False))
    world.doors.links.set(netdev.ifindex, LinkSettings(mac=Mac.parse("02:00:00:00:00:77")))
    assert_ready(world, world.settle())
    world.delete()
    world.settle()
    assert world.port_numbers() == []


def test_features_that_are_asked_for_are_those_it_has(world: World) -> None:
    world.apply(flavour="virtio", virtio={"features": ["MTU", "MAC"]})
    assert_ready(world, world.settle())
    config = config_of(world)
    assert config.features is not None
    asked = sum(1 << FEATURES[name] for name in ("MTU", "MAC", "VERSION_1", "ACCESS_PLATFORM"))
    assert config.features & ~asked == 0


def test_one_that_was_left_behind_can_be_adopted(world: World) -> None:
    world.apply("old", flavour="virtio", number=5, deletionPolicy="Retain")
    world.settle("old")
    world.delete("old")
    world.settle("old")
    world.apply(flavour="virtio", number=5)
    assert isinstance(world.settle().error, Foreign)
    world.apply(flavour="virtio", number=5, adopt=True)
    assert_ready(world, world.settle())
    assert driver(world) == "vhost_vdpa"


def test_half_changed_it_is_not_offered_because_nobody_can_tell_who_has_it(world: World) -> None:
    world.apply(flavour="virtio")
    world.settle()
    held = world.kernel.hold_open("vhost-vdpa-0")
    world.apply(flavour="virtio", virtio={"driver": "virtio-vdpa"})
    assert isinstance(world.settle().error, HeldOpen)
    world.pods.kubelet_answers = False
    world.settle()
    assert not world.offered()
    held.close()
    world.pods.kubelet_answers = True
    until(lambda: world.settle().error is None, "the device is let go")
    assert driver(world) == "virtio_vdpa"
