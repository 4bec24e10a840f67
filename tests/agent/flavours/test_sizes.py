"""Sizes of a sub-function's own driver (its event queues, its room for addresses) are loaded by a reload, no sooner."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rig.folder import folder
from rig.verdicts import assert_ready
from rig.world import PARENT, Killed, World, derived
from subfunction.errors import Invalid, UnsupportedField
from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction_operator.agent.model.decision import Settled
from subfunction_operator.agent.model.steps import Reload, SetParameter
from subfunction_simulator.kernel import Parent, Topology

DEFAULTS = {"ioEQSize": 1024, "eventEQSize": 4096, "maxMACs": 128}
PARAMETERS = {"ioEQSize": "io_eq_size", "eventEQSize": "event_eq_size", "maxMACs": "max_macs"}
SIZES = st.fixed_dictionaries(
    {},
    optional={
        "ioEQSize": st.integers(64, 4096),
        "eventEQSize": st.integers(64, 4096),
        "maxMACs": st.integers(0, 7).map(lambda power: 1 << power),
    },
)
WITHOUT_MAX_MACS = Topology(parents=(Parent(bdf=PARENT.device, netdev="enp3s0np0", max_macs=False),))


def loaded(world: World) -> dict[str, Any]:
    """Give the sizes that the driver works with, which no request to the kernel shows."""
    driver = world.kernel.sub_function(PARENT, 1).driver
    assert driver is not None
    return {field: driver.in_effect[name] for field, name in PARAMETERS.items() if name in driver.in_effect}


def instance(world: World) -> Handle:
    return Handle("auxiliary", world.record().device_id)


def touched(world: World) -> list[str]:
    steps = [step for step in world.seam.steps if isinstance(step, SetParameter | Reload)]
    return [step.name if isinstance(step, SetParameter) else "reload" for step in steps]


@pytest.mark.mlx5("sizes")
@pytest.mark.parametrize(
    ("field", "size"),
    [("ioEQSize", 64), ("ioEQSize", 4096), ("eventEQSize", 64), ("eventEQSize", 1000), ("maxMACs", 1), ("maxMACs", 64)],
)
def test_a_size_is_loaded_by_the_reload_that_makes_the_class_devices(world: World, field: str, size: int) -> None:
    world.apply(mlx5={field: size})
    assert_ready(world, world.settle(), 1, derived())
    assert loaded(world) == DEFAULTS | {field: size}
    assert touched(world) == ["enable_eth", "enable_roce", "enable_rdma", PARAMETERS[field], "reload"]
    world.restart()
    world.settle()
    assert world.seam.steps == []


def change_and_be_killed(world: World, first: dict[str, int], second: dict[str, int], moment: int) -> None:
    world.apply(mlx5=first)
    world.settle()
    assert loaded(world) == DEFAULTS | first
    world.apply(mlx5=second)
    world.restart(kill_at=moment)
    try:
        world.settle()
    except Killed:
        world.restart()
    assert_ready(world, world.settle(), 1, derived())
    assert loaded(world) == DEFAULTS | first | second


@pytest.mark.mlx5("sizes")
@pytest.mark.parametrize("moment", range(14))
def test_a_change_is_loaded_wherever_the_agent_is_killed(world: World, moment: int) -> None:
    change_and_be_killed(world, {"ioEQSize": 64}, {"ioEQSize": 128, "eventEQSize": 64}, moment)


@given(first=SIZES, second=SIZES, moment=st.integers(0, 14))
@settings(max_examples=20, deadline=None)
def test_whatever_is_asked_for_and_changed_is_loaded(
    first: dict[str, int], second: dict[str, int], moment: int
) -> None:
    with folder() as root:
        change_and_be_killed(World(Path(root)), first, second, moment)


@pytest.mark.mlx5("sizes")
def test_a_device_that_a_pod_has_keeps_its_sizes_and_says_what_waits(world: World) -> None:
    world.apply()
    world.settle()
    world.pods.take("uid-blue")
    world.seam.steps.clear()
    world.apply(mlx5={"ioEQSize": 64, "maxMACs": 2})
    result = world.settle()
    assert isinstance(result.decision, Settled)
    assert result.decision.pending.startswith("spec.mlx5.ioEQSize and spec.mlx5.maxMACs can change when no pod has")
    assert touched(world) == []
    assert world.offered()
    world.pods.give_back("uid-blue")
    assert_ready(world, world.settle(), 1, derived())
    assert loaded(world) == DEFAULTS | {"ioEQSize": 64, "maxMACs": 2}


@pytest.mark.mlx5("sizes")
@pytest.mark.parametrize("reloaded", [True, False])
def test_a_size_that_somebody_changed_is_set_back(world: World, *, reloaded: bool) -> None:
    world.apply(mlx5={"eventEQSize": 64})
    world.settle()
    theirs = Devlink(Netlink(world.kernel.transport()))
    theirs.set_parameter(instance(world), "event_eq_size", value=128)
    if reloaded:
        theirs.reload(instance(world))
        world.kernel.settle()
    world.seam.steps.clear()
    assert_ready(world, world.settle(), 1, derived())
    assert loaded(world) == DEFAULTS | {"eventEQSize": 64}
    assert touched(world) == ["event_eq_size", "reload"]


@pytest.mark.mlx5("sizes")
def test_sizes_are_set_again_after_it_was_taken_down(world: World) -> None:
    world.apply(mlx5={"ioEQSize": 64})
    world.settle()
    world.apply(mlx5={"ioEQSize": 64}, macAddress="02:53:46:00:00:09")
    assert_ready(world, world.settle(), 1, "02:53:46:00:00:09")
    assert loaded(world) == DEFAULTS | {"ioEQSize": 64}


@pytest.mark.mlx5("sizes")
def test_a_size_that_the_spec_names_no_more_stays_as_it_is(world: World) -> None:
    world.apply(mlx5={"ioEQSize": 64})
    world.settle()
    world.apply()
    world.seam.steps.clear()
    assert_ready(world, world.settle(), 1, derived())
    assert touched(world) == []
    assert loaded(world) == DEFAULTS | {"ioEQSize": 64}


def test_a_firmware_without_max_macs_is_told_of_and_the_rest_is_not_held_back(root: Path) -> None:
    world = World(root, WITHOUT_MAX_MACS)
    world.apply(mlx5={"ioEQSize": 64, "maxMACs": 1})
    error = world.settle().error
    assert isinstance(error, UnsupportedField)
    assert "has no parameter max_macs for spec.mlx5.maxMACs" in str(error)
    assert "Leave it out" in error.hint
    assert not world.offered()
    world.apply(mlx5={"ioEQSize": 64})
    assert_ready(world, world.settle(), 1, derived())
    world.apply(mlx5={"ioEQSize": 64, "maxMACs": 1})
    assert isinstance(world.settle().error, UnsupportedField)
    assert world.offered()  # what is published is as good as before


@pytest.mark.mlx5("sizes")
def test_a_size_that_the_card_has_no_room_for_is_told_in_the_drivers_words(world: World) -> None:
    world.apply(mlx5={"maxMACs": 256})
    error = world.settle().error
    assert isinstance(error, Invalid)
    assert "max_macs value is out of the supported range" in str(error)
    assert "a power of 2" in error.hint
    world.apply(mlx5={"maxMACs": 128})
    assert_ready(world, world.settle(), 1, derived())
