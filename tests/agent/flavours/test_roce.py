"""RDMA with RoCE and without, on functions that come up light: `enable_roce` is off until it is set."""

import pytest

from rig.verdicts import assert_ready
from rig.world import PARENT, World, derived
from subfunction.errors import Unsupported
from subfunction_operator.agent.model.steps import Reload, SetParameter
from subfunction_simulator.kernel import Operation

pytestmark = pytest.mark.mlx5("RDMA")
GIDS = 64


def gids(world: World) -> int | None:
    rdma = world.look().rdma
    return None if rdma is None else rdma.gids


def test_an_rdma_device_speaks_roce_unless_the_spec_says_otherwise(world: World) -> None:
    world.apply()
    assert_ready(world, world.settle(), 1, derived())
    assert gids(world) == GIDS


def test_a_function_without_roce_may_have_an_rdma_device_for_raw_ethernet(world: World) -> None:
    world.apply(capabilities={"roce": False})
    assert_ready(world, world.settle(), 1, derived())
    assert gids(world) == 0
    assert world.record().nodes
    world.seam.steps.clear()
    world.settle()
    assert world.seam.steps == []


def test_one_that_an_older_agent_made_without_roce_gets_it(world: World) -> None:
    world.apply()
    world.settle()
    auxiliary = world.look().auxiliary
    assert auxiliary is not None
    world.devlink.set_parameter(auxiliary.handle, "enable_roce", value=False)
    world.devlink.reload(auxiliary.handle)
    world.kernel.settle()
    assert gids(world) == 0
    world.seam.steps.clear()
    assert_ready(world, world.settle(), 1, derived())
    assert gids(world) == GIDS
    assert [step for step in world.seam.steps if isinstance(step, SetParameter | Reload)] == [
        SetParameter(auxiliary.handle, "enable_roce", value=True),
        Reload(auxiliary.handle),
    ]


def test_one_that_a_pod_has_keeps_what_it_was_given_and_says_what_waits(world: World) -> None:
    world.apply()
    world.settle()
    auxiliary = world.look().auxiliary
    assert auxiliary is not None
    world.pods.take("uid-blue")
    world.devlink.set_parameter(auxiliary.handle, "enable_roce", value=False)
    world.devlink.reload(auxiliary.handle)
    world.kernel.settle()
    world.seam.steps.clear()
    world.settle()
    assert not [step for step in world.seam.steps if isinstance(step, SetParameter | Reload)]


def test_the_parameters_are_set_again_after_it_was_taken_down(world: World) -> None:
    world.apply()
    world.settle()
    world.apply(macAddress="02:53:46:00:00:09")
    world.seam.steps.clear()
    assert_ready(world, world.settle(), 1, "02:53:46:00:00:09")
    names = [step.name for step in world.seam.steps if isinstance(step, SetParameter)]
    assert names == ["enable_eth", "enable_roce", "enable_rdma"]
    assert gids(world) == GIDS


def test_a_firmware_without_roce_is_named_with_what_to_write_instead(world: World) -> None:
    world.apply()
    world.kernel.faults.fail_next(Operation.PARAMETER_SET, 95, "mlx5_core: Device doesn't support RoCE.")
    error = world.settle().error
    assert isinstance(error, Unsupported)
    assert "doesn't support RoCE" in str(error)
    assert "spec.capabilities.roce to false" in error.hint
    world.apply(capabilities={"roce": False})
    assert_ready(world, world.settle(), 1, derived())


@pytest.mark.parametrize("queues", [4, 8, 60])
def test_event_queues_are_what_the_spec_names_at_the_first_activation(world: World, queues: int) -> None:
    world.apply(capabilities={"maxIOEventQueues": queues})
    assert_ready(world, world.settle(), 1, derived())
    assert world.kernel.sub_function(PARENT, 1).max_io_eqs == queues
    assert [type(step).__name__ for step in world.seam.steps].count("Activate") == 1
