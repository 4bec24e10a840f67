"""The vendor's kernel modules: a driver that only configures takes each new sub-function before `mlx5_core.sf` can."""

from pathlib import Path

import pytest

from rig.world import World
from subfunction_simulator.kernel.driver_core.auxiliary import AuxiliaryDevice, AuxiliaryDriver
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, no_work

KIND = "mlx5_core.sf"


class ConfigurationDriver(AuxiliaryDriver):
    """Takes a function and leaves it alone: its port goes on to say `active detached`."""

    def probe(self, device: AuxiliaryDevice, /) -> None:
        assert device.kind == KIND

    def remove(self, device: AuxiliaryDevice, /) -> PendingWork:
        assert device.kind == KIND
        return no_work()


@pytest.fixture
def vendor(root: Path) -> World:
    world = World(root)
    bus = world.kernel.hardware.auxiliary
    world.kernel.hardware.finish(bus.unregister(KIND))
    bus.register(ConfigurationDriver("mlx5_core.sf_cfg", KIND))
    bus.register(AuxiliaryDriver(KIND, KIND))
    return world


def test_a_function_that_the_configuration_driver_took_is_given_to_the_driver_that_runs_it(vendor: World) -> None:
    vendor.apply()
    vendor.settle()
    drivers = {device.name: device.driver for device in vendor.kernel.hardware.auxiliary if device.kind == KIND}
    assert drivers == {"mlx5_core.sf.2": KIND}
    assert vendor.offered()
