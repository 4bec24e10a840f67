"""The device nodes of a virtual function: VFIO's group or IOMMUFD's own node, and with it what opens that one."""

from pathlib import Path

import pytest

from rig.world import World
from subfunction.kernel.sysfs import Sysfs
from subfunction_simulator.kernel import Parent, Topology

IOMMU = "/dev/iommu"
OWN = "/dev/vfio/devices/vfio0"
GROUP = "/dev/vfio/1"
CARD = Parent(bdf="0000:03:00.0", netdev="ens1f0np0", virtual_functions=2)


class WithoutGroups:
    """A sysfs of a kernel that is built with VFIO_DEVICE_CDEV and without VFIO_GROUP."""

    def __init__(self, below: Sysfs) -> None:
        self._below = below
        self.names, self.inode, self.write = below.names, below.inode, below.write

    def read(self, path: str) -> str | None:
        return None if self._is_group(path) else self._below.read(path)

    def target(self, path: str) -> str | None:
        return None if self._is_group(path) else self._below.target(path)

    def resolve(self, path: str) -> str | None:
        return None if self._is_group(path) else self._below.resolve(path)

    @staticmethod
    def _is_group(path: str) -> bool:
        return path.startswith(("class/vfio/", "devices/virtual/vfio/"))


def node(root: Path, *, cdev: bool = True) -> World:
    """A node with virtual functions; where each has a node of its own, its kernel has IOMMUFD."""
    world = World(root, Topology(parents=(CARD,), vfio_cdev=cdev))
    if cdev:
        machine = world.kernel.hardware
        machine.devices.add("devices/virtual/misc/iommu", "class/misc", {"dev": "10:127"}, "DEVNAME=iommu")
        machine.nodes.add("iommu", 10, 127)
    return world


def handed_out(world: World) -> set[str]:
    world.apply(flavour="vfio", vfio={"virtualFunction": 0})
    world.settle()
    return {each.container_path for each in world.record().all_nodes}


def test_on_a_kernel_without_nodes_of_their_own_the_group_is_handed_out(root: Path) -> None:
    assert handed_out(node(root, cdev=False)) == {"/dev/vfio/vfio", GROUP}


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="issue H: a device's own node is handed out without /dev/iommu"
)
def test_with_a_devices_own_node_comes_what_opens_it(root: Path) -> None:
    paths = handed_out(node(root))
    assert (OWN in paths) == (IOMMU in paths)


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: a device is handed out by group and own node at once",
)
def test_a_device_is_handed_out_in_one_way_only(root: Path) -> None:
    assert len(handed_out(node(root)) & {OWN, GROUP}) == 1


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: without a group's node no virtual function is ever ready",
)
def test_on_a_kernel_without_groups_the_devices_own_node_is_handed_out(root: Path) -> None:
    world = node(root)
    world.sysfs = WithoutGroups(world.sysfs)
    world.restart()
    paths = handed_out(world)
    assert OWN in paths
