"""The files that container runtimes and Multus read of a device: what they say, and when they come and go."""

import dataclasses
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from rig.papers import cdi_file, device_info
from rig.virtualfunctions import ADDRESS, FUNCTIONS, VF, function, representor
from rig.world import OTHER_PARENT, PARENT, World
from subfunction.api.reasons import Reason
from subfunction.errors import FolderError
from subfunction.kernel.bus.vdpa import derive_vdpa_name
from subfunction.kernel.link import LinkSettings
from subfunction.kernel.uapi import EswitchMode
from subfunction.state.records import State
from subfunction_operator.agent.model.decision import Settled, Wait
from subfunction_operator.agent.model.observation import NodePolicy
from subfunction_operator.agent.model.steps import (
    Deactivate,
    DeleteVdpa,
    RemoveCdi,
    RemoveDeviceInfo,
    RemoveRecord,
    StoreRecord,
    UnbindDriver,
    WriteCdi,
    WriteDeviceInfo,
)
from subfunction_operator.agent.offer.artifact_store import ArtifactStore
from subfunction_simulator.kernel import Kind, Topology

CDI = NodePolicy(device_nodes="cdi")
NVIDIA = '{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": []}'
OF_SRIOV = '{"type": "pci", "version": "1.1.0", "pci": {"pci-address": "0000:18:02.5"}}'


def made(root: Path, policy: NodePolicy | None = None, **spec: Any) -> World:
    topology = Topology(parents=(FUNCTIONS,)) if spec.get("flavour") == "vfio" else None
    world = World(root, topology, policy=policy)
    world.apply(**spec)
    assert world.settle().decision == Settled()
    return world


def files(world: World) -> list[str]:
    """Name all there is for others to read."""
    folders = (world.papers.cdi, world.papers.device_info)
    return sorted(path.name for folder in folders for path in folder.glob("*"))


def with_policy(world: World, policy: NodePolicy) -> World:
    world.policy = policy
    world.restart()
    return world


# --- what they say ---


def test_a_native_device_needs_no_file_for_anybody(root: Path) -> None:
    world = made(root)
    assert [node.container_path for node in world.record().nodes] == [
        "/dev/infiniband/uverbs2",
        "/dev/infiniband/rdma_cm",
    ]
    assert (world.record().cdi_name, world.record().cdi_nodes, files(world)) == (None, (), [])


def test_by_cdi_its_nodes_stand_in_a_file_and_nowhere_else(root: Path) -> None:
    world = made(root, CDI)
    record = world.record()
    assert cdi_file(world.papers.cdi, "uid-blue") == {
        "cdiVersion": "0.3.0",
        "kind": "subfunction.dev/sf",
        "devices": [
            {
                "name": str(record.cdi_name).partition("=")[2],
                "containerEdits": {
                    "deviceNodes": [
                        {"path": "/dev/infiniband/uverbs2", "permissions": "rw"},
                        {"path": "/dev/infiniband/rdma_cm", "permissions": "rw"},
                    ]
                },
            }
        ],
    }
    assert str(record.cdi_name).startswith("subfunction.dev/sf=uid-blue-")
    assert (record.nodes, files(world)) == ((), ["subfunction.dev-sf_uid-blue.json"])
    status = world.objects["uid-blue"].status
    assert status.device is not None
    assert status.device.nodes == ("/dev/infiniband/uverbs2", "/dev/infiniband/rdma_cm")


def test_a_node_that_is_elsewhere_on_the_host_is_named_by_both_paths(root: Path) -> None:
    world = made(root, dataclasses.replace(CDI, devices="/host/dev"), flavour="virtio")
    [device] = cdi_file(world.papers.cdi, "uid-blue")["devices"]
    node = {"path": "/dev/vhost-vdpa-0", "hostPath": "/host/dev/vhost-vdpa-0", "permissions": "rw"}
    assert device["containerEdits"] == {"deviceNodes": [node]}
    assert cdi_file(world.papers.cdi, "uid-blue")["cdiVersion"] == "0.5.0"


