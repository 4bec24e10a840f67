"""The whole way on real programs: a manifest, a container that opens a device of the real mlx5 driver, and back."""

import dataclasses
from collections.abc import Iterator

import pytest

from conftest import fresh
from harness import topology
from harness.firmware import Status
from harness.nic import AUX
from harness.snapshot import build_snapshot
from harness.wait import until
from node_disk import disk
from node_in_vm import PCI
from whole_node import WholeNode, whole_node
from worker.bench import Container, pod_of

pytestmark = pytest.mark.ground("real mlx5")

MLX5, VIRTIO = "subfunction.dev/mlx5", "subfunction.dev/virtio"
MAC = "02:53:46:00:00:01"


@pytest.fixture(scope="module")
def node() -> Iterator[WholeNode]:
    with build_snapshot(dataclasses.replace(topology.MLX5, disks=(disk(),))).restore() as machine:
        with fresh(machine) as mlx5, whole_node(mlx5) as node:
            yield node
        machine.console.check()


def numbers(node: WholeNode, path: str) -> str:
    """The device numbers of a node of the machine, as `231:192`."""
    told = node.mlx5.machine.run(f"stat -c '%t %T' {path}").stdout.split()
    return ":".join(str(int(each, 16)) for each in told)


def health(node: WholeNode, pod: str) -> str:
    """What the kubelet says in a pod's status of the one device that it has."""
    [container] = node.get(f"pod/{pod}")["status"]["containerStatuses"]
    [status] = container["allocatedResourcesStatus"]
    [device] = status["resources"]
    return str(device["health"])


def test_a_pod_opens_the_devices_made_for_it_and_afterwards_the_kernel_is_as_it_was(node: WholeNode) -> None:
    before = node.mlx5.listing()
    node.cluster.apply_all({"blue": {"macAddress": MAC}, "green": {"flavour": "virtio"}})
    node.wait("condition=Ready", "sf/blue", "sf/green")
    node.counted(MLX5, 1)
    node.counted(VIRTIO, 1)
    pod = node.run(pod_of("worker", Container("verbs", limits={MLX5: 1}), Container("vhost", limits={VIRTIO: 1})))

    for container, name, resource in (("verbs", "blue", MLX5), ("vhost", "green", VIRTIO)):
        seen, made = node.sight(pod, container), node.get(f"sf/{name}")
        device = made["status"]["device"]
        assert seen.env["SUBFUNCTION_UID"] == made["metadata"]["uid"]
        assert seen.env["SUBFUNCTION_DEVICE"] == device["id"]
        assert seen.env["PCIDEVICE_" + resource.upper().replace(".", "_").replace("/", "_")] == device["id"]
        (path,) = device["nodes"]
        assert seen.nodes[path] == numbers(node, path)
        assert seen.refusals[path] == "", "its driver answered"
        others = {path for path in seen.nodes if path.startswith(("/dev/infiniband", "/dev/vhost"))} - {path}
        assert not others
    assert node.sight(pod, "verbs").env["SUBFUNCTION_MAC"] == MAC

    node.cluster.delete("blue", "green")
    for name in ("sf/blue", "sf/green"):
        node.wait("jsonpath={.status.conditions[?(@.type=='Ready')].reason}=Draining", name)
    assert len(node.mlx5.ports("pcisf")) == 2, "they were taken from the pod"
    node.delete("pod/worker")
    node.wait("delete", "sf/blue", "sf/green")
    until(node.mlx5.listing, lambda now: now == before, 60)


def test_a_device_lost_under_a_pod_is_unhealthy_in_its_status_until_the_pod_ends_though_it_is_made_anew(
    node: WholeNode,
) -> None:
    node.cluster.apply("red")
    node.wait("condition=Ready", "sf/red")
    node.counted(MLX5, 1)
    node.run(pod_of("watched", Container(limits={MLX5: 1})))
    until(lambda: health(node, "watched"), lambda seen: seen == "Healthy", 60)
    status = node.get("sf/red")["status"]
    auxiliary = status["device"]["id"]
    # So that it takes more than to ask its driver again.
    node.mlx5.faults(PCI).fail_next("ENABLE_HCA", Status.BAD_SYSTEM_STATE, owner=status["number"])
    node.mlx5.machine.run(f"echo {auxiliary} > {AUX}/{auxiliary}/driver/unbind")
    node.wait("jsonpath={.status.conditions[?(@.type=='Ready')].reason}=StaleAllocation", "sf/red")
    node.wait("condition=InUse", "sf/red")
    until(lambda: health(node, "watched"), lambda seen: seen == "Unhealthy", 60)
    assert node.mlx5.faults(PCI).counts()["ENABLE_HCA"][1] == 1
    node.delete("pod/watched")
    node.wait("condition=Ready", "sf/red")
    node.counted(MLX5, 1)
    node.delete("sf/red")
    assert node.mlx5.ports("pcisf") == {}
