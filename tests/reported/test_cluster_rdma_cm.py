"""A node without `rdma_ucm`: RDMA programs that use the connection manager fail there, and the object says so."""

from pathlib import Path

import pytest

from rig.world import World
from subfunction.api.conditions import ConditionType
from subfunction.kernel.sysfs import Sysfs

MANAGER = "class/misc/rdma_cm"


class WithoutConnectionManager:
    """A sysfs in which the module rdma_ucm is not loaded."""

    def __init__(self, below: Sysfs) -> None:
        self._below = below
        self.names, self.target, self.write = below.names, below.target, below.write

    def read(self, path: str) -> str | None:
        return None if path.startswith(MANAGER) else self._below.read(path)

    def resolve(self, path: str) -> str | None:
        return None if path.startswith(MANAGER) else self._below.resolve(path)

    def inode(self, path: str) -> int | None:
        return None if path.startswith(MANAGER) else self._below.inode(path)


def allocatable(world: World) -> tuple[str, str]:
    world.apply()
    world.settle()
    condition = world.objects["uid-blue"].status.condition(ConditionType.ALLOCATABLE)
    assert condition is not None
    return condition.status, condition.message


def test_with_the_connection_manager_there_is_nothing_to_say(root: Path) -> None:
    assert allocatable(World(root)) == ("True", "")


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: a device goes without the connection manager, and no word is said",
)
def test_without_the_connection_manager_its_module_is_named(root: Path) -> None:
    world = World(root)
    world.sysfs = WithoutConnectionManager(world.sysfs)
    world.restart()
    status, message = allocatable(world)
    assert [each.container_path for each in world.record().nodes] == ["/dev/infiniband/uverbs2"]
    assert status == "True"
    assert "rdma_ucm" in message
