"""What the kernel announces is repaired in less than a second, without anybody asking and without a resync."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contract.instruments import find_mediated, find_vdpa

from rig.cluster import Cluster, cluster, is_ready
from rig.patience import Patience
from rig.waiting import eventually
from rig.world import PARENT
from subfunction.kernel.bus.mdev import derive_uuid
from subfunction.kernel.bus.pci import VirtualFunction
from subfunction.kernel.bus.vdpa import derive_vdpa_name
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.sysfs import SysfsTree
from subfunction.state.records import Record, State, find_mismatch
from subfunction_simulator.kernel import MediatedType, Parent, Topology

TOPOLOGY = Topology(
    parents=(
        Parent(
            bdf=PARENT.device,
            netdev="enp3s0np0",
            virtual_functions=1,
            mediated_types=(MediatedType("mlx5_core-local"),),
        ),
    )
)
MLX5: dict[str, Any] = {}
VHOST = {"flavour": "virtio"}
VF = {"flavour": "vfio", "vfio": {"virtualFunction": 0}}
MDEV = {"flavour": "vfio", "vfio": {"mediatedDevice": "mlx5_core-local"}}
SECOND = 1.0


def lose_port(node: Cluster, _: Record) -> None:
    node.kernel.lose_port(PARENT, 1)


def deactivate(node: Cluster, _: Record) -> None:
    function = node.kernel.sub_function(PARENT, 1)
    assert function.port is not None
    theirs = Devlink(Netlink(node.kernel.transport()))
    theirs.set_active(PARENT, function.port.index, active=False)


def unbind(node: Cluster, record: Record) -> None:
    node.kernel.unbind_function(record.device_id)


def delete_vdpa(node: Cluster, record: Record) -> None:
    node.kernel.delete_vdpa(record.device_id)


def unbind_vdpa(node: Cluster, record: Record) -> None:
    node.kernel.unbind_vdpa(record.device_id)


def unbind_function(node: Cluster, record: Record) -> None:
    node.kernel.unbind_pci(record.device_id)


def remove_mediated(node: Cluster, record: Record) -> None:
    node.kernel.delete_mediated(record.device_id)


def reset(node: Cluster, _: Record) -> None:
    node.kernel.crash_driver(PARENT)


def representor_down(node: Cluster, _: Record) -> None:
    node.kernel.set_netdev_up(representor(node), up=False)


def representor(node: Cluster) -> str:
    port = node.kernel.sub_function(PARENT, 1).port
    assert port is not None
    assert port.netdev is not None
    return port.netdev.name


def whole(node: Cluster, record: Record) -> bool:
    """Judge by the kernel's own files whether the device is there, driven, and connected."""
    sysfs = SysfsTree(node.kernel.root / "sys")
    now = node.records.read(record.uid) or record
    if not offered(node, record.uid) or find_mismatch(now.witness, sysfs) is not None:
        return False
    if record.resource.endswith("/virtio"):
        vdpa = find_vdpa(sysfs, derive_vdpa_name(record.uid))
        return vdpa is not None and vdpa.driver == "vhost_vdpa"
    if record.resource.endswith("/vfio") and "-" in record.device_id:
        return find_mediated(sysfs, derive_uuid(record.uid)) is not None
    if record.resource.endswith("/vfio"):
        function = VirtualFunction.at(sysfs, PARENT, 0)
        return function is not None and function.driver == "vfio-pci"
    found = [each for each in node.kernel.nic(PARENT).sub_functions.values() if each.number == 1 and each.port]
    if not found or not found[0].attached or found[0].port is None or found[0].port.netdev is None:
        return False
    shown = Netdev.named(sysfs, found[0].port.netdev.name)
    return shown is not None and shown.up


def offered(node: Cluster, uid: str) -> bool:
    record = node.records.read(uid)
    return record is not None and record.state is State.READY and record.health.healthy


@pytest.mark.parametrize(
    ("spec", "happens"),
    [
        (MLX5, lose_port),
        (MLX5, deactivate),
        (MLX5, unbind),
        (MLX5, reset),
        (MLX5, representor_down),
        (VHOST, lose_port),
        (VHOST, delete_vdpa),
        (VHOST, unbind_vdpa),
        (VF, unbind_function),
        (MDEV, remove_mediated),
    ],
    ids=lambda value: value.__name__ if callable(value) else (value.get("flavour") or "mlx5"),
)
async def test_what_somebody_breaks_is_whole_again_within_a_second(
    root: Path, spec: dict[str, Any], happens: Callable[[Cluster, Record], None]
) -> None:
    async with cluster(root, TOPOLOGY) as node:
        node.start_agent()
        made = await node.apply(**spec)
        await node.until_ready()
        before = node.records.read(made.uid)
        assert before is not None
        assert whole(node, before)
        with node.kernel.lock:
            # The agent may mend it before it is looked at again.
            happens(node, before)
            done = not whole(node, before)
        second = Patience(SECOND)
        await eventually(
            lambda: done or not whole(node, before) or node.records.read(made.uid) != before,
            "the kernel has done it",
            within=SECOND,
        )
        await eventually(lambda: whole(node, before), f"{happens.__name__} is mended", within=SECOND)
        assert not second.spent(), second.told()
        found = await node.until_object(is_ready)
        assert found.status.number == (None if "vfio" in spec else 1)


async def test_a_netdev_that_is_renamed_is_shown_under_its_new_name_within_a_second(root: Path) -> None:
    async with cluster(root, TOPOLOGY) as node:
        node.start_agent()
        await node.apply()
        found = await node.until_ready()
        assert found.status.device is not None
        assert found.status.device.netdev is not None
        node.kernel.rename_netdev(found.status.device.netdev, "enp3s0f0s1")
        await node.until_object(
            lambda seen: seen.status.device is not None and seen.status.device.netdev == "enp3s0f0s1", within=SECOND
        )


async def test_a_netdev_that_comes_back_from_a_pod_is_whole_within_a_second(root: Path) -> None:
    async with cluster(root, TOPOLOGY) as node:
        node.start_agent()
        made = await node.apply()
        found = await node.until_ready()
        assert found.status.device is not None
        assert found.status.device.netdev is not None
        node.kernel.move_netdev(found.status.device.netdev)
        await eventually(lambda: _lent(node, made.uid), "its absence is written down", within=SECOND)
        node.kernel.namespace_ends(mtu=1300)
        await eventually(lambda: offered(node, made.uid) and not _lent(node, made.uid), "it is back", within=SECOND)
        netdev = Netdev.named(SysfsTree(node.kernel.root / "sys"), found.status.device.netdev)
        assert netdev is not None
        assert netdev.mtu == 1500


def _lent(node: Cluster, uid: str) -> bool:
    record = node.records.read(uid)
    return record is not None and record.lent


async def test_a_driver_that_is_loaded_is_used_at_once(root: Path) -> None:
    topology = Topology(modules=("mlx5_ib", "mlx5_vdpa"))
    async with cluster(root, topology) as node:
        node.start_agent()
        await node.apply(**VHOST)
        await node.until_object(lambda seen: seen.status.phase == "Failed")
        node.kernel.load_module("vhost_vdpa")
        await node.until_ready(within=2 * SECOND)


async def test_a_bridge_that_is_made_is_used_at_once(root: Path) -> None:
    async with cluster(root, TOPOLOGY) as node:
        node.start_agent()
        await node.apply(representor={"bridge": "br0"})
        await node.until_object(lambda seen: seen.status.phase == "Failed")
        node.kernel.bridge("br0")
        await node.until_ready(within=2 * SECOND)
