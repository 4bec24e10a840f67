"""vDPA on a sub-function: what the real mlx5_vdpa grants and refuses, the two bus drivers, and who waits for whom."""

import time

from harness.firmware import Status
from harness.holder import held, release
from harness.mlx5 import Mlx5
from harness.nic import AUX
from harness.wait import until

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"
MAC = "02:00:00:00:00:01"
PROMPT = 4.0
"""Seconds in which a node must answer; a busy TCG machine takes 0.2 for a command."""


def vnet(mlx5: Mlx5, number: int = 88) -> tuple[str, str]:
    handle, device = mlx5.attach(CARD, number, f"00:00:00:00:00:{number:02d}")
    mlx5.enable(device, "enable_vnet")
    return handle, device


def test_a_management_device_is_there_while_vnet_is_enabled(mlx5: Mlx5) -> None:
    _, device = vnet(mlx5)
    (handle,) = mlx5.vdpa.management()
    assert handle == f"auxiliary/{device}"
    shown = mlx5.vdpa.management()[handle]
    assert shown["supported_classes"] == ["net"]
    assert {"MAC", "MTU", "MQ", "CTRL_VQ", "VERSION_1", "ACCESS_PLATFORM"} <= set(shown["dev_features"])
    mlx5.disable(device, "enable_vnet")
    assert mlx5.vdpa.management() == {}


def test_a_device_has_what_was_asked_and_is_a_child_of_the_sub_function(mlx5: Mlx5) -> None:
    _, device = vnet(mlx5)
    mlx5.vdpa.add("vd0", device, "mac", MAC, "mtu", "9000", "max_vqp", "4")
    config = mlx5.vdpa.config("vd0")
    assert (config["mac"], config["mtu"], config["max_vq_pairs"]) == (MAC, 9000, 4)
    assert mlx5.vdpa.devices()["vd0"]["mgmtdev"] == f"auxiliary/{device}"
    assert mlx5.machine.run(f"test -d {AUX}/{device}/vd0; readlink -f /sys/bus/vdpa/devices/vd0").stdout.endswith(
        f"/{device}/vd0\n"
    )


def test_without_a_mac_it_has_the_functions(mlx5: Mlx5) -> None:
    _, device = vnet(mlx5)
    mlx5.vdpa.add("vd0", device)
    assert mlx5.vdpa.config("vd0")["mac"] == "00:00:00:00:00:88"


def test_features_can_be_chosen_from_those_offered(mlx5: Mlx5) -> None:
    _, device = vnet(mlx5)
    # MTU, MAC, STATUS, VERSION_1, ACCESS_PLATFORM
    features = 1 << 3 | 1 << 5 | 1 << 16 | 1 << 32 | 1 << 33
    mlx5.vdpa.add("vd0", device, "mac", MAC, "device_features", hex(features))
    mlx5.vdpa.bind("vd0", "virtio_vdpa")
    assert set(mlx5.vdpa.config("vd0")["negotiated_features"]) == {
        "MTU", "MAC", "STATUS", "VERSION_1", "ACCESS_PLATFORM",
    }  # fmt: skip


def test_what_it_cannot_be_is_refused(mlx5: Mlx5) -> None:
    _, device = vnet(mlx5)
    pairs = int(mlx5.vdpa.management()[f"auxiliary/{device}"]["max_supported_vqs"]) // 2
    for words, text in (
        (f"max_vqp {pairs + 1}", "Invalid argument"),
        ("max_vqp 0", "At least one pair of VQs is required"),
        ("device_features 0x20", "Operation not supported"),
        ("device_features 0x300000001000000", "Invalid argument"),
        ("mtu 60", "Numerical result out of range"),
    ):
        assert text in mlx5.refusal(f"vdpa dev add name vd0 mgmtdev auxiliary/{device} {words}"), words
    assert mlx5.vdpa.devices() == {}


def test_a_sub_function_has_one_device_and_a_name_is_the_nodes(mlx5: Mlx5) -> None:
    _, first = vnet(mlx5, 11)
    _, second = vnet(mlx5, 12)
    mlx5.vdpa.add("vd0", first)
    assert "No space left on device" in mlx5.refusal(f"vdpa dev add name vd1 mgmtdev auxiliary/{first}")
    assert "File exists" in mlx5.refusal(f"vdpa dev add name vd0 mgmtdev auxiliary/{second}")
    mlx5.vdpa.delete("vd0")
    mlx5.vdpa.add("vd0", second)


def test_the_first_driver_of_the_bus_takes_it_and_driver_override_decides(mlx5: Mlx5) -> None:
    _, device = vnet(mlx5)
    mlx5.vdpa.add("vd0", device, "mac", MAC)
    assert mlx5.vdpa.driver("vd0") == "vhost_vdpa"
    mlx5.machine.run(f"test -c {mlx5.vdpa.node('vd0')}")
    mlx5.vdpa.bind("vd0", "virtio_vdpa")
    assert mlx5.vdpa.driver("vd0") == "virtio_vdpa"
    name = mlx5.vdpa.netdev("vd0", PCI)
    assert f"link/ether {MAC}" in mlx5.machine.run(f"ip link show {name}").stdout
    assert mlx5.machine.run("ls /dev/vhost-vdpa-*", check=False).code != 0
    mlx5.vdpa.bind("vd0", "vhost_vdpa")
    assert mlx5.machine.run(f"ip link show {name}", check=False).code != 0


