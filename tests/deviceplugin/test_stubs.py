"""The committed stubs are what our .proto files say, and what our .proto files say is what a kubelet speaks."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from google.protobuf.message import Message

from subfunction.kubelet import deviceplugin_pb2 as dp
from subfunction.kubelet import podresources_pb2 as pr

CORE = Path(__file__).parents[2] / "core"
PROTOS = ("subfunction/kubelet/deviceplugin.proto", "subfunction/kubelet/podresources.proto")

OPTIONS = dp.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)

# Marshalled by Go from k8s.io/kubelet v0.36.2 (deviceplugin/v1beta1 and podresources/v1), the kubelet's own types.
RECORDED: dict[str, tuple[str, Message]] = {
    "options": ("08011001", OPTIONS),
    "register": (
        "0a0776316265746131120773662e736f636b1a1473756266756e6374696f6e2e6465762f6d6c7835220408011001",
        dp.RegisterRequest(
            version="v1beta1", endpoint="sf.sock", resource_name="subfunction.dev/mlx5", options=OPTIONS
        ),
    ),
    "list": (
        "0a1f0a0e6d6c78355f636f72652e73662e3412074865616c7468791a040a0208010a0e0a01621209556e6865616c746879",
        dp.ListAndWatchResponse(
            devices=[
                dp.Device(ID="mlx5_core.sf.4", health="Healthy", topology=dp.TopologyInfo(nodes=[dp.NUMANode(ID=1)])),
                dp.Device(ID="b", health="Unhealthy"),
            ]
        ),
    ),
    "which devices are preferred": (
        "0a0b0a01610a01621201621802",
        dp.PreferredAllocationRequest(
            container_requests=[
                dp.ContainerPreferredAllocationRequest(
                    available_deviceIDs=["a", "b"], must_include_deviceIDs=["b"], allocation_size=2
                )
            ]
        ),
    ),
    "preferred devices": (
        "0a060a01620a0161",
        dp.PreferredAllocationResponse(
            container_responses=[dp.ContainerPreferredAllocationResponse(deviceIDs=["b", "a"])]
        ),
    ),
    "allocate": (
        "0a060a01620a0161",
        dp.AllocateRequest(container_requests=[dp.ContainerAllocateRequest(devices_ids=["b", "a"])]),
    ),
    "allocated": (
        (
            "0a4a0a060a014b120176120a0a022f6312022f6818011a140a062f6465762f6312062f6465762f681a02727722060a0161120162"
            "2a160a1473756266756e6374696f6e2e6465762f73663d78"
        ),
        dp.AllocateResponse(
            container_responses=[
                dp.ContainerAllocateResponse(
                    envs={"K": "v"},
                    mounts=[dp.Mount(container_path="/c", host_path="/h", read_only=True)],
                    devices=[dp.DeviceSpec(container_path="/dev/c", host_path="/dev/h", permissions="rw")],
                    annotations={"a": "b"},
                    cdi_devices=[dp.CDIDevice(name="subfunction.dev/sf=x")],
                )
            ]
        ),
    ),
    "before a start": ("0a0161", dp.PreStartContainerRequest(devices_ids=["a"])),
    "one pod": ("0a016e12026e73", pr.GetPodResourcesRequest(pod_name="n", pod_namespace="ns")),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_message_is_byte_for_byte_what_a_kubelet_writes(name: str) -> None:
    recorded, ours = RECORDED[name]
    assert ours.SerializeToString(deterministic=True).hex() == recorded
    assert type(ours).FromString(bytes.fromhex(recorded)) == ours


def test_pods_of_a_kubelet_are_read_and_what_we_do_not_know_is_skipped() -> None:
    recorded = "0a300a016e12026e731a270a0163121f0a1473756266756e6374696f6e2e6465762f6d6c78351201611a040a0208011a0103"
    [pod] = pr.ListPodResourcesResponse.FromString(bytes.fromhex(recorded)).pod_resources
    [container] = pod.containers
    [devices] = container.devices
    assert (pod.namespace, pod.name, container.name) == ("ns", "n", "c")
    assert (devices.resource_name, list(devices.device_ids)) == ("subfunction.dev/mlx5", ["a"])
    assert [node.ID for node in devices.topology.nodes] == [1]


def test_calls_have_the_names_that_a_kubelet_uses() -> None:
    methods = {
        f"/{service.full_name}/{method.name}"
        for descriptor in (dp.DESCRIPTOR, pr.DESCRIPTOR)
        for service in descriptor.services_by_name.values()
        for method in service.methods
    }
    assert methods == {
        "/v1beta1.DevicePlugin/Allocate",
        "/v1beta1.DevicePlugin/GetDevicePluginOptions",
        "/v1beta1.DevicePlugin/GetPreferredAllocation",
        "/v1beta1.DevicePlugin/ListAndWatch",
        "/v1beta1.DevicePlugin/PreStartContainer",
        "/v1beta1.Registration/Register",
        "/v1.PodResourcesLister/Get",
        "/v1.PodResourcesLister/List",
    }


def test_the_committed_stubs_are_a_fresh_generation(tmp_path: Path) -> None:
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    # The generators of the type stubs are found by name beside this very interpreter.
    environment = os.environ | {"PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(CORE), *outputs, *PROTOS]
    subprocess.run(command, env=environment, check=True, capture_output=True, cwd=CORE)
    fresh = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*_pb2*")}
    assert len(fresh) == 8
    committed = {path: (CORE / path).read_text() for path in fresh}
    assert fresh == committed
