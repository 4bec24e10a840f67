"""What can be made to go wrong on demand, and what is told of what was asked."""

import errno
import time

from harness.faults import Call, Operation
from harness.sfsim import AUX, Sfsim, until

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"


FALLIBLE: tuple[tuple[Operation, str], ...] = (
    ("set_roce", "devlink port function set $handle roce disable"),
    ("set_eqs", "devlink port function set $handle max_io_eqs 4"),
    ("rate", "devlink port function rate set $handle tx_max 10mbit"),
    ("param", f"devlink dev param set auxiliary/$(ls {AUX}) name enable_eth value true cmode driverinit"),
    ("reload", f"devlink dev reload auxiliary/$(ls {AUX} | grep [.]sf[.])"),
    ("deactivate", "devlink port function set $handle state inactive"),
    ("eswitch", f"devlink dev eswitch set {CARD} mode legacy"),
)


def test_the_next_one_of_each_fails_and_the_one_after_succeeds(switched: Sfsim) -> None:
    handle, _ = switched.attach(CARD, 88)
    for operation, line in FALLIBLE:
        command = f"handle={handle}; {line}"
        switched.fail_next(PCI, operation, errno.EIO)
        said = switched.refusal(command)
        assert "Error: mlx5_core: injected fault" in said, operation
        assert "Input/output error" in said, operation
        switched.machine.run(command)
    counts = switched.faults(PCI).counts()
    assert {counts[operation] for operation, _ in FALLIBLE} == {(2, 1)}


def test_what_was_asked_is_told_in_its_order(switched: Sfsim) -> None:
    faults = switched.faults(PCI)
    faults.fail_next("new", errno.EIO)
    switched.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
    handle, device = switched.attach(CARD, 88)
    switched.enable(device, "enable_eth")
    switched.set(handle, "state", "inactive")
    switched.wait(handle, "detached")
    switched.delete(handle)
    assert faults.calls() == [
        Call("new", 88, errno.EIO), Call("new", 88, 0), Call("set_mac", 88, 0), Call("activate", 88, 0),
        Call("probe", 88, 0), Call("param", 88, 0), Call("reload", 88, 0), Call("eth", 88, 0),
        Call("deactivate", 88, 0), Call("detach", 88, 0), Call("del", 88, 0),
    ]  # fmt: skip
    faults.forget()
    assert faults.calls() == []
    assert faults.counts() == {}


def test_a_slow_reload_holds_up_its_own_instance_and_no_other(switched: Sfsim) -> None:
    _, device = switched.attach(CARD, 88)
    switched.enable(device, "enable_eth")
    port = next(name for name in switched.ports("physical") if name.startswith(CARD))
    switched.faults(PCI).delay(reload=4000)
    reloading = switched.machine.spawn(["devlink", "dev", "reload", f"auxiliary/{device}"], name="reload")
    until(lambda: switched.machine.run(f"ls {AUX}").stdout, lambda names: names == f"{device}\n")
    # Not a dump of all ports: that asks each instance in turn, and waits.
    for line in (f"devlink port show {port}", "ip link", "vdpa mgmtdev show"):
        switched.machine.run(line, timeout=3)
    switched.add(CARD, 89)
    assert reloading.alive()
    reloading.wait()
    assert len(switched.machine.run(f"ls {AUX}").stdout.split()) == 2


def test_a_function_that_hangs_on_detach_stays_inactive_and_attached_until_it_lets_go(switched: Sfsim) -> None:
    handle, _ = switched.attach(CARD, 88)
    faults = switched.faults(PCI)
    faults.hang_detach(on=True)
    switched.set(handle, "state", "inactive")
    time.sleep(0.3)
    function = switched.port(handle)["function"]
    assert (function["state"], function["opstate"]) == ("inactive", "attached")
    faults.hang_detach(on=False)
    switched.wait(handle, "detached")


def test_a_hanging_function_holds_up_others_of_its_event_queue_only(switched: Sfsim) -> None:
    handles = {number: switched.add(CARD, number) for number in range(9)}
    switched.set(handles[0], "state", "active")
    switched.wait(handles[0], "attached")
    switched.faults(PCI).hang_detach(on=True)
    switched.set(handles[0], "state", "inactive")
    switched.set(handles[8], "state", "active")
    switched.set(handles[1], "state", "active")
    switched.wait(handles[1], "attached")
    assert switched.port(handles[8])["function"]["opstate"] == "detached"
    switched.faults(PCI).hang_detach(on=False)
    switched.wait(handles[8], "attached")


def test_the_module_unloads_although_a_function_hangs(switched: Sfsim) -> None:
    handle, _ = switched.attach(CARD, 88)
    switched.faults(PCI).hang_detach(on=True)
    switched.set(handle, "state", "inactive")


def test_a_request_to_let_go_that_is_lost_is_made_good_by_deleting_the_port(switched: Sfsim) -> None:
    handle, device = switched.attach(CARD, 88)
    switched.fail_next(PCI, "detach", errno.EIO)
    switched.set(handle, "state", "inactive")
    until(lambda: switched.faults(PCI).counts().get("detach"), lambda seen: seen == (1, 1))
    assert switched.port(handle)["function"]["opstate"] == "attached"
    switched.machine.run(f"test -e {AUX}/{device}/driver")
    switched.delete(handle)
    until(lambda: switched.machine.run(f"ls {AUX}").stdout, lambda names: names == "")


def test_a_function_lost_by_the_firmware_leaves_an_inactive_port_that_can_be_activated_again(switched: Sfsim) -> None:
    handle, device = switched.attach(CARD, 88)
    switched.enable(device, "enable_eth")
    switched.faults(PCI).lose(88)
    function = switched.wait(handle, "detached")["function"]
    assert function["state"] == "inactive"
    assert switched.machine.run(f"ls {AUX}").stdout == ""
    assert "No such file" in switched.refusal(f"bash -c 'echo 99 > {switched.faults(PCI).folder}/fw_lost'")
    switched.set(handle, "state", "active")
    switched.wait(handle, "attached")


def test_a_vdpa_device_can_take_its_time_to_go(switched: Sfsim) -> None:
    _, device = switched.attach(CARD, 88)
    switched.enable(device, "enable_vnet")
    switched.vdpa.add("vd0", device)
    switched.faults(PCI).delay(vdpa_del=1500)
    deleting = switched.machine.spawn(["vdpa", "dev", "del", "vd0"], name="vdpa-del")
    time.sleep(0.3)
    assert deleting.alive()
    deleting.wait()
    assert switched.vdpa.devices() == {}