def test_a_virtio_netdev_comes_up_with_its_queues(mlx5: Mlx5) -> None:
    _, device = vnet(mlx5)
    mlx5.vdpa.add("vd0", device, "mac", MAC, "mtu", "9000", "max_vqp", "2")
    mlx5.vdpa.bind("vd0", "virtio_vdpa")
    name = mlx5.vdpa.netdev("vd0", PCI)
    mlx5.machine.run(f"ip link set {name} up")
    assert len(mlx5.machine.run(f"ls -d /sys/class/net/{name}/queues/tx-*").stdout.split()) == 2
    assert mlx5.machine.run(f"cat /sys/class/net/{name}/mtu").stdout == "9000\n"
    mlx5.vdpa.delete("vd0")


def test_a_driver_that_is_not_loaded_binds_nothing_until_it_is(mlx5: Mlx5) -> None:
    mlx5.machine.run("rmmod vhost_vdpa virtio_vdpa")
    try:
        _, device = vnet(mlx5)
        mlx5.vdpa.add("vd0", device, "mac", MAC)
        assert mlx5.vdpa.driver("vd0") is None
        assert mlx5.machine.run("ls /sys/bus/vdpa/drivers").stdout == ""
    finally:
        mlx5.machine.run("modprobe vhost_vdpa; modprobe virtio_vdpa")
    assert mlx5.vdpa.driver("vd0") == "vhost_vdpa"


def test_what_the_firmware_refuses_is_told_and_nothing_is_left(mlx5: Mlx5) -> None:
    _, device = vnet(mlx5)
    mlx5.faults(PCI).fail_next("ALLOC_PD", Status.INTERNAL_ERROR, owner=88)
    assert "Input/output error" in mlx5.refusal(f"vdpa dev add name vd0 mgmtdev auxiliary/{device}")
    assert mlx5.vdpa.devices() == {}
    mlx5.vdpa.add("vd0", device)


def test_everything_answers_while_an_unbind_waits_for_an_open_device_and_ends_clean_when_it_is_closed(
    mlx5: Mlx5,
) -> None:
    """The order the agent keeps: the driver first, in a thread; then nothing else on the node has to wait."""
    before = mlx5.listing()
    handle, device = vnet(mlx5)
    other, second = vnet(mlx5, 12)
    mlx5.vdpa.add("vd0", device, "mac", MAC)
    mlx5.vdpa.add("vd1", second)
    node = mlx5.vdpa.node("vd0")
    with held(mlx5.machine, node) as holder:
        unbinding = mlx5.vdpa.unbind_later("vd0")
        until(lambda: mlx5.machine.run(f"ls {node}", check=False).code, lambda code: code != 0)
        for line in (
            "devlink dev show", "devlink port show", "vdpa dev show", "vdpa mgmtdev show", "ip link", "rdma link",
            f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 99", "vdpa dev del vd1",
            f"devlink dev reload auxiliary/{second}", f"devlink port function set {other} state inactive",
        ):  # fmt: skip
            started = time.monotonic()
            mlx5.machine.run(line, timeout=PROMPT)
            assert time.monotonic() - started < PROMPT, line
        assert unbinding.alive(), "the unbind did not wait for the holder"
        assert mlx5.vdpa.driver("vd0") is None, "the link goes before the wait"
        release(holder)
        unbinding.wait()
    started = time.monotonic()
    mlx5.vdpa.delete("vd0")
    assert time.monotonic() - started < PROMPT
    mlx5.set(handle, "state", "inactive")
    for name in (handle, other):
        mlx5.wait(name, "detached")
    for name in mlx5.ports("pcisf"):
        mlx5.delete(name)
    assert until(mlx5.listing, lambda now: now == before) == before


def test_a_second_opener_is_refused_and_a_deactivation_waits_for_the_first(mlx5: Mlx5) -> None:
    handle, device = vnet(mlx5)
    mlx5.vdpa.add("vd0", device, "mac", MAC)
    node = mlx5.vdpa.node("vd0")
    with held(mlx5.machine, node) as holder:
        assert "busy" in mlx5.refusal(f"exec 9<>{node}")
        mlx5.set(handle, "state", "inactive")
        time.sleep(0.5)
        function = mlx5.port(handle)["function"]
        assert (function["state"], function["opstate"]) == ("inactive", "attached")
        assert list(function["nested_devlink"]) == [f"auxiliary/{device}"], "the driver's instance goes last"
        release(holder)
        mlx5.wait(handle, "detached")
    assert mlx5.vdpa.devices() == {}


def test_while_a_held_device_keeps_its_sub_function_a_dump_of_all_ports_waits_and_one_ports_show_does_not(
    mlx5: Mlx5,
) -> None:
    handle, device = vnet(mlx5)
    other = mlx5.add("pci/0000:81:00.0", 12)
    mlx5.vdpa.add("vd0", device, "mac", MAC)
    with held(mlx5.machine, mlx5.vdpa.node("vd0")) as holder:
        mlx5.set(handle, "state", "inactive")
        until(lambda: mlx5.machine.run("ls /dev/vhost-vdpa-*", check=False).code, lambda code: code != 0)
        dump = mlx5.machine.spawn(["devlink", "port", "show"], name="dump")
        started = time.monotonic()
        mlx5.port(handle)
        mlx5.set(other, "state", "active")
        mlx5.wait(other, "attached")
        assert time.monotonic() - started < PROMPT
        assert dump.alive(), "the dump did not wait"
        release(holder)
        dump.wait()


def test_a_device_can_take_its_time_to_go(mlx5: Mlx5) -> None:
    _, device = vnet(mlx5)
    mlx5.vdpa.add("vd0", device)
    mlx5.faults(PCI).slow("DEALLOC_PD", 2500, owner=88)
    deleting = mlx5.machine.spawn(["vdpa", "dev", "del", "vd0"], name="vdpa-del")
    until(lambda: mlx5.faults(PCI).counts().get("DESTROY_MKEY", (0, 0))[0], bool)
    assert deleting.alive()
    deleting.wait()
    assert mlx5.vdpa.devices() == {}
