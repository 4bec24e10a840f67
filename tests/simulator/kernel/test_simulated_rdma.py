"""An RDMA device that is moved to another network namespace, as ib_core does it (drivers/infiniband/core, 6.12)."""

import errno
from pathlib import Path

import pytest
from tests.simulator.kernel.box import Box

from subfunction.kernel.address import Handle
from subfunction.kernel.rdma import RdmaDevice

MODE = "module/ib_core/parameters"


@pytest.fixture
def box(tmp_path: Path) -> Box:
    box = Box(tmp_path)
    box.kernel.tree.directory(MODE, {"netns_mode": "N"})
    return box


def loaded(box: Box, number: int = 88) -> Handle:
    instance = box.attach(number)
    box.load(instance, "enable_eth", "enable_roce", "enable_rdma")
    return instance


def directory(box: Box, instance: Handle) -> str:
    return str(box.sysfs.resolve(instance.path))


def look(box: Box, instance: Handle) -> RdmaDevice:
    device = RdmaDevice.under(box.sysfs, directory(box, instance))
    assert device is not None
    assert device.verbs is not None
    return device


def test_it_keeps_its_inode_and_has_another_verbs_device_which_is_seen_from_everywhere(box: Box) -> None:
    instance = loaded(box)
    before = look(box, instance)
    box.kernel.move_rdma(before.name)
    away = look(box, instance)
    assert (away.name, away.path, away.away, away.inode, away.gids) == (before.name, before.path, True, None, None)
    assert box.sysfs.names(f"class/infiniband/{before.name}") == ()
    box.kernel.namespace_ends()
    after = look(box, instance)
    assert (after.name, after.path, after.away, after.inode, after.gids) == (
        before.name,
        before.path,
        False,
        before.inode,
        64,
    )
    assert len({device.verbs and device.verbs.inode for device in (before, away, after)}) == 3
    assert len({device.verbs and device.verbs.number for device in (before, away, after)}) == 1
    assert box.sysfs.resolve(f"class/infiniband/{after.name}") == after.path


def test_its_verbs_device_has_the_lowest_number_that_is_free(box: Box) -> None:
    first, second = loaded(box, 1), loaded(box, 2)
    lower, higher = look(box, first), look(box, second)
    box.devlink.set_parameter(first, "enable_rdma", value=False)
    box.devlink.reload(first)
    box.kernel.move_rdma(higher.name)
    moved = look(box, second)
    assert lower.verbs is not None
    assert moved.verbs is not None
    assert (moved.name, moved.verbs.name) == (higher.name, lower.verbs.name)


def test_one_that_goes_while_it_is_away_leaves_nothing_and_its_name_is_free(box: Box) -> None:
    instance = loaded(box)
    before = look(box, instance)
    for _ in range(2):
        box.kernel.move_rdma(before.name)
        box.devlink.reload(instance)
        after = look(box, instance)
        assert (after.name, after.away) == (before.name, False)
        assert after.inode != before.inode


def test_where_namespaces_share_the_rdma_devices_none_is_moved(box: Box) -> None:
    instance = loaded(box)
    box.kernel.tree.directory(MODE, {"netns_mode": "Y"})
    with pytest.raises(OSError, match="not supported") as refusal:
        box.kernel.move_rdma(look(box, instance).name)
    assert refusal.value.errno == errno.EOPNOTSUPP


def test_without_its_verbs_device_one_that_is_out_of_sight_is_not_there(box: Box) -> None:
    instance = loaded(box)
    box.kernel.move_rdma(look(box, instance).name)
    box.kernel.tree.bury(f"{directory(box, instance)}/infiniband_verbs")
    assert RdmaDevice.under(box.sysfs, directory(box, instance)) is None


def test_where_rdma_devices_are_shared_one_out_of_sight_is_not_there(box: Box) -> None:
    instance = loaded(box)
    box.kernel.move_rdma(look(box, instance).name)
    box.kernel.tree.directory(MODE, {"netns_mode": "Y"})
    assert RdmaDevice.under(box.sysfs, directory(box, instance)) is None
