"""What a pod gets, and what it is refused, through a kubelet over real sockets."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.deviceplugin.conftest import RESOURCE, Node

from rig.waiting import eventually
from subfunction.kubelet import deviceplugin_pb2 as api
from subfunction.kubelet.deviceplugin_pb2_grpc import DevicePluginStub
from subfunction.process.metrics import PluginMetrics
from subfunction.state.records import DeviceNode, Record, State
from subfunction_deviceplugin.allocator import Allocator
from subfunction_deviceplugin.device_list import DeviceList
from subfunction_deviceplugin.node_state import NodeStateReader
from subfunction_deviceplugin.servicer import ServicerContext
from subfunction_deviceplugin.worker import LedgerWorker
from subfunction_simulator.kubelet.device_manager.plugincalls import StartFailed
from subfunction_simulator.kubelet.kubelet import Kubelet
from subfunction_simulator.kubelet.pods import Container, Pod

if TYPE_CHECKING:
    from subfunction.kubelet.deviceplugin_pb2_grpc import DevicePluginAsyncStub

ID = "mlx5_core.sf.4"


def folder(node: Node) -> Path:
    return node.root / "device-plugins"


def registrations(node: Node) -> int:
    assert isinstance(node.kubelet, Kubelet)
    return node.kubelet.registration.connections


@asynccontextmanager
async def dialled(node: Node) -> AsyncIterator["DevicePluginAsyncStub"]:
    """Talk to the plugin as a kubelet would, to ask what a kubelet never asks."""
    [socket] = folder(node).glob("subfunction-*.sock")
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        yield DevicePluginStub(channel)


def wanted(*ids: str) -> api.AllocateRequest:
    return api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=ids)])


@pytest.fixture
async def ready(node: Node) -> Node:
    node.agent.device("a", ID, nodes=["/dev/null"], env={"SUBFUNCTION_RDMA": "mlx5_4"})
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    return node


async def test_a_container_has_its_environment_and_its_device_node(ready: Node) -> None:
    _, running = await ready.run()
    assert running.env["SUBFUNCTION_UID"] == "uid-a"
    assert running.env["SUBFUNCTION_DEVICE"] == ID
    assert running.env["SUBFUNCTION_RDMA"] == "mlx5_4"
    assert running.env["PCIDEVICE_SUBFUNCTION_DEV_MLX5"] == ID
    [device] = running.devices
    assert (device.path, device.exists, device.numbers) == ("/dev/null", True, "1:3")


async def test_a_container_with_several_devices_has_them_in_the_order_of_their_ids(ready: Node) -> None:
    for number in (10, 5, 7):
        ready.agent.device(f"b{number}", f"mlx5_core.sf.{number}")
    await ready.allocatable(4)
    _, running = await ready.run(4)
    assert running.env["SUBFUNCTION_DEVICE"] == "mlx5_core.sf.10,mlx5_core.sf.4,mlx5_core.sf.5,mlx5_core.sf.7"
    assert running.env["SUBFUNCTION_UID"] == "uid-b10,uid-a,uid-b5,uid-b7"


async def test_what_is_handed_out_stands_in_the_ledger_before_the_pod_runs(ready: Node) -> None:
    pod = ready.pod()
    assert await ready.kubelet.admit(pod) is None
    assert {entry.device_id for entry in ready.agent.promised().values()} == {ID}


async def test_a_device_is_free_for_the_next_pod_when_its_pod_is_gone(ready: Node) -> None:
    pod, _ = await ready.run()
    ready.kubelet.remove(pod.uid)
    _, running = await ready.run()
    assert running.env["SUBFUNCTION_UID"] == "uid-a"
    await eventually(lambda: ready.agent.promised()["uid-a"].seen_in_checkpoint, "the second pod was seen")


async def test_a_device_of_an_init_container_goes_on_to_the_pods_container(ready: Node) -> None:
    containers = (Container("setup", {RESOURCE: 1}, init=True), Container("app", {RESOURCE: 1}))
    pod = Pod("pod-i", "default", "pod-i", containers)
    assert await ready.kubelet.admit(pod) is None
    for container in containers:
        running = await ready.kubelet.start_container(pod.uid, container.name)
        assert running.env["SUBFUNCTION_DEVICE"] == ID


async def test_a_pod_that_asks_for_more_than_there_is_fails(ready: Node) -> None:
    rejected = await ready.kubelet.admit(ready.pod(2))
    assert rejected is not None
    assert rejected.reason == "UnexpectedAdmissionError"
    assert "Requested: 2, Available: 1" in rejected.message


async def test_a_pod_prefers_the_device_that_was_not_just_given_back(ready: Node) -> None:
    for number in (5, 6):
        ready.agent.device(f"b{number}", f"mlx5_core.sf.{number}")
    await ready.allocatable(3)
    used = set()
    for _ in range(3):
        pod, running = await ready.run()
        used.add(running.env["SUBFUNCTION_DEVICE"])
        ready.kubelet.remove(pod.uid)
    assert used == {ID, "mlx5_core.sf.5", "mlx5_core.sf.6"}


@pytest.mark.parametrize(("policy", "parents"), [("spread", {"p0", "p1"}), ("packed", {"p0"})])
async def test_pods_one_after_the_other_get_devices_of_all_parents_or_of_one_by_policy(
    node: Node, policy: str, parents: set[str]
) -> None:
    for number in range(4):
        node.agent.device(f"p{number % 2}-{number}", f"mlx5_core.sf.{number}", parent=f"p{number % 2}")
    await node.start_kubelet()
    await node.start_plugin(allocation_policy=policy)
    await node.allocatable(4)
    given = [(await node.run())[1].env["SUBFUNCTION_UID"].removeprefix("uid-").partition("-")[0] for _ in range(2)]
    assert set(given) == parents


async def test_a_device_being_drained_fails_the_pod_that_was_promised_it_too_late(ready: Node) -> None:
    """The kubelet has not heard yet; the record says it at the moment of Allocate."""
    record = ready.agent.records.read("uid-a")
    assert record is not None
    async with dialled(ready) as plugin:
        ready.agent.change(record, state=State.DRAINING)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await plugin.Allocate(wanted(ID))
    assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert str(refusal.value.details()).startswith(f"Draining: {ID} (a) is draining. See `kubectl describe")
    assert ready.agent.promised() == {}


@pytest.mark.parametrize("late", ["draining", "gone", "unplugged"])
async def test_a_pod_gets_the_device_that_is_fit_though_the_kubelet_was_told_of_others_too(
    node: Node, late: str
) -> None:
    """A pool that is made smaller while pods come: no list is as new as the records."""
    records = [node.agent.device(f"d{number}", f"mlx5_core.sf.{number}") for number in range(6)]
    await node.start_kubelet()
    await node.start_plugin(coalesce=30.0)
    await node.allocatable(6)
    for number, record in enumerate(records):
        if number == 4:
            continue
        if late == "draining":
            node.agent.change(record, state=State.DRAINING)
        elif late == "gone":
            node.agent.records.remove(record.uid)
        else:
            node.agent.unplug(record.device_id)
    _, running = await node.run()
    assert running.env["SUBFUNCTION_UID"] == "uid-d4"


async def test_advice_on_a_file_system_that_hangs_goes_by_the_list(node: Node) -> None:
    record = node.agent.device("a", ID)
    await node.start_kubelet()
    await node.start_plugin(allocate_deadline=20.0)
    await node.allocatable(1)
    async with dialled(node) as plugin, hanging(node, record):
        asked = api.ContainerPreferredAllocationRequest(available_deviceIDs=[ID], allocation_size=1)
        advice = await plugin.GetPreferredAllocation(api.PreferredAllocationRequest(container_requests=[asked]))
    assert [list(each.deviceIDs) for each in advice.container_responses] == [[ID]]


async def test_the_reason_of_a_refusal_stands_in_the_pods_status(ready: Node) -> None:
    ready.agent.unplug(ID)  # sysfs announces nothing, so the kubelet still holds it for healthy
    rejected = await ready.kubelet.admit(ready.pod())
    assert rejected is not None
    assert rejected.reason == "UnexpectedAdmissionError"
    assert "rpc error: code = FailedPrecondition desc = NotReady: " in rejected.message
    assert f"devices/{ID} is gone" in rejected.message
    assert ready.agent.promised() == {}


@pytest.mark.parametrize("ids", [("mlx5_core.sf.99",), (ID, "mlx5_core.sf.99"), ("../../etc/passwd",), ("",)])
async def test_an_unknown_id_is_not_found(ready: Node, ids: tuple[str, ...]) -> None:
    async with dialled(ready) as plugin:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await plugin.Allocate(wanted(*ids))
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
    assert "UnknownDevice" in str(refusal.value.details())
    assert ready.agent.promised() == {}


async def test_an_id_of_another_resource_is_not_found(ready: Node) -> None:
    ready.agent.device("v", "vdpa0", resource="subfunction.dev/virtio")
    await ready.allocatable(1, resource="subfunction.dev/virtio")
    [socket] = folder(ready).glob("subfunction-subfunction.dev_mlx5-*.sock")
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await DevicePluginStub(channel).Allocate(wanted("vdpa0"))
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
    assert "no subfunction.dev/mlx5 has the id vdpa0" in str(refusal.value.details())


@pytest.mark.parametrize("request_", [api.AllocateRequest(), wanted()], ids=["no container", "no device"])
async def test_a_request_for_nothing_is_an_invalid_argument(ready: Node, request_: api.AllocateRequest) -> None:
    async with dialled(ready) as plugin:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await plugin.Allocate(request_)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_id_named_twice_is_one_device(ready: Node) -> None:
    async with dialled(ready) as plugin:
        answer = await plugin.Allocate(wanted(ID, ID))
    assert answer.container_responses[0].envs["SUBFUNCTION_DEVICE"] == ID


async def test_a_ledger_that_cannot_be_written_makes_the_plugin_unavailable(ready: Node) -> None:
    (ready.root / "allocations").write_text("a file where the folder should be")
    async with dialled(ready) as plugin:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await plugin.Allocate(wanted(ID))
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "RecordNotWritten" in str(refusal.value.details())


async def test_a_file_system_that_hangs_costs_the_kubelet_no_more_than_the_deadline(node: Node) -> None:
    record = node.agent.device("a", ID)
    await node.start_kubelet()
    await node.start_plugin(allocate_deadline=0.2)
    await node.allocatable(1)
    async with dialled(node) as plugin:
        async with hanging(node, record):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await plugin.Allocate(wanted(ID), timeout=10)
        answer = await allocated_in_the_end(plugin)
    assert refusal.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "no answer from records and sysfs within 0.2 s" in str(refusal.value.details())
    assert answer.container_responses[0].envs["SUBFUNCTION_UID"] == "uid-a"


@asynccontextmanager
async def hanging(node: Node, record: Record) -> AsyncIterator[None]:
    """Let whoever reads a record wait, until the end of the block."""
    path = node.root / "devices" / f"{record.uid}.json"
    # Whoever opens a pipe for reading waits until somebody writes.
    os.mkfifo(pipe := path.with_name("pipe"))
    pipe.rename(path)
    yield
    path.rename(pipe)
    node.agent.change(record)
    # As many writers as there are readers; the last one leaves the pipe when nobody is left to read.
    await eventually(lambda: not unblocked(pipe), "nobody reads the pipe")


async def allocated_in_the_end(plugin: "DevicePluginAsyncStub") -> api.AllocateResponse:
    """Ask again while the list is still without the device: whoever read the pipe found nothing in it."""
    for _ in range(100):
        try:
            return await plugin.Allocate(wanted(ID), timeout=10)
        except grpc.aio.AioRpcError as error:
            if error.code() not in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise
            await asyncio.sleep(0.1)
    pytest.fail("it is not on offer again")


def unblocked(pipe: Path) -> bool:
    """Let a reader go on, if there is one."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


