"""What the kubelet is told: every device, whole, and on change only."""

import time

import pytest
from tests.deviceplugin.conftest import RESOURCE, Node

from rig.waiting import eventually
from subfunction.state.records import Health, State
from subfunction_simulator.kubelet.kubelet import Kubelet


def messages(node: Node) -> int:
    assert isinstance(node.kubelet, Kubelet)
    return node.kubelet.registration.messages.get(RESOURCE, 0)


def health(node: Node, device_id: str) -> str:
    assert isinstance(node.kubelet, Kubelet)
    entry = node.kubelet.table.resources.get(RESOURCE)
    device = None if entry is None else entry.devices.get(device_id)
    return "absent" if device is None else device.health


async def test_ready_devices_are_allocatable_with_their_numa_node(node: Node) -> None:
    node.agent.device("a", "mlx5_core.sf.4", numa_node=1)
    node.agent.device("b", "mlx5_core.sf.5")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(2)
    assert isinstance(node.kubelet, Kubelet)
    devices = node.kubelet.table.resources[RESOURCE].devices
    assert [each.ID for each in devices["mlx5_core.sf.4"].topology.nodes] == [1]
    assert not devices["mlx5_core.sf.5"].HasField("topology")


async def test_without_numa_hints_the_kubelet_is_told_of_no_node(node: Node) -> None:
    node.agent.device("a", "mlx5_core.sf.4", numa_node=1)
    await node.start_kubelet()
    await node.start_plugin(numa_hints=False)
    await node.allocatable(1)
    assert isinstance(node.kubelet, Kubelet)
    assert not node.kubelet.table.resources[RESOURCE].devices["mlx5_core.sf.4"].HasField("topology")


async def test_a_device_that_comes_later_is_listed_when_it_comes(node: Node) -> None:
    await node.start_kubelet()
    await node.start_plugin()
    record = node.agent.device("a", "mlx5_core.sf.4", state=State.PREPARING)
    await node.allocatable(0, of=1)
    record = node.agent.change(record, state=State.READY)
    await node.allocatable(1)
    node.agent.records.remove(record.uid)
    await node.allocatable(0)


async def test_health_goes_and_comes_back(node: Node) -> None:
    record = node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    node.agent.change(record, health=Health(healthy=False, reason="LinkDown"))
    await node.allocatable(0, of=1)
    node.agent.change(record)
    await node.allocatable(1)


async def test_a_resource_known_from_earlier_is_registered_at_once_with_zero_devices(node: Node) -> None:
    node.agent.names(RESOURCE, "subfunction.dev/virtio")
    await node.start_kubelet()
    await node.start_plugin()
    await node.kubelet.until(lambda: node.kubelet.capacity() == {RESOURCE: 0, "subfunction.dev/virtio": 0})
    assert (node.root / "devices").exists() is False


async def test_a_resource_that_has_lost_its_last_device_stays_registered(node: Node) -> None:
    record = node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    node.agent.records.remove(record.uid)
    await node.allocatable(0)
    assert RESOURCE in node.kubelet.capacity()


async def test_a_resource_of_another_domain_is_never_registered(node: Node) -> None:
    node.agent.names("nvidia.com/gpu", RESOURCE)
    node.agent.device("a", "mlx5_core.sf.4", resource="nvidia.com/gpu")
    await node.start_kubelet()
    await node.start_plugin()
    await node.kubelet.until(lambda: RESOURCE in node.kubelet.capacity())
    assert node.kubelet.capacity() == {RESOURCE: 0}


async def test_another_domain_can_be_allowed(node: Node) -> None:
    node.agent.device("a", "mlx5_core.sf.4", resource="example.com/nic")
    await node.start_kubelet()
    await node.start_plugin(resource_domains=("example.com",))
    await node.allocatable(1, resource="example.com/nic")


async def test_a_record_of_an_earlier_boot_is_listed_unhealthy(node: Node) -> None:
    record = node.agent.device("a", "mlx5_core.sf.4", boot_id="an-earlier-one")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(0, of=1)
    node.agent.change(record, boot_id=(node.root / "boot_id").read_text().strip())
    await node.allocatable(1)


async def test_a_device_made_anew_under_its_old_name_is_unhealthy_at_the_next_record_event(node: Node) -> None:
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    node.agent.replug("mlx5_core.sf.4")
    node.agent.device("b", "mlx5_core.sf.5")
    await node.allocatable(1, of=2)
    assert health(node, "mlx5_core.sf.4") == "Unhealthy"


async def test_a_torn_record_is_ignored_and_the_others_are_listed(node: Node) -> None:
    (node.root / "devices").mkdir()
    (node.root / "devices" / "uid-torn.json").write_text('{"schema": 1, "uid": "uid-torn", "na')
    (node.root / "devices" / "uid-a.tmp").write_text("half of one")
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    (node.root / "devices" / "uid-a.json").write_text("")
    await node.allocatable(0)