def test_only_the_netdevs_of_the_resources_named_are_moved(root: Path) -> None:
    world = World(root, policy=NodePolicy(net_devices=("subfunction.dev/run",)))
    for name, resource in (("blue", "subfunction.dev/run"), ("green", "subfunction.dev/mlx5")):
        world.apply(name, resourceName=resource)
        world.settle(name)
    moved = world.record().env["SUBFUNCTION_NETDEV"]
    [device] = cdi_file(world.papers.cdi, "uid-blue")["devices"]
    assert device["containerEdits"] == {"netDevices": [{"hostInterfaceName": moved, "name": moved}]}
    assert (world.record().cdi_netdev, len(world.record().nodes)) == (moved, 2)
    assert (world.record("green").cdi_name, world.record("green").cdi_netdev) == (None, "")


def test_multus_is_told_of_a_vhost_device(root: Path) -> None:
    world = made(root, flavour="virtio")
    record, seen = world.record(), world.look()
    assert seen.representor is not None
    assert device_info(world.papers.device_info, record) == {
        "type": "vdpa",
        "version": "1.1.0",
        "vdpa": {
            "parent-device": derive_vdpa_name("uid-blue"),
            "driver": "vhost",
            "path": "/dev/vhost-vdpa-0",
            "pf-pci-address": PARENT.device,
            "representor-device": seen.representor.name,
        },
        "subfunction.dev/uid": "uid-blue",
    }
    assert files(world) == [f"subfunction.dev-virtio-{record.device_id}-device.json"]


def test_multus_is_told_of_a_virtio_device(root: Path) -> None:
    world = made(root, flavour="virtio", virtio={"driver": "virtio-vdpa"})
    info = device_info(world.papers.device_info, world.record())["vdpa"]
    assert (info["driver"], info["path"].rstrip("0123456789")) == ("virtio", "/sys/bus/virtio/devices/virtio")
    name = info["path"].rpartition("/")[2]
    assert world.sysfs.names(f"devices/pci0000:00/{PARENT.device}/{name}")


def test_multus_is_told_of_a_virtual_function(root: Path) -> None:
    world = made(root, **VF)
    assert device_info(world.papers.device_info, world.record()) == {
        "type": "pci",
        "version": "1.1.0",
        "pci": {
            "pci-address": ADDRESS,
            "pf-pci-address": PARENT.device,
            "representor-device": representor(world).name,
        },
        "subfunction.dev/uid": "uid-blue",
    }


def test_without_a_representor_none_is_told(root: Path) -> None:
    world = World(root, Topology(parents=(FUNCTIONS,)))
    world.kernel.set_eswitch_mode(PARENT, EswitchMode.LEGACY)
    world.apply(**VF)
    world.settle()
    info = device_info(world.papers.device_info, world.record())["pci"]
    assert info == {"pci-address": ADDRESS, "pf-pci-address": PARENT.device}


@pytest.mark.parametrize("spec", [{}, VF], ids=["mlx5", "vfio"])
def test_the_record_says_where_the_device_is(root: Path, spec: dict[str, Any]) -> None:
    record = made(root, **spec).record()
    assert (record.parent, record.pcie_root, record.numa_node) == (str(PARENT), "pci0000:00", 0)


def test_the_record_says_where_a_device_of_another_card_is(root: Path) -> None:
    record = made(root, parent={"device": str(OTHER_PARENT)}).record()
    assert (record.parent, record.pcie_root, record.numa_node) == (str(OTHER_PARENT), "pci0000:80", 1)


def test_whoever_runs_as_somebody_else_can_read_them(root: Path) -> None:
    world = made(root, CDI, flavour="virtio")
    for folder in (world.papers.cdi, world.papers.device_info):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o055 == 0o055
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o644


# --- when they come and go ---


