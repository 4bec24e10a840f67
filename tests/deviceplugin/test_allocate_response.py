"""What a container is given: the pure part."""

import itertools
import json

import pytest

from subfunction.errors import AllocationRefused
from subfunction.kubelet import deviceplugin_pb2 as api
from subfunction.state.claims import PortClaim
from subfunction.state.records import DeviceNode, Record, State
from subfunction_deviceplugin.allocate_response import build_environment, build_response

RESOURCE = "subfunction.dev/mlx5"
CLAIM = PortClaim(flavour="mlx5", parent="pci/0000:05:00.0", pf=0, number=4, mac_address="02:00:00:00:00:01")
CM = DeviceNode(container_path="/dev/infiniband/rdma_cm", host_path="/dev/infiniband/rdma_cm")


def verbs(number: int) -> DeviceNode:
    path = f"/dev/infiniband/uverbs{number}"
    return DeviceNode(container_path=path, host_path=path)


def record(
    number: int,
    *,
    nodes: tuple[DeviceNode, ...] = (),
    env: dict[str, str] | None = None,
    cdi_name: str | None = None,
) -> Record:
    return Record(
        uid=f"uid-{number}",
        name=f"sf-{number}",
        boot_id="b",
        state=State.READY,
        claim=CLAIM,
        resource=RESOURCE,
        device_id=f"mlx5_core.sf.{number}",
        nodes=nodes,
        env=env or {},
        cdi_name=cdi_name,
    )


def test_one_device_gives_its_nodes_and_cdi_name() -> None:
    given = build_response(RESOURCE, [record(4, nodes=(verbs(0), CM), cdi_name="subfunction.dev/sf=4")])
    assert list(given.devices) == [
        api.DeviceSpec(container_path=path, host_path=path, permissions="rw")
        for path in ("/dev/infiniband/uverbs0", "/dev/infiniband/rdma_cm")
    ]
    assert list(given.cdi_devices) == [api.CDIDevice(name="subfunction.dev/sf=4")]


def test_the_environment_names_ids_and_uids_and_speaks_the_sriov_device_plugins_words() -> None:
    env = build_environment(RESOURCE, [record(4, nodes=(verbs(0), CM), env={"SUBFUNCTION_RDMA": "mlx5_4"})])
    info = env.pop("PCIDEVICE_SUBFUNCTION_DEV_MLX5_INFO")
    assert env == {
        "SUBFUNCTION_UID": "uid-4",
        "SUBFUNCTION_DEVICE": "mlx5_core.sf.4",
        "SUBFUNCTION_RDMA": "mlx5_4",
        "PCIDEVICE_SUBFUNCTION_DEV_MLX5": "mlx5_core.sf.4",
    }
    assert json.loads(info) == {
        "mlx5_core.sf.4": {
            "generic": {"deviceID": "mlx5_core.sf.4"},
            "rdma": {"uverbs": "/dev/infiniband/uverbs0", "rdma_cm": "/dev/infiniband/rdma_cm"},
        }
    }


@pytest.mark.parametrize(
    ("path", "filed"),
    [
        ("/dev/vhost-vdpa-3", {"vdpa": {"mount": "/dev/vhost-vdpa-3"}}),
        ("/dev/vfio/vfio", {"vfio": {"mount": "/dev/vfio/vfio"}}),
        ("/dev/vfio/42", {"vfio": {"dev-mount": "/dev/vfio/42"}}),
        ("/dev/vfio/noiommu-3", {"vfio": {"dev-mount": "/dev/vfio/noiommu-3"}}),
        ("/dev/infiniband/umad1", {"rdma": {"umad": "/dev/infiniband/umad1"}}),
        ("/dev/zero", {}),
    ],
)
def test_each_kind_of_device_node_is_filed_where_its_readers_look(path: str, filed: dict[str, object]) -> None:
    node = DeviceNode(container_path=path, host_path=path)
    info = build_environment(RESOURCE, [record(4, nodes=(node,))])["PCIDEVICE_SUBFUNCTION_DEV_MLX5_INFO"]
    assert json.loads(info)["mlx5_core.sf.4"] == {"generic": {"deviceID": "mlx5_core.sf.4"}} | filed


def test_a_shell_can_read_the_variable_of_any_resource_name() -> None:
    assert "PCIDEVICE_MY_SHOP_EXAMPLE_COM_FAST_NIC" in build_environment("my-shop.example.com/fast-nic", [record(4)])


def test_any_order_of_the_ids_gives_the_same_container() -> None:
    records = [record(n, nodes=(verbs(n), CM), env={"SUBFUNCTION_RDMA": f"mlx5_{n}"}) for n in (4, 10, 7)]
    answers = {
        build_response(RESOURCE, order).SerializeToString(deterministic=True)
        for order in itertools.permutations(records)
    }
    assert len(answers) == 1
    env = build_response(RESOURCE, records).envs
    # By text, as the ids sort for everyone who splits the list.
    assert env["SUBFUNCTION_DEVICE"] == "mlx5_core.sf.10,mlx5_core.sf.4,mlx5_core.sf.7"
    assert env["SUBFUNCTION_UID"] == "uid-10,uid-4,uid-7"
    assert env["SUBFUNCTION_RDMA"] == "mlx5_10,mlx5_4,mlx5_7"


def test_a_variable_that_one_device_lacks_keeps_its_place_empty() -> None:
    env = build_environment(RESOURCE, [record(4, env={"X": "a"}), record(5), record(6, env={"X": "c"})])
    assert env["X"] == "a,,c"


def test_a_shared_node_is_given_once() -> None:
    paths = [
        device.container_path
        for device in build_response(RESOURCE, [record(4, nodes=(CM,)), record(5, nodes=(CM,))]).devices
    ]
    assert paths == ["/dev/infiniband/rdma_cm"]


def test_two_devices_that_want_one_path_are_refused_rather_than_one_lost() -> None:
    one = DeviceNode(container_path="/dev/sf", host_path="/dev/a")
    other = DeviceNode(container_path="/dev/sf", host_path="/dev/b")
    with pytest.raises(AllocationRefused, match="want /dev/sf"):
        build_response(RESOURCE, [record(4, nodes=(one,)), record(5, nodes=(other,))])


def test_a_record_cannot_pass_for_another_sub_function() -> None:
    assert build_environment(RESOURCE, [record(4, env={"SUBFUNCTION_UID": "uid-9"})])["SUBFUNCTION_UID"] == "uid-4"