async def test_a_burst_of_records_costs_the_kubelet_few_messages(node: Node) -> None:
    await node.start_kubelet()
    node.agent.names(RESOURCE)
    await node.start_plugin(coalesce=0.1)
    await node.allocatable(0)
    before, began = messages(node), time.monotonic()
    for number in range(200):
        node.agent.device(f"a{number}", f"mlx5_core.sf.{number}")
    wrote = time.monotonic() - began
    await node.allocatable(200)
    # One message at the most for each 100 ms in which records were written, and one for what was left.
    assert messages(node) - before <= wrote / 0.1 + 2


async def test_a_record_written_again_without_a_change_costs_no_message(node: Node) -> None:
    record = node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    before = messages(node)
    for _ in range(20):
        node.agent.change(record)
    node.agent.device("b", "mlx5_core.sf.5")
    await node.allocatable(2)
    assert messages(node) - before == 1


async def test_five_thousand_devices_are_listed_and_one_change_of_one_reaches_the_kubelet(node: Node) -> None:
    for number in range(5000):
        node.agent.device(f"a{number}", f"mlx5_core.sf.{number}", numa_node=number % 2)
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(5000, within=60)
    record = node.agent.records.read("uid-a7")
    assert record is not None
    node.agent.change(record, state=State.DRAINING)
    await node.allocatable(4999, of=5000, within=60)


async def test_a_records_folder_that_is_removed_and_made_again_is_still_watched(node: Node) -> None:
    record = node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    node.agent.records.remove(record.uid)
    (node.root / "devices").rmdir()
    await node.allocatable(0)
    node.agent.device("b", "mlx5_core.sf.5")
    await node.allocatable(1)


async def test_a_held_device_is_never_dropped_from_the_list(node: Node) -> None:
    record = node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    await node.run()
    node.agent.records.remove(record.uid)
    await node.allocatable(0, of=1)
    await node.stop_plugin()
    await node.start_plugin()
    await node.allocatable(0, of=1)
    assert health(node, "mlx5_core.sf.4") == "Unhealthy"


async def test_a_held_device_stays_listed_after_the_ledger_is_lost(node: Node) -> None:
    record = node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    await node.run()
    await node.stop_plugin()
    node.agent.ledger.remove(record.uid)
    node.agent.records.remove(record.uid)
    node.agent.names(RESOURCE)
    await node.start_plugin()
    await node.allocatable(0, of=1)


async def test_an_id_that_moved_to_another_sub_function_is_unhealthy_until_its_holder_is_gone(node: Node) -> None:
    record = node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    pod, _ = await node.run()
    node.agent.records.remove(record.uid)
    node.agent.device("b", "mlx5_core.sf.4")
    await node.allocatable(0, of=1)
    node.kubelet.remove(pod.uid)
    await node.ask_pod_resources()
    # No event tells the plugin; it sends the list again, the kubelet writes its checkpoint, and that ends it.
    await node.allocatable(1)
    await eventually(lambda: node.agent.promised() == {}, "the ledger is empty")


async def test_the_checkpoint_of_a_pod_that_ended_is_let_go_without_any_other_event(node: Node) -> None:
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    pod, _ = await node.run()
    await eventually(lambda: node.agent.promised()["uid-a"].seen_in_checkpoint, "the promise was seen")
    node.kubelet.remove(pod.uid)
    await node.ask_pod_resources()
    await eventually(lambda: node.agent.promised() == {}, "the promise ended")


async def test_an_entry_that_cannot_be_removed_freezes_no_list(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    pod, _ = await node.run()
    await eventually(lambda: node.agent.promised()["uid-a"].seen_in_checkpoint, "the promise was seen")
    # A folder stands where its file was.
    (entry := node.root / "allocations" / "uid-a.json").unlink()
    entry.mkdir()
    node.kubelet.remove(pod.uid)
    await node.ask_pod_resources()
    await eventually(lambda: f"cannot remove {entry}" in caplog.text, "it is told")
    node.agent.device("b", "mlx5_core.sf.5")
    await node.allocatable(2)
    assert entry.is_dir()


async def test_a_look_that_fails_is_told_and_made_again(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    # A ledger that cannot be listed.
    (ledger := node.root / "allocations").symlink_to("x" * 300)
    node.agent.device("b", "mlx5_core.sf.5")
    await eventually(lambda: "the devices cannot be looked at: cannot list" in caplog.text, "it is told")
    ledger.unlink()
    node.agent.device("c", "mlx5_core.sf.6")
    await node.allocatable(3)


async def test_while_the_checkpoint_is_torn_what_may_be_taken_is_unhealthy(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for name, number in (("a", 4), ("b", 5)):
        node.agent.device(name, f"mlx5_core.sf.{number}")
    checkpoint = node.root / "device-plugins" / "kubelet_internal_checkpoint"
    checkpoint.parent.mkdir()
    checkpoint.write_text('{"Data": {"PodDev')
    await node.start_plugin()
    await eventually(lambda: "mlx5_core.sf.5: IdTaken: whether" in caplog.text, "it is listed as perhaps taken")
    [told] = [line for line in caplog.messages if "not the kubelet's checkpoint" in line]
    assert str(checkpoint) in told
    # A kubelet that comes up with a file it cannot read forgets what stood there, and writes it anew at the list.
    checkpoint.unlink()
    await node.start_kubelet()
    await node.allocatable(2)
