"""What a parent cannot do is said by its name, with what to type next, and nothing is left half made."""

from pathlib import Path
from typing import Any

import pytest

from rig.claims import port_claim
from rig.verdicts import assert_ready
from rig.world import PARENT, World, derived
from subfunction.api.conditions import ConditionType
from subfunction.errors import (
    EswitchElsewhere,
    Full,
    KernelWithoutSubFunctions,
    NotSwitchdev,
    ParentNotFound,
    SubFunctionError,
    SubFunctionsUnsupported,
    UnsupportedField,
)
from subfunction.kernel.uapi import EswitchMode
from subfunction_simulator.kernel import Parent, Topology


def topology(**parent: Any) -> Topology:
    return Topology(parents=(Parent(bdf="0000:03:00.0", netdev="enp3s0np0", **parent),))


@pytest.mark.parametrize(
    ("node", "kind", "text", "hint"),
    [
        (topology(mode=EswitchMode.LEGACY), NotSwitchdev, "legacy mode", "mode switchdev"),
        (topology(capacity=0), Full, "No space left", "PF_TOTAL_SF"),
        (topology(sub_functions=False), SubFunctionsUnsupported, "SF ports are not supported", "PF_TOTAL_SF"),
        (topology(built_with_sub_functions=False), KernelWithoutSubFunctions, "not supported", "CONFIG_MLX5_SF"),
        (topology(manages_eswitch=False), EswitchElsewhere, "the DPU's own processor", ""),
        (Topology(parents=()), ParentNotFound, "", "devlink dev show"),
        (Topology(devlink=False), SubFunctionError, "devlink", "driver"),
    ],
    ids=["legacy", "full", "firmware", "kernel", "DPU", "absent", "without devlink"],
)
def test_a_parent_that_cannot_says_so_with_a_hint_and_leaves_nothing_half_made(
    root: Path, node: Topology, kind: type[SubFunctionError], text: str, hint: str
) -> None:
    world = World(root, node)
    world.apply()
    result = world.settle()
    assert isinstance(result.error, kind)
    assert text in str(result.error)
    assert hint in result.error.hint
    assert result.error.retry_after is not None
    shown = world.objects["uid-blue"].status
    assert shown.number is None
    ready = shown.condition(ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", kind.reason if kind is not SubFunctionError else "KernelTooOld")
    assert world.kernel.describe() == World(root / "fresh", node).kernel.describe()


def test_on_the_host_of_a_dpu_nothing_is_asked_for_that_only_the_dpu_can_make(root: Path) -> None:
    world = World(root, topology(manages_eswitch=False))
    assert world.devlink.capacity(PARENT)
    world.apply()
    error = world.settle().error
    assert error is not None
    assert "mlxconfig" not in str(error)
    assert "PER_PF_NUM_SF" not in str(error)
    assert world.seam.steps == []
    world.delete()
    world.settle()
    assert world.objects == {}


def test_a_parent_that_was_full_is_used_as_soon_as_there_is_room(root: Path) -> None:
    world = World(root, topology(capacity=1))
    world.apply("a")
    world.settle("a")
    world.apply("b")
    for _ in range(3):
        assert isinstance(world.settle("b").error, Full)
    world.delete("a")
    world.settle("a")
    world.settle("b")
    assert world.port_numbers() == [port_claim(world.record("b")).number]


def test_a_parent_put_into_switchdev_mode_is_used(root: Path) -> None:
    world = World(root, topology(mode=EswitchMode.LEGACY))
    world.apply()
    world.settle()
    world.kernel.nic(PARENT).set_eswitch_mode(EswitchMode.SWITCHDEV)
    assert_ready(world, world.settle(), 1, derived())


@pytest.mark.mlx5("RDMA")
@pytest.mark.parametrize(
    "spec",
    [
        {"capabilities": {"migratable": True}},
        {"capabilities": {"ipsecCrypto": False}},
    ],
    ids=["migratable", "ipsec"],
)
def test_what_a_sub_function_cannot_have_is_refused_by_its_name_before_anything_is_made(
    world: World, spec: dict[str, Any]
) -> None:
    world.apply(**spec)
    result = world.settle()
    assert isinstance(result.error, UnsupportedField)
    assert world.port_numbers() == []
    world.delete()
    world.settle()
    assert world.objects == {}


def test_a_mac_that_the_kernel_refuses_is_said_in_its_words(world: World) -> None:
    world.apply(macAddress="03:00:00:00:00:01")
    result = world.settle()
    assert result.error is not None
    assert "Non-unicast" in str(result.error)
    world.apply()
    assert_ready(world, world.settle(), 1, derived())


def test_a_resource_name_of_a_domain_that_is_not_offered_is_refused(world: World) -> None:
    world.apply(resourceName="nvidia.com/gpu")
    result = world.settle()
    assert isinstance(result.error, UnsupportedField)
    assert "nvidia.com" in str(result.error)
    assert "resource-domains" in result.error.hint
    assert world.port_numbers() == []
