"""A function that another driver has than the one that runs it: the vendor's is changed, a stranger's is left alone."""

import errno
import time
from pathlib import Path

import pytest

from rig.world import PARENT, Killed, World
from subfunction.errors import NotPermitted
from subfunction.kernel.sysfs import Sysfs
from subfunction_operator.agent.model.decision import Settled, Wait
from subfunction_operator.agent.model.steps import BindDriver, Deactivate, ProbeDriver, UnbindDriver
from subfunction_simulator.kernel import Operation
from subfunction_simulator.kernel.driver_core.auxiliary import AuxiliaryDevice, AuxiliaryDriver
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, no_work

RUNNING, CONFIGURATION, STRANGER = "mlx5_core.sf", "mlx5_core.sf_cfg", "acme_sf"
DEVICE = "mlx5_core.sf.2"


class Idle(AuxiliaryDriver):
    """Takes a function and does nothing with it."""

    def probe(self, device: AuxiliaryDevice, /) -> None:
        assert device.kind == RUNNING

    def remove(self, device: AuxiliaryDevice, /) -> PendingWork:
        assert device.kind == RUNNING
        return no_work()


class SlowBind:
    """A sysfs in which a bind returns late; what the kernel shows meanwhile is that the driver has the device."""

    def __init__(self, below: Sysfs) -> None:
        self._below = below
        self.read, self.target, self.resolve = self._below.read, self._below.target, self._below.resolve
        self.inode, self.names = self._below.inode, self._below.names

    def write(self, path: str, text: str) -> None:
        self._below.write(path, text)
        if path.endswith("/bind"):
            time.sleep(0.7)


class ReadOnly(SlowBind):
    """A sysfs that is mounted read-only below the drivers."""

    def write(self, path: str, text: str) -> None:
        if path.endswith("/bind"):
            raise NotPermitted.refused(f"write {text!r} to {path}", errno.EROFS, "")
        self._below.write(path, text)


def first_takes(world: World, name: str) -> World:
    """Let a driver be asked before the one that runs functions."""
    bus = world.kernel.hardware.auxiliary
    world.kernel.hardware.finish(bus.unregister(RUNNING))
    bus.register(Idle(name, RUNNING))
    bus.register(AuxiliaryDriver(RUNNING, RUNNING))
    return world


@pytest.fixture
def vendor(root: Path) -> World:
    return first_takes(World(root), CONFIGURATION)


def drivers(world: World) -> list[str | None]:
    return [device.driver for device in world.kernel.hardware.auxiliary if device.kind == RUNNING]


def taken(world: World, *kinds: type) -> list[object]:
    return [step for step in world.seam.steps if isinstance(step, kinds)]


def test_it_is_bound_to_the_driver_that_runs_it_once_and_not_taken_down(vendor: World) -> None:
    vendor.apply()
    assert vendor.settle().decision == Settled()
    assert taken(vendor, UnbindDriver, BindDriver, ProbeDriver, Deactivate) == [
        UnbindDriver("auxiliary", DEVICE, CONFIGURATION),
        BindDriver("auxiliary", DEVICE, RUNNING),
    ]


def test_an_agent_that_is_killed_between_the_two_goes_on(vendor: World) -> None:
    vendor.apply()
    vendor.settle()
    unbound = next(index for index, step in enumerate(vendor.seam.steps) if isinstance(step, UnbindDriver))
    vendor.delete()
    vendor.settle()
    vendor.apply()
    vendor.restart(kill_at=2 * unbound + 1)
    with pytest.raises(Killed):
        vendor.settle()
    assert drivers(vendor) == [None]
    vendor.restart()
    assert vendor.settle().decision == Settled()
    assert drivers(vendor) == [RUNNING]


def test_a_driver_that_cannot_take_it_is_told_as_if_the_bus_had_asked_it(vendor: World) -> None:
    vendor.kernel.faults.fail_next(Operation.PROBE, errno.ENOSPC, times=50)
    vendor.apply()
    decision = vendor.settle().decision
    assert isinstance(decision, Wait)
    assert "MSI-X" in decision.hint


def test_a_probe_that_takes_its_time_is_no_error(vendor: World) -> None:
    vendor.sysfs = SlowBind(vendor.sysfs)
    vendor.restart()
    vendor.apply()
    assert vendor.settle().decision == Settled()
    assert drivers(vendor) == [RUNNING]


def test_a_sysfs_that_cannot_be_written_is_an_error(vendor: World) -> None:
    vendor.sysfs = ReadOnly(vendor.sysfs)
    vendor.restart()
    vendor.apply()
    assert isinstance(vendor.settle().error, NotPermitted)


def test_what_is_given_back_to_the_configuration_driver_is_taken_again(vendor: World) -> None:
    vendor.apply()
    vendor.settle()
    vendor.kernel.unbind_function(DEVICE)
    device = vendor.kernel.hardware.auxiliary.find(DEVICE)
    assert device is not None
    with vendor.kernel.lock:
        vendor.kernel.hardware.auxiliary.probe(device)
    assert drivers(vendor) == [CONFIGURATION]
    vendor.restart()
    assert vendor.settle().decision == Settled()
    assert drivers(vendor) == [RUNNING]


def test_a_driver_that_nobody_knows_is_named_and_left_alone(root: Path) -> None:
    world = first_takes(World(root), STRANGER)
    world.apply()
    decision = world.settle().decision
    assert isinstance(decision, Wait)
    assert f"{DEVICE} is on {STRANGER}" in decision.message
    assert f"echo {DEVICE} > /sys/bus/auxiliary/drivers/{STRANGER}/unbind" in decision.hint
    assert taken(world, UnbindDriver, BindDriver, ProbeDriver, Deactivate) == []
    assert drivers(world) == [STRANGER]
    assert world.port_numbers(PARENT) == [1]
    world.apply(macAddress="02:53:46:00:00:01")
    assert world.settle().decision == decision
    assert drivers(world) == [STRANGER]


def test_what_a_driver_has_that_nobody_knows_is_deleted_all_the_same(root: Path) -> None:
    world = first_takes(World(root), STRANGER)
    world.apply()
    world.settle()
    world.delete()
    world.settle()
    assert (world.objects, world.port_numbers()) == ({}, [])
