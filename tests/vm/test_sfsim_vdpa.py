"""vDPA on a sub-function: what mlx5_vdpa grants and refuses, the two bus drivers, and who has to wait for whom."""

import errno
import time

from harness.holder import held, release
from harness.sfsim import AUX, Sfsim, until

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"
MAC = "02:00:00:00:00:01"
PROMPT = 4.0
"""Seconds in which a node must answer; a busy TCG machine takes 0.2 for a command."""


def vnet(sfsim: Sfsim, number: int = 88) -> tuple[str, str]:
    handle, device = sfsim.attach(CARD, number, f"00:00:00:00:00:{number:02d}")
    sfsim.enable(device, "enable_vnet")
    return handle, device


def test_a_management_device_is_there_while_vnet_is_enabled(switched: Sfsim) -> None:
    _, device = vnet(switched)
    (handle,) = switched.vdpa.management()
    assert handle == f"auxiliary/{device}"
    shown = switched.vdpa.management()[handle]
    assert shown["supported_classes"] == ["net"]
    assert {"MAC", "MTU", "MQ", "CTRL_VQ", "VERSION_1", "ACCESS_PLATFORM"} <= set(shown["dev_features"])
    switched.disable(device, "enable_vnet")
    assert switched.vdpa.management() == {}


def test_a_device_has_what_was_asked_and_is_a_child_of_the_sub_function(switched: Sfsim) -> None:
    _, device = vnet(switched)
    switched.vdpa.add("vd0", device, "mac", MAC, "mtu", "9000", "max_vqp", "4")
    config = switched.vdpa.config("vd0")
    assert (config["mac"], config["mtu"], config["max_vq_pairs"]) == (MAC, 9000, 4)
    assert switched.vdpa.devices()["vd0"]["mgmtdev"] == f"auxiliary/{device}"
    assert switched.machine.run(f"test -d {AUX}/{device}/vd0; readlink -f /sys/bus/vdpa/devices/vd0").stdout.endswith(
        f"/{device}/vd0\n"
    )


def test_without_a_mac_it_has_the_functions(switched: Sfsim) -> None:
    _, device = vnet(switched)
    switched.vdpa.add("vd0", device)
    assert switched.vdpa.config("vd0")["mac"] == "00:00:00:00:00:88"


def test_features_can_be_chosen_from_those_offered(switched: Sfsim) -> None:
    _, device = vnet(switched)
    # MTU, MAC, STATUS, VERSION_1, ACCESS_PLATFORM
    features = 1 << 3 | 1 << 5 | 1 << 16 | 1 << 32 | 1 << 33
    switched.vdpa.add("vd0", device, "mac", MAC, "device_features", hex(features))
    switched.vdpa.bind("vd0", "virtio_vdpa")
    assert set(switched.vdpa.config("vd0")["negotiated_features"]) == {
        "MTU", "MAC", "STATUS", "VERSION_1", "ACCESS_PLATFORM",
    }  # fmt: skip


def test_what_it_cannot_be_is_refused(switched: Sfsim) -> None:
    _, device = vnet(switched)
    for words, text in (
        ("max_vqp 9", "Invalid argument"),
        ("max_vqp 0", "At least one pair of VQs is required"),
        ("device_features 0x20", "Operation not supported"),
        ("device_features 0x300000001000000", "Invalid argument"),
        ("mtu 60", "Numerical result out of range"),
    ):
        assert text in switched.refusal(f"vdpa dev add name vd0 mgmtdev auxiliary/{device} {words}"), words
    assert switched.vdpa.devices() == {}


def test_a_sub_function_has_one_device_and_a_name_is_the_nodes(switched: Sfsim) -> None:
    _, first = vnet(switched, 11)
    _, second = vnet(switched, 12)
    switched.vdpa.add("vd0", first)
    assert "No space left on device" in switched.refusal(f"vdpa dev add name vd1 mgmtdev auxiliary/{first}")
    assert "File exists" in switched.refusal(f"vdpa dev add name vd0 mgmtdev auxiliary/{second}")
    switched.vdpa.delete("vd0")
    switched.vdpa.add("vd0", second)


def test_the_first_driver_of_the_bus_takes_it_and_driver_override_decides(switched: Sfsim) -> None:
    _, device = vnet(switched)
    switched.vdpa.add("vd0", device, "mac", MAC)
    assert switched.vdpa.driver("vd0") == "vhost_vdpa"
    switched.machine.run(f"test -c {switched.vdpa.node('vd0')}")
    switched.vdpa.bind("vd0", "virtio_vdpa")
    assert switched.vdpa.driver("vd0") == "virtio_vdpa"
    name = switched.vdpa.netdev("vd0", PCI)
    assert f"link/ether {MAC}" in switched.machine.run(f"ip link show {name}").stdout
    assert switched.machine.run("ls /dev/vhost-vdpa-*", check=False).code != 0
    switched.vdpa.bind("vd0", "vhost_vdpa")
    assert switched.machine.run(f"ip link show {name}", check=False).code != 0