def test_they_are_there_before_the_device_is_offered_and_gone_before_it_is_touched(root: Path) -> None:
    world = made(root, CDI, flavour="virtio")
    kinds = [type(step) for step in world.seam.steps]
    assert kinds[-3:] == [WriteCdi, WriteDeviceInfo, StoreRecord]
    assert world.record().state is State.READY
    world.restart()
    world.delete()
    world.settle()
    kinds = [type(step) for step in world.seam.steps]
    assert kinds[:4] == [StoreRecord, RemoveCdi, RemoveDeviceInfo, UnbindDriver]
    assert {Deactivate, DeleteVdpa, RemoveRecord} <= set(kinds[4:])
    assert files(world) == []


def test_while_a_pod_has_it_they_stay_though_it_is_being_deleted(root: Path) -> None:
    world = made(root, CDI, flavour="virtio")
    before = files(world)
    world.pods.take("uid-blue")
    world.delete()
    result = world.settle()
    assert isinstance(result.decision, Wait)
    assert result.decision.reason is Reason.IN_USE
    assert (files(world), len(before)) == (before, 2)
    world.pods.give_back("uid-blue")
    world.settle()
    assert files(world) == []


@pytest.mark.parametrize("how", ["removed", "changed"])
def test_what_somebody_did_to_them_is_undone(root: Path, how: str) -> None:
    world = made(root, CDI, flavour="virtio")
    paths = [path for folder in (world.papers.cdi, world.papers.device_info) for path in folder.iterdir()]
    before = [path.read_text() for path in paths]
    for path in paths:
        path.unlink() if how == "removed" else path.write_text("{}")
    world.settle()
    assert [path.read_text() for path in paths] == before
    world.restart()
    assert world.settle().decision == Settled()
    assert world.seam.steps == []


def test_what_keeps_its_record_after_a_reboot_has_them_anew(root: Path) -> None:
    world = made(root, CDI, flavour="virtio")
    for folder in (world.papers.cdi, world.papers.device_info):
        for path in folder.iterdir():
            path.unlink()
    world.reboot(records_survive=True)
    assert world.settle().decision == Settled()
    assert world.wrong_papers() == []
    assert len(files(world)) == 2


def test_when_its_device_goes_away_so_do_they_until_it_is_back(root: Path) -> None:
    world = made(root, CDI, flavour="virtio")
    before = files(world)
    world.kernel.lose_function(PARENT, 1)
    world.kernel.settle()
    world.kernel.hold(Kind.ATTACH)
    assert isinstance(world.settle().decision, Wait)
    assert (world.record().state, files(world)) == (State.PREPARING, [])
    world.kernel.let_go(Kind.ATTACH)
    assert world.settle().decision == Settled()
    assert files(world) == before


def test_a_representor_that_is_renamed_is_told_under_its_new_name(root: Path) -> None:
    world = made(root, **VF)
    world.doors.links.set(representor(world).ifindex, LinkSettings(name="uplink7"))
    world.settle()
    assert device_info(world.papers.device_info, world.record())["pci"]["representor-device"] == "uplink7"


def test_another_node_behind_it_is_another_name_and_is_offered_under_neither_meanwhile(root: Path) -> None:
    world = made(root, CDI, flavour="vfio", vfio={"virtualFunction": 0})
    before, group = world.record(), function(world).group
    other = dataclasses.replace(CDI, devices="/host/dev")
    with_policy(world, other).settle()
    after = world.record()
    assert before.cdi_name != after.cdi_name
    assert [node.host_path for node in after.cdi_nodes] == ["/host/dev/vfio/vfio", f"/host/dev/vfio/{group}"]
    kinds = [step.record.state if isinstance(step, StoreRecord) else type(step) for step in world.seam.steps]
    assert kinds == [State.PREPARING, WriteCdi, State.READY]


@pytest.mark.parametrize(("first", "then"), [(NodePolicy(), CDI), (CDI, NodePolicy())], ids=["to CDI", "from CDI"])
def test_the_way_of_delivery_changes_once_no_pod_has_it(root: Path, first: NodePolicy, then: NodePolicy) -> None:
    world = made(root, first)
    before, artifacts = world.record(), files(world)
    world.pods.take("uid-blue")
    with_policy(world, then)
    assert world.settle().decision == Settled()
    assert (world.record(), files(world)) == (before, artifacts)
    world.pods.give_back("uid-blue")
    world.settle()
    after = world.record()
    assert (after.nodes, after.cdi_nodes) == (before.cdi_nodes, before.nodes)
    assert world.wrong_papers() == []
    assert (after.cdi_name is None) is (files(world) == [])


