"""A sub-function whose object is edited, free or in a pod's hands."""

from pathlib import Path
from typing import Any

import pytest

from rig.verdicts import assert_clean, assert_ready
from rig.world import PARENT, World, derived
from subfunction.errors import UnsupportedField
from subfunction.kernel.address import Handle
from subfunction.state.records import State
from subfunction_operator.agent.model.decision import Settled, Wait
from subfunction_operator.agent.model.steps import Deactivate, SetFunction, StoreRecord
from subfunction_simulator.kernel import Parent, Topology

MAC = "02:00:5e:10:00:01"


def test_another_mac_is_set_through_inactive_and_the_offer_is_left_first(world: World) -> None:
    world.apply()
    world.settle()
    world.restart()
    world.apply(macAddress=MAC)
    assert_ready(world, world.settle(), 1, MAC)
    steps = world.seam.steps
    left = next(n for n, step in enumerate(steps) if isinstance(step, StoreRecord) and step.record.state != State.READY)
    down = next(n for n, step in enumerate(steps) if isinstance(step, Deactivate))
    assert left < down


@pytest.mark.mlx5("capabilities")
@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ({"capabilities": {"roce": False}, "mlx5": {"rdma": False}}, (False, 8)),
        ({"capabilities": {"maxIOEventQueues": 4}}, (True, 4)),
    ],
    ids=["roce", "queues"],
)
def test_capabilities_are_changed(world: World, spec: dict[str, Any], shown: tuple[bool, int]) -> None:
    world.apply()
    world.settle()
    world.apply(**spec)
    assert_ready(world, world.settle(), 1, derived())
    function = world.kernel.sub_function(PARENT, 1)
    assert (function.roce, function.max_io_eqs) == shown


@pytest.mark.mlx5("class devices")
@pytest.mark.parametrize("answers", [True, False], ids=["a pod has it", "the kubelet does not answer"])
@pytest.mark.parametrize("in_ledger", [True, False], ids=["in the ledger", "not in the ledger"])
@pytest.mark.parametrize("spec", [{"macAddress": MAC}, {"mlx5": {"rdma": False}}], ids=["mac", "rdma"])
def test_a_device_that_may_be_held_is_not_changed_and_says_that_the_change_waits(
    world: World, spec: dict[str, Any], *, in_ledger: bool, answers: bool
) -> None:
    world.apply()
    world.settle()
    before, offered = world.as_text(1), world.record()
    world.pods.holding.add("uid-blue")
    world.pods.kubelet_answers = answers
    if in_ledger:
        world.pods.in_ledger.add("uid-blue")
    world.apply(**spec)
    world.restart()
    result = world.settle()
    assert isinstance(result.decision, Settled)
    assert result.decision.pending
    assert world.as_text(1) == before
    assert world.record() == offered
    assert world.settle() == result  # and says the same each time
    assert world.record() == offered

    world.pods.give_back("uid-blue")
    world.pods.kubelet_answers = True
    assert_ready(world, world.settle(), 1, spec.get("macAddress", derived()))


def test_a_device_whose_record_was_lost_is_not_taken_from_its_pod_by_a_change(world: World) -> None:
    world.apply()
    world.settle()
    before = world.as_text(1)
    world.lose_records()
    world.pods.holding.add("uid-blue")
    world.restart()
    world.apply(macAddress=MAC)
    world.settle()
    assert world.as_text(1) == before


def test_a_device_whose_record_was_lost_is_not_taken_from_its_pod_by_a_deletion(world: World) -> None:
    world.apply()
    world.settle()
    before = world.as_text(1)
    world.lose_records()
    world.pods.holding.add("uid-blue")
    world.restart()
    world.delete()
    assert isinstance(world.settle().decision, Wait)
    assert world.as_text(1) == before
    world.pods.give_back("uid-blue")
    world.settle()
    assert_clean(world)


def test_a_setting_that_the_driver_does_not_offer_is_refused_before_a_running_function_is_touched(root: Path) -> None:
    world = World(root, Topology(parents=(Parent(bdf="0000:03:00.0", netdev="enp3s0np0", vhca_management=False),)))
    world.apply()
    world.settle()
    before = world.as_text(1)
    for capabilities in ({"roce": False}, {"maxIOEventQueues": 4}):
        world.apply(capabilities=capabilities)
        assert isinstance(world.settle().error, UnsupportedField)
        assert world.as_text(1) == before
    world.apply()
    assert_ready(world, world.settle(), 1, derived())


@pytest.mark.mlx5("capabilities")
def test_settings_are_never_sent_to_an_active_function(world: World) -> None:
    world.apply()
    world.settle()
    for spec in ({"macAddress": MAC}, {"capabilities": {"maxIOEventQueues": 2}}):
        world.restart()
        world.apply(**spec)
        world.settle()
        steps = [step for step in world.seam.steps if isinstance(step, Deactivate | SetFunction)]
        assert [type(step) for step in steps] == [Deactivate, SetFunction]


@pytest.mark.mlx5("class devices")
def test_what_was_set_and_never_reloaded_is_applied(world: World) -> None:
    world.apply()
    world.settle()
    # As a crash leaves it between the parameter and the reload: the kernel shows the value that was set.
    world.devlink.set_parameter(Handle("auxiliary", world.record().device_id), "enable_rdma", value=False)
    world.apply(mlx5={"ethernet": True, "rdma": False})
    assert world.settle().error is None
    assert world.record().nodes == ()
    assert "SUBFUNCTION_RDMA" not in world.record().env
    assert not list(world.root.glob(f"sys/bus/auxiliary/devices/{world.record().device_id}/infiniband/*"))
