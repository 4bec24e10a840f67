"""The CDI files that the agent writes, as containerd's own library reads them. Root is needed, to make device nodes."""

import dataclasses
import os
import stat
from pathlib import Path

import pytest
from tests.cdi.conftest import NEWEST, Check

from matrix.flavours import FLAVOURS
from rig.world import World
from subfunction.state.claims import PortClaim
from subfunction.state.records import DeviceNode, Record, State
from subfunction_operator.agent.model.decision import Settled
from subfunction_operator.agent.model.observation import NodePolicy, Observation
from subfunction_operator.agent.offer import cdi
from subfunction_operator.agent.offer.artifact_store import ArtifactStore

CDI = NodePolicy(device_nodes="cdi")
NET_DEVICES = ("subfunction.dev/mlx5", "subfunction.dev/ice", "subfunction.dev/virtio")
WITH_NODES = ("mlx5", "virtio-vhost", "vfio-vf", "vfio-mdev")
WITH_NETDEV = ("mlx5", "ice", "virtio-virtio")
UUID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"

Number = tuple[int, int]


def ready(root: Path, flavour: str, policy: NodePolicy, *names: str) -> World:
    """Have the agent make sub-functions of a flavour on the simulated kernel, up to a record that says ready."""
    known = FLAVOURS[flavour]
    world = World(root, known.topology, policy=dataclasses.replace(policy, devices=str(root / "dev")))
    for name in names or ("blue",):
        world.apply(name, **(known.operations[0].spec or {}))
        assert world.settle(name).decision == Settled()
    return world


def plugged(world: World, *names: str) -> dict[str, Number]:
    """Make the device nodes of records on the host, each with the number that its witness tells."""
    found: dict[str, Number] = {}
    for name in names or ("blue",):
        record = world.record(name)
        for node, text in zip(record.cdi_nodes, record.witness.numbers.values(), strict=True):
            major, minor = (int(each) for each in text.split(":"))
            path = Path(node.host_path)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(major, minor))
            found[node.container_path] = (major, minor)
    return found


def offered(uid: str, *nodes: DeviceNode) -> Record:
    claim = PortClaim(flavour="mlx5", parent="pci/0000:03:00.0", pf=0, number=1, mac_address="02:00:00:00:00:01")
    resource = "subfunction.dev/mlx5"
    record = Record(uid=uid, name="n", boot_id="b", state=State.READY, claim=claim, resource=resource, nodes=nodes)
    return cdi.choose_delivery(record, Observation(boot_id="b"), CDI)


@pytest.mark.parametrize("flavour", WITH_NODES)
def test_each_flavours_device_nodes_enter_a_container(tmp_path: Path, check: Check, library: str, flavour: str) -> None:
    world = ready(tmp_path / "node", flavour, CDI)
    record, numbers = world.record(), plugged(world)
    assert (record.nodes, bool(numbers)) == ((), True)
    found = check(library, world.papers.cdi, str(record.cdi_name))
    assert (found.errors, found.refused, found.devices) == ({}, "", [record.cdi_name])
    assert {path: (kind, major, minor) for path, kind, major, minor in found.nodes} == {
        path: ("c", *number) for path, number in numbers.items()
    }
    assert found.allowed == {(*number, "rw") for number in numbers.values()}


def test_a_container_gets_the_node_as_it_is_when_it_starts(tmp_path: Path, check: Check, library: str) -> None:
    world = ready(tmp_path / "node", "virtio-vhost", CDI)
    plugged(world)
    [node] = world.record().cdi_nodes
    Path(node.host_path).unlink()
    name = str(world.record().cdi_name)
    assert "no such file" in check(library, world.papers.cdi, name).refused
    os.mknod(node.host_path, stat.S_IFCHR | 0o600, os.makedev(510, 7))
    assert check(library, world.papers.cdi, name).nodes == [(node.container_path, "c", 510, 7)]


