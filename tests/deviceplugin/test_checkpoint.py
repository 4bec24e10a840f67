"""The kubelet's checkpoint, read."""

import base64
import json
from pathlib import Path

import pytest

from subfunction.api.reasons import Reason
from subfunction.errors import CheckpointUnreadable
from subfunction.kubelet import checkpoint
from subfunction.kubelet.checkpoint import DeviceAllocation
from subfunction.kubelet.deviceplugin_pb2 import CDIDevice, ContainerAllocateResponse, DeviceSpec

RESOURCE = "subfunction.dev/mlx5"


def text(ids: dict[str, list[str]], answer: bytes | None) -> bytes:
    entry = {
        "PodUID": "p1",
        "ContainerName": "app",
        "ResourceName": RESOURCE,
        "DeviceIDs": ids,
        "AllocResp": None if answer is None else base64.b64encode(answer).decode(),
    }
    data = {"PodDeviceEntries": [entry], "RegisteredDevices": {RESOURCE: ["b"]}}
    return json.dumps({"Data": data, "Checksum": 3}).encode()


def promise(uids: str) -> bytes:
    return ContainerAllocateResponse(envs={"SUBFUNCTION_UID": uids}).SerializeToString()


def test_each_device_is_told_with_the_uid_it_was_promised_as() -> None:
    assert checkpoint.parse_checkpoint(text({"1": ["sf.4"], "0": ["sf.10"]}, promise("uid-10,uid-4"))) == (
        DeviceAllocation("p1", "app", RESOURCE, "sf.10", "uid-10"),
        DeviceAllocation("p1", "app", RESOURCE, "sf.4", "uid-4"),
    )


def test_what_the_replayed_answer_names_is_told_with_each_device() -> None:
    answer = ContainerAllocateResponse(
        envs={"SUBFUNCTION_UID": "uid-4"},
        devices=[DeviceSpec(container_path="/dev/a", host_path="/host/dev/a", permissions="rw")],
        cdi_devices=[CDIDevice(name="subfunction.dev/sf=uid-4")],
    )
    [holding] = checkpoint.parse_checkpoint(text({"-1": ["sf.4"]}, answer.SerializeToString()))
    assert (list(holding.paths), list(holding.cdi_names)) == (["/host/dev/a"], ["subfunction.dev/sf=uid-4"])


def test_a_device_on_two_numa_nodes_is_held_once() -> None:
    assert len(checkpoint.parse_checkpoint(text({"0": ["sf.4"], "1": ["sf.4"]}, promise("uid-4")))) == 1


@pytest.mark.parametrize("answer", [None, b"", b"\xff\xff", promise("uid-4,uid-5"), promise("")])
def test_a_promise_that_cannot_be_read_is_a_holding_all_the_same(answer: bytes | None) -> None:
    assert checkpoint.parse_checkpoint(text({"-1": ["sf.4"]}, answer)) == (
        DeviceAllocation("p1", "app", RESOURCE, "sf.4", None),
    )


def test_a_kubelet_that_has_admitted_nothing_yet_writes_null() -> None:
    assert checkpoint.parse_checkpoint(b'{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}') == ()


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"Data":{"PodDeviceEntries":[{"PodUID":1}]}}'])
def test_a_torn_file_says_so_and_never_that_nothing_is_held(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / checkpoint.CHECKPOINT
    path.write_bytes(torn)
    with pytest.raises(CheckpointUnreadable, match="not the kubelet's checkpoint") as unreadable:
        checkpoint.read_checkpoint(path)
    assert f"head -c 300 {path}" in unreadable.value.hint


def test_a_kubelet_that_no_plugin_ever_registered_with_has_no_file_and_gave_nothing_out(tmp_path: Path) -> None:
    assert checkpoint.read_checkpoint(tmp_path / checkpoint.CHECKPOINT) == ()


def test_a_missing_folder_says_so_and_never_that_nothing_is_held(tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnreadable, match="No such file") as unreadable:
        checkpoint.read_checkpoint(tmp_path / "none" / checkpoint.CHECKPOINT)
    assert unreadable.value.reason is Reason.RECORD_UNREADABLE
    assert f"ls -l {tmp_path / 'none'}" in unreadable.value.hint


def test_each_device_is_told_with_the_host_paths_of_its_containers_answer() -> None:
    answer = ContainerAllocateResponse(
        envs={"SUBFUNCTION_UID": "uid-4,uid-5"},
        devices=[DeviceSpec(container_path="/dev/x", host_path=f"/dev/infiniband/uverbs{n}") for n in (3, 5)],
    )
    [four, five] = checkpoint.parse_checkpoint(text({"-1": ["sf.4", "sf.5"]}, answer.SerializeToString()))
    assert four.paths == five.paths == {"/dev/infiniband/uverbs3", "/dev/infiniband/uverbs5"}
