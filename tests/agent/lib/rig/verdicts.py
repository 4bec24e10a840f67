"""What must be so of a sub-function that is ready, and of one that is gone."""

from rig.claims import port_claim
from rig.world import PARENT, World, derived
from subfunction.state.records import State
from subfunction_operator.agent.model.decision import ReconcileResult, Settled


def assert_ready(world: World, result: ReconcileResult, number: int, mac: str, name: str = "blue") -> None:
    assert result.error is None
    assert result.decision == Settled()
    function = world.kernel.sub_function(PARENT, number)
    assert (function.active, function.attached, str(function.mac)) == (True, True, mac)
    record = world.record(name)
    assert (record.state, record.health.healthy) == (State.READY, True)
    assert (port_claim(record).number, port_claim(record).mac_address) == (number, mac)
    assert function.port is not None
    assert port_claim(record).port_index == function.port.index
    assert function.device is not None
    assert record.device_id == function.device.name


def assert_ready_and_named(world: World) -> str:
    assert_ready(world, world.settle(), 1, derived())
    return world.record().device_id


def assert_clean(world: World, name: str = "blue") -> None:
    assert world.port_numbers() == []
    assert world.records.read_all().items == {}
    assert f"uid-{name}" not in world.objects