async def test_a_container_restarts_with_the_device_it_has(ready: Node) -> None:
    pod, first = await ready.run()
    assert await ready.kubelet.start_container(pod.uid, "app") == first


async def test_a_container_restarts_while_its_device_is_being_drained(ready: Node) -> None:
    pod, first = await ready.run()
    record = ready.agent.records.read("uid-a")
    assert record is not None
    ready.agent.change(record, state=State.DRAINING)
    await ready.allocatable(0, of=1)
    assert await ready.kubelet.start_container(pod.uid, "app") == first


async def test_a_container_does_not_restart_on_another_sub_function_under_its_id(ready: Node) -> None:
    pod, _ = await ready.run()
    ready.agent.records.remove("uid-a")
    ready.agent.device("b", ID)
    await ready.allocatable(0, of=1)
    with pytest.raises(
        StartFailed, match=r"FailedPrecondition desc = StaleAllocation: .* was promised as another sub-function than"
    ):
        await ready.kubelet.start_container(pod.uid, "app")


async def test_a_container_does_not_restart_on_a_device_that_was_made_anew(ready: Node) -> None:
    pod, _ = await ready.run()
    ready.agent.replug(ID)
    with pytest.raises(StartFailed, match=r"StaleAllocation: .* is another device than the one recorded"):
        await ready.kubelet.start_container(pod.uid, "app")


