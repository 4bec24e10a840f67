"""The CDI files that the agent writes, as containerd's own library reads them."""

from pathlib import Path

import pytest
from tests.cdi.conftest import NEWEST, Check

from matrix.flavours import FLAVOURS
from rig.world import World
from subfunction.records import DeviceNode, PortClaim, Record, State, Witness
from subfunction_operator import cdi
from subfunction_operator.observation import Observation, Policy
from subfunction_operator.paperfolders import PaperFolders
from subfunction_operator.step import Rest

CDI = Policy(device_nodes="cdi")
WITH_NODES = ("mlx5", "virtio-vhost", "vfio-vf", "vfio-mdev")
WITH_NETDEV = ("mlx5", "ice", "virtio-virtio")
UUID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"


def ready(root: Path, flavour: str, policy: Policy, *names: str) -> World:
    """Have the agent make sub-functions of a flavour on the simulated kernel, up to a record that says ready."""
    world = World(root, FLAVOURS[flavour].topology, policy=policy)
    spec = FLAVOURS[flavour].operations[0].spec
    for name in names or ("blue",):
        world.apply(name, **(spec or {}))
        assert world.settle(name).decision == Rest()
    return world


def offered(uid: str, *nodes: DeviceNode, policy: Policy = CDI) -> Record:
    claim = PortClaim(flavour="mlx5", parent="pci/0000:03:00.0", pf=0, number=1, mac_address="02:00:00:00:00:01")
    record = Record(
        uid=uid, name="blue", boot_id="b", state=State.READY, claim=claim, resource="subfunction.dev/mlx5", nodes=nodes,
        witness=Witness(),
    )  # fmt: skip
    return cdi.delivered(record, Observation(boot_id="b"), policy)


@pytest.mark.parametrize("flavour", WITH_NODES)
def test_each_flavours_device_nodes_enter_a_container_by_their_numbers(
    tmp_path: Path, check: Check, library: str, flavour: str
) -> None:
    world = ready(tmp_path / "node", flavour, CDI)
    record = world.record()
    assert record.nodes == ()
    assert record.cdi_name is not None
    found = check(library, world.papers.cdi, record.cdi_name)
    assert (found.errors, found.refused, found.devices) == ({}, "", [record.cdi_name])
    numbers = [tuple(int(each) for each in node.number.split(":")) for node in record.cdi_nodes]
    assert [node.container_path for node in record.cdi_nodes]
    assert found.nodes == [
        (node.container_path, "c", *number) for node, number in zip(record.cdi_nodes, numbers, strict=True)
    ]
    assert found.allowed == {(major, minor, "rw") for major, minor in numbers}


@pytest.mark.parametrize("flavour", WITH_NETDEV)
def test_a_netdev_is_told_to_runtimes_that_know_of_such_and_refused_by_those_that_do_not(
    tmp_path: Path, check: Check, library: str, flavour: str
) -> None:
    policy = Policy(net_devices=("subfunction.dev/mlx5", "subfunction.dev/ice", "subfunction.dev/virtio"))
    world = ready(tmp_path / "node", flavour, policy)
    record = world.record()
    assert record.cdi_name is not None
    found = check(library, world.papers.cdi, record.cdi_name)
    if library != NEWEST:
        # No container starts without its netdev.
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
    names = [str(world.record(name).cdi_name) for name in ("blue", "green")]
    found = check(library, world.papers.cdi, *names)
    paths = [path for path, *_ in found.nodes]
    assert (found.errors, found.refused) == ({}, "")
    # The physical functions have the first two verbs devices.
    assert sorted(paths) == ["/dev/infiniband/rdma_cm", "/dev/infiniband/uverbs1", "/dev/infiniband/uverbs2"]


def test_nodes_and_netdev_go_by_one_file(tmp_path: Path, check: Check) -> None:
    policy = Policy(device_nodes="cdi", net_devices=("subfunction.dev/mlx5",))
    world = ready(tmp_path / "node", "mlx5", policy)
    record = world.record()
    found = check(NEWEST, world.papers.cdi, str(record.cdi_name))
    assert (found.errors, len(found.nodes)) == ({}, 2)
    assert list(found.spec["linux"]["netDevices"]) == [record.env["SUBFUNCTION_NETDEV"]]


def test_the_version_is_the_lowest_that_the_library_would_take(tmp_path: Path, check: Check, library: str) -> None:
    same = DeviceNode(container_path="/dev/a", host_path="/dev/a", number="1:3")
    elsewhere = DeviceNode(container_path="/dev/a", host_path="/host/dev/a", number="1:3")
    unnumbered = DeviceNode(container_path="/dev/null", host_path="/dev/null")
    folders = PaperFolders(tmp_path / "cdi", tmp_path / "info")
    wanted = {}
    for uid, node, version in (
        ("blue", same, "0.3.0"),
        (UUID, same, "0.5.0"),
        ("green", elsewhere, "0.5.0"),
        ("red", unnumbered, "0.3.0"),
    ):
        record = offered(uid, node)
        folders.write_cdi(uid, str(cdi.text(record)))
        wanted[record.cdi_name] = version
    found = check(library, folders.cdi, *map(str, wanted))
    assert (found.errors, found.refused, sorted(found.devices)) == ({}, "", sorted(map(str, wanted)))
    assert sorted((each.version, each.minimum) for each in found.files) == sorted(
        (version, version) for version in wanted.values()
    )


def test_the_version_of_a_netdev_is_the_lowest_too(tmp_path: Path, check: Check) -> None:
    world = ready(tmp_path / "node", "ice", Policy(net_devices=("subfunction.dev/ice",)))
    [file] = check(NEWEST, world.papers.cdi).files
    assert (file.version, file.minimum) == ("1.1.0", "1.1.0")


def test_what_is_half_written_is_nothing_to_a_runtime(tmp_path: Path, check: Check, library: str) -> None:
    world = ready(tmp_path / "node", "mlx5", CDI)
    [path] = world.papers.cdi.iterdir()
    path.with_suffix(".tmp").write_text(path.read_text()[:40])
    found = check(library, world.papers.cdi, str(world.record().cdi_name))
    assert (found.errors, found.refused) == ({}, "")


def test_an_answer_that_is_replayed_after_its_nodes_changed_starts_no_container(
    tmp_path: Path, check: Check, library: str
) -> None:
    folders = PaperFolders(tmp_path / "cdi", tmp_path / "info")
    before = offered(UUID, DeviceNode(container_path="/dev/a", host_path="/dev/a", number="231:192"))
    after = offered(UUID, DeviceNode(container_path="/dev/a", host_path="/dev/a", number="231:193"))
    folders.write_cdi(UUID, str(cdi.text(after)))
    found = check(library, folders.cdi, str(before.cdi_name))
    assert found.unresolved == [before.cdi_name]
    assert found.refused
    assert found.nodes == []
