"""Who has the node of an IOMMU group has every function in it: one group is one tenant's."""

from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
from tests.deviceplugin.conftest import Node

from rig.virtualfunctions import function
from rig.world import World
from subfunction.errors import GroupShared
from subfunction_simulator.kernel import Parent, Topology
from subfunction_simulator.kubelet.pods import Rejected

TENANTS: Final = ("tenant-a", "tenant-b")


def world_with(root: Path, *, functions_per_group: int) -> World:
    card = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", virtual_functions=4, functions_per_group=functions_per_group)
    return World(root, Topology(parents=(card,)))


def to_vfio(world: World, index: int) -> None:
    address = function(world, index).address
    world.sysfs.write(f"bus/pci/devices/{address}/driver_override", "vfio-pci")
    world.kernel.unbind_pci(address)
    world.kernel.probe_pci(address)


def groups_offered(world: World, **spec: Any) -> tuple[Counter[int | None], list[object]]:
    """Let each tenant ask for a function of his own; give who is offered how much of which group, and all errors."""
    for index, tenant in enumerate(TENANTS):
        world.apply(tenant, flavour="vfio", vfio={"virtualFunction": index}, **spec)
    for _ in range(2):
        errors = [world.settle(tenant).error for tenant in TENANTS]
    groups = [function(world, index).group for index, tenant in enumerate(TENANTS) if world.offered(tenant)]
    return Counter(groups), [type(error) for error in errors if error is not None]


def test_two_functions_of_a_group_each_are_two_tenants(root: Path) -> None:
    world = world_with(root, functions_per_group=1)
    offered, errors = groups_offered(world)
    assert (sorted(offered.values()), errors) == ([1, 1], [])


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: functions of one group that have no driver are offered to two tenants",
)
def test_of_a_group_whose_functions_have_no_driver_one_is_offered(root: Path) -> None:
    world = world_with(root, functions_per_group=2)
    for index in range(len(TENANTS)):
        world.kernel.unbind_pci(function(world, index).address)
    offered, errors = groups_offered(world)
    assert max(offered.values(), default=0) <= 1
    assert GroupShared in errors


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: functions of one group that were adopted from vfio-pci are offered to two tenants",
)
def test_of_a_group_that_is_adopted_one_is_offered(root: Path) -> None:
    world = world_with(root, functions_per_group=2)
    for index in range(len(TENANTS)):
        to_vfio(world, index)
    offered, errors = groups_offered(world, adopt=True)
    assert max(offered.values(), default=0) <= 1
    assert GroupShared in errors


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: a function is offered together with that of a stranger's machine, as any vfio driver passes",
)
def test_a_function_in_the_group_of_a_strangers_machine_is_refused(root: Path) -> None:
    world = world_with(root, functions_per_group=2)
    to_vfio(world, 1)
    world.apply("tenant-a", flavour="vfio", vfio={"virtualFunction": 0})
    error = world.settle("tenant-a").error
    assert not world.offered("tenant-a")
    assert isinstance(error, GroupShared)


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: the device plugin compares no device nodes and gives one group to two pods",
)
async def test_two_records_of_one_group_are_not_given_to_two_pods(plugin_node: Node) -> None:
    node = plugin_node
    for index, tenant in enumerate(TENANTS):
        node.agent.device(tenant, f"0000:03:01.{index}", nodes=("/dev/vfio/vfio", "/dev/vfio/1"))
    await node.start_kubelet()
    await node.start_plugin()
    await node.kubelet.until(lambda: sum(node.kubelet.allocatable().values()) >= 1)
    given: Counter[str] = Counter()
    for _ in TENANTS:
        pod = node.pod()
        refused = await node.kubelet.admit(pod)
        if not isinstance(refused, Rejected):
            running = await node.kubelet.start_container(pod.uid, "app")
            given.update(device.host_path for device in running.devices)
    assert given["/dev/vfio/1"] == 1