async def test_a_container_does_not_restart_without_its_device_and_does_when_it_is_back(ready: Node) -> None:
    pod, first = await ready.run()
    record = ready.agent.records.read("uid-a")
    assert record is not None
    ready.agent.records.remove("uid-a")
    await ready.allocatable(0, of=1)
    with pytest.raises(StartFailed, match=r"StaleAllocation: mlx5_core\.sf\.4 no longer exists"):
        await ready.kubelet.start_container(pod.uid, "app")
    ready.agent.change(record)
    await ready.allocatable(1)
    assert await ready.kubelet.start_container(pod.uid, "app") == first


async def test_a_container_restarts_after_the_ledger_was_lost_since_the_checkpoint_remembers(ready: Node) -> None:
    pod, first = await ready.run()
    await ready.stop_plugin()
    ready.agent.ledger.remove("uid-a")
    await ready.start_plugin()
    await ready.kubelet.until(lambda: registrations(ready) == 2)
    await ready.allocatable(1)
    assert await ready.kubelet.start_container(pod.uid, "app") == first


async def test_a_container_does_not_restart_when_nobody_remembers_what_it_was_promised(ready: Node) -> None:
    pod, _ = await ready.run()
    await ready.stop_plugin()
    ready.agent.ledger.remove("uid-a")
    await ready.start_plugin()
    await ready.kubelet.until(lambda: registrations(ready) == 2)
    await ready.allocatable(1)
    (folder(ready) / "kubelet_internal_checkpoint").unlink()
    with pytest.raises(StartFailed, match="neither ledger nor checkpoint has an allocation of"):
        await ready.kubelet.start_container(pod.uid, "app")