@pytest.mark.parametrize("flavour", WITH_NETDEV)
def test_a_netdev_is_moved_by_runtimes_that_know_of_such_and_starts_no_container_with_the_others(
    tmp_path: Path, check: Check, library: str, flavour: str
) -> None:
    world = ready(tmp_path / "node", flavour, NodePolicy(net_devices=NET_DEVICES))
    record = world.record()
    found = check(library, world.papers.cdi, str(record.cdi_name))
    if library != NEWEST:
        assert (found.devices, found.unresolved) == ([], [record.cdi_name])
        assert found.refused
        return
    name = record.env["SUBFUNCTION_NETDEV"]
    assert (found.errors, found.refused) == ({}, "")
    assert found.spec["linux"]["netDevices"] == {name: {"name": name}}
    # The device nodes of such a record go the direct way.
    assert found.nodes == []
    assert bool(record.nodes) is (flavour == "mlx5")


def test_two_devices_in_one_container_share_the_connection_manager(tmp_path: Path, check: Check, library: str) -> None:
    world = ready(tmp_path / "node", "mlx5", CDI, "blue", "green")
    plugged(world, "blue", "green")
    names = [str(world.record(name).cdi_name) for name in ("blue", "green")]
    found = check(library, world.papers.cdi, *names)
    paths = [path for path, *_ in found.nodes]
    assert (found.errors, found.refused) == ({}, "")
    # The physical functions have the first two verbs devices.
    assert sorted(paths) == ["/dev/infiniband/rdma_cm", "/dev/infiniband/uverbs1", "/dev/infiniband/uverbs2"]


def test_nodes_and_netdev_go_by_one_file(tmp_path: Path, check: Check) -> None:
    world = ready(tmp_path / "node", "mlx5", dataclasses.replace(CDI, net_devices=NET_DEVICES))
    numbers, record = plugged(world), world.record()
    found = check(NEWEST, world.papers.cdi, str(record.cdi_name))
    assert (found.errors, {path for path, *_ in found.nodes}) == ({}, set(numbers))
    assert list(found.spec["linux"]["netDevices"]) == [record.env["SUBFUNCTION_NETDEV"]]


def test_the_version_is_the_lowest_that_the_library_would_take(tmp_path: Path, check: Check, library: str) -> None:
    here = DeviceNode(container_path="/dev/null", host_path="/dev/null")
    elsewhere = DeviceNode(container_path="/dev/a", host_path="/dev/null")
    folders = ArtifactStore(tmp_path / "cdi", tmp_path / "info")
    cases = (("blue", here, "0.3.0"), (UUID, here, "0.5.0"), ("green", elsewhere, "0.5.0"))
    names = []
    for uid, node, _ in cases:
        record = offered(uid, node)
        folders.write_cdi(uid, str(cdi.render(record)))
        names.append(str(record.cdi_name))
    found = check(library, folders.cdi, *names)
    assert (found.errors, found.refused, sorted(found.devices)) == ({}, "", sorted(names))
    written = {Path(each.path).stem.rpartition("_")[2]: (each.version, each.minimum) for each in found.files}
    assert written == {uid: (version, version) for uid, _, version in cases}


def test_the_version_of_a_netdev_is_the_lowest_too(tmp_path: Path, check: Check) -> None:
    world = ready(tmp_path / "node", "ice", NodePolicy(net_devices=NET_DEVICES))
    [file] = check(NEWEST, world.papers.cdi).files
    assert (file.version, file.minimum) == ("1.1.0", "1.1.0")


def test_what_is_half_written_is_nothing_to_a_runtime(tmp_path: Path, check: Check, library: str) -> None:
    world = ready(tmp_path / "node", "mlx5", CDI)
    plugged(world)
    [path] = world.papers.cdi.iterdir()
    path.with_suffix(".tmp").write_text(path.read_text()[:40])
    found = check(library, world.papers.cdi, str(world.record().cdi_name))
    assert (found.errors, found.refused) == ({}, "")


def test_an_answer_that_is_replayed_after_its_nodes_changed_starts_no_container(
    tmp_path: Path, check: Check, library: str
) -> None:
    folders = ArtifactStore(tmp_path / "cdi", tmp_path / "info")
    before = offered(UUID, DeviceNode(container_path="/dev/null", host_path="/dev/null"))
    after = offered(UUID, DeviceNode(container_path="/dev/zero", host_path="/dev/zero"))
    folders.write_cdi(UUID, str(cdi.render(after)))
    found = check(library, folders.cdi, str(before.cdi_name))
    assert (found.unresolved, found.nodes) == ([before.cdi_name], [])
    assert found.refused