def test_a_virtio_netdev_comes_up_with_its_queues_and_sends(switched: Sfsim) -> None:
    _, device = vnet(switched)
    switched.vdpa.add("vd0", device, "mac", MAC, "mtu", "9000", "max_vqp", "2")
    switched.vdpa.bind("vd0", "virtio_vdpa")
    name = switched.vdpa.netdev("vd0", PCI)
    switched.machine.run(
        f"ip link set {name} up; ip address add 192.0.2.9/24 dev {name}; arping -c 3 -w 1 -I {name} 192.0.2.1",
        check=False,
    )
    assert len(switched.machine.run(f"ls -d /sys/class/net/{name}/queues/tx-*").stdout.split()) == 2
    assert int(switched.machine.run(f"cat /sys/class/net/{name}/statistics/tx_packets").stdout) > 0
    assert switched.machine.run(f"cat /sys/class/net/{name}/mtu").stdout == "9000\n"
    switched.vdpa.delete("vd0")


def test_a_driver_that_is_not_loaded_binds_nothing_until_it_is(switched: Sfsim) -> None:
    switched.machine.run("rmmod vhost_vdpa virtio_vdpa")
    try:
        _, device = vnet(switched)
        switched.vdpa.add("vd0", device, "mac", MAC)
        assert switched.vdpa.driver("vd0") is None
        assert switched.machine.run("ls /sys/bus/vdpa/drivers").stdout == ""
    finally:
        switched.machine.run("modprobe vhost_vdpa; modprobe virtio_vdpa")
    assert switched.vdpa.driver("vd0") == "vhost_vdpa"


def test_an_injected_failure_is_told_and_nothing_is_left(switched: Sfsim) -> None:
    _, device = vnet(switched)
    switched.fail_next(PCI, "vdpa_add", errno.EIO)
    assert "Input/output error" in switched.refusal(f"vdpa dev add name vd0 mgmtdev auxiliary/{device}")
    switched.vdpa.add("vd0", device)


def test_everything_answers_while_an_unbind_waits_for_an_open_device_and_ends_clean_when_it_is_closed(
    switched: Sfsim,
) -> None:
    """The order the agent keeps: the driver first, in a thread; then nobody else on the node has to wait."""
    before = switched.listing()
    handle, device = vnet(switched)
    other, second = vnet(switched, 12)
    switched.vdpa.add("vd0", device, "mac", MAC)
    switched.vdpa.add("vd1", second)
    node = switched.vdpa.node("vd0")
    with held(switched.machine, node) as holder:
        unbinding = switched.vdpa.unbind_later("vd0")
        until(lambda: switched.machine.run(f"ls {node}", check=False).code, lambda code: code != 0)
        for line in (
            "devlink dev show", "devlink port show", "vdpa dev show", "vdpa mgmtdev show", "ip link", "rdma link",
            f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 99", "vdpa dev del vd1",
            f"devlink dev reload auxiliary/{second}", f"devlink port function set {other} state inactive",
        ):  # fmt: skip
            started = time.monotonic()
            switched.machine.run(line, timeout=PROMPT)
            assert time.monotonic() - started < PROMPT, line
        assert unbinding.alive(), "the unbind did not wait for the holder"
        assert switched.vdpa.driver("vd0") is None, "the link goes before the wait"
        release(holder)
        unbinding.wait()
    started = time.monotonic()
    switched.vdpa.delete("vd0")
    assert time.monotonic() - started < PROMPT
    switched.set(handle, "state", "inactive")
    for name in switched.ports("pcisf"):
        switched.delete(name)
    assert until(switched.listing, lambda now: now == before) == before


def test_a_second_opener_is_refused_and_a_deactivation_waits_for_the_first(switched: Sfsim) -> None:
    handle, device = vnet(switched)
    switched.vdpa.add("vd0", device, "mac", MAC)
    node = switched.vdpa.node("vd0")
    with held(switched.machine, node) as holder:
        assert "busy" in switched.refusal(f"exec 9<>{node}")
        switched.set(handle, "state", "inactive")
        time.sleep(0.5)
        function = switched.port(handle)["function"]
        assert (function["state"], function["opstate"]) == ("inactive", "attached")
        release(holder)
        switched.wait(handle, "detached")
    assert switched.vdpa.devices() == {}