@pytest.mark.parametrize(("deadline", "patience"), [(20.0, 19.0), (0.2, 0.1)])
def test_an_answer_made_in_the_last_moment_is_too_late_already(node: Node, deadline: float, patience: float) -> None:
    """The kubelet would no longer get it, and its promise would keep the device for five minutes."""
    allocator = Allocator(NodeStateReader.of(node.settings()))
    with LedgerWorker() as worker:
        metrics = PluginMetrics()
        device_list = DeviceList(allocator, worker, node.settings(), lambda _: None, metrics=metrics)
        assert ServicerContext(device_list, allocator, worker, deadline, metrics).patience == patience


async def test_nothing_is_handed_out_or_started_while_the_checkpoint_is_torn(ready: Node) -> None:
    """The kubelet writes it anew with its next message, so that it mends by itself; here, a moment too late."""
    ready.agent.device("b", "mlx5_core.sf.5")
    await ready.allocatable(2)
    pod, first = await ready.run()
    [free] = {ID, "mlx5_core.sf.5"} - {first.env["SUBFUNCTION_DEVICE"]}
    path = folder(ready) / "kubelet_internal_checkpoint"
    whole = path.read_text()
    held = ready.agent.promised().keys()
    # What it still has to say of this pod would have the kubelet write the file anew.
    await eventually(
        lambda: all(entry.seen_in_checkpoint for entry in ready.agent.promised().values()), "the pod is seen to hold it"
    )
    async with dialled(ready) as plugin:
        for call in (plugin.Allocate(wanted(free)), None):
            path.write_text("{")
            if call is None:
                with pytest.raises(StartFailed, match=r"Unavailable desc = RecordUnreadable: .* not the kubelet's"):
                    await ready.kubelet.start_container(pod.uid, "app")
                continue
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await call
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "RecordUnreadable: " in str(refusal.value.details())
            assert "head -c 300" in str(refusal.value.details())
    assert ready.agent.promised().keys() == held
    path.write_text(whole)
    assert await ready.kubelet.start_container(pod.uid, "app") == first