def test_a_device_that_changes_its_driver_is_told_as_what_it_is(root: Path) -> None:
    world = made(root, CDI, flavour="virtio")
    world.apply(flavour="virtio", virtio={"driver": "virtio-vdpa"})
    assert world.settle().decision == Settled()
    assert device_info(world.papers.device_info, world.record())["vdpa"]["driver"] == "virtio"
    assert files(world) == [f"subfunction.dev-virtio-{world.record().device_id}-device.json"]


def test_what_cannot_be_written_is_said_and_the_device_is_not_offered(root: Path) -> None:
    world = World(root, policy=CDI)
    world.papers.cdi.write_text("a file where a folder should be")
    world.apply()
    error = world.settle().error
    assert isinstance(error, FolderError)
    assert "cdi" in str(error)
    assert not world.offered()
    world.papers.cdi.unlink()
    assert world.settle().decision == Settled()
    assert world.offered()


def test_another_ones_file_under_a_name_that_it_had_is_left_alone(root: Path) -> None:
    world = made(root, **VF)
    [path] = world.papers.device_info.iterdir()
    theirs = path.read_text().replace("uid-blue", "uid-green")
    world.delete()
    path.write_text(theirs)
    world.settle()
    assert path.read_text() == theirs


# --- what an earlier agent left ---


def test_what_no_record_names_is_swept_away_and_all_else_stays(root: Path) -> None:
    world = made(root, CDI, flavour="virtio")
    kept = files(world)
    cdi, info = world.papers.cdi, world.papers.device_info
    left = {
        cdi / "subfunction.dev-sf_uid-gone.json": "{}",
        cdi / "subfunction.dev-sf_uid-blue.tmp": "{",
        info / "subfunction.dev-virtio-sf00-device.json": '{"type": "vdpa", "subfunction.dev/uid": "uid-gone"}',
        # The device had another id when its agent was killed.
        info / "subfunction.dev-virtio-sf01-device.json": '{"type": "vdpa", "subfunction.dev/uid": "uid-blue"}',
        info / "subfunction.dev-sf_sf02-device.tmp": "{",
    }
    others = {
        cdi / "nvidia.json": NVIDIA,
        cdi / "subfunction.yaml": "not ours by its name",
        info / "subfunction.dev-vf-0000:18:02.5-device.json": OF_SRIOV,
        info / "torn.json": "{",
        info / "list.json": "[]",
    }
    for path, text in (left | others).items():
        path.write_text(text)
    assert set(world.papers.remove_orphans(world.records)) == set(left)
    assert sorted([*kept, *(path.name for path in others)]) == files(world)


def test_of_a_record_that_cannot_be_read_nothing_is_swept_away(root: Path) -> None:
    world = made(root, CDI, flavour="virtio")
    before = files(world)
    (world.records.path / "uid-blue.json").write_text("torn")
    assert world.papers.remove_orphans(world.records) == ()
    assert files(world) == before
    # The object makes the record anew, and the files with it.
    world.settle()
    assert files(world) == before


def test_where_there_is_no_folder_there_is_nothing_to_sweep(root: Path) -> None:
    world = World(root)
    assert ArtifactStore(root / "no", root / "nor this").remove_orphans(world.records) == ()


def test_records_of_before_there_were_papers_are_still_read(root: Path) -> None:
    world = made(root)
    path = world.records.path / "uid-blue.json"
    kept = world.record()
    new = {"cdiNodes", "cdiNetdev", "parent", "pcieRoot"}
    old = {key: value for key, value in json.loads(path.read_text()).items() if key not in new}
    path.write_text(json.dumps(old))
    found = world.record()
    assert (found.uid, found.pcie_root, found.cdi_nodes) == (kept.uid, "", ())
    world.settle()
    assert world.record() == kept