async def test_a_container_restarts_by_cdi_until_its_name_stands_for_other_nodes(ready: Node) -> None:
    record = ready.agent.records.read("uid-a")
    assert record is not None
    node = DeviceNode(container_path="/dev/null", host_path="/dev/null")
    record = ready.agent.change(record, cdi_name="subfunction.dev/sf=a-1", cdi_nodes=(node,), nodes=())
    pod, first = await ready.run()
    assert await ready.kubelet.start_container(pod.uid, "app") == first
    ready.agent.change(record, cdi_name="subfunction.dev/sf=a-2")
    with pytest.raises(StartFailed, match=r"StaleAllocation: .* with subfunction\.dev/sf=a-1, and is .*sf=a-2 by now"):
        await ready.kubelet.start_container(pod.uid, "app")


async def test_after_a_reboot_no_container_starts_on_the_device_nodes_of_another(node: Node) -> None:
    """The probes ran in another order: same ids, same uids, true witnesses, and each has the other's uverbs number."""
    nodes = {"a": "/dev/null", "b": "/dev/zero"}
    devices = {"a": ID, "b": "mlx5_core.sf.5"}
    for name, device_id in devices.items():
        node.agent.device(name, device_id, nodes=[nodes[name]])
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(2)
    pods = [(await node.run())[0] for _ in devices]
    await node.stop_plugin()
    await node.kubelet.stop()
    for name, device_id in devices.items():
        node.agent.ledger.remove(f"uid-{name}")
        node.agent.unplug(device_id)
    (node.root / "boot_id").write_text("another-boot\n")
    for name, other in (("a", "b"), ("b", "a")):
        node.agent.device(name, devices[name], nodes=[nodes[other]], boot_id="another-boot")
    await node.kubelet.start()
    await node.start_plugin()
    await node.allocatable(2)
    for pod in pods:
        with pytest.raises(StartFailed, match=r"StaleAllocation: .* /dev/(null|zero), .* Delete the pod"):
            await node.kubelet.start_container(pod.uid, "app")


async def test_a_pod_keeps_its_device_when_kubelet_and_plugin_both_restart(ready: Node) -> None:
    pod, first = await ready.run()
    await ready.stop_plugin()
    await ready.kubelet.restart()
    await ready.start_plugin()
    await ready.allocatable(1)
    assert await ready.kubelet.start_container(pod.uid, "app") == first
    rejected = await ready.kubelet.admit(ready.pod())
    assert rejected is not None
    assert "Available: 0" in rejected.message


async def test_the_kubelets_choice_and_order_of_ids_are_random_and_the_pods_are_not(ready: Node) -> None:
    assert isinstance(ready.kubelet, Kubelet)
    for number in range(5, 9):
        ready.agent.device(f"b{number}", f"mlx5_core.sf.{number}")
    await ready.allocatable(5)
    for _ in range(8):
        pod, running = await ready.run(3)
        ids = running.env["SUBFUNCTION_DEVICE"].split(",")
        assert ids == sorted(ids)
        ready.kubelet.remove(pod.uid)
