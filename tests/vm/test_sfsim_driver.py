"""Attached or not is what the sub-function's own driver says; and faults on demand."""

import errno

import pytest

from harness.sfsim import AUX, Operation, Sfsim, until

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"


def test_an_unbound_driver_leaves_the_port_active_and_detached(switched: Sfsim) -> None:
    handle, device = switched.attach(CARD, 88)
    driver = "/sys/bus/auxiliary/drivers/mlx5_core.sf"
    switched.machine.run(f"echo {device} > {driver}/unbind")
    function = switched.wait(handle, "detached")["function"]
    assert function["state"] == "active"
    switched.machine.run(f"test -e {AUX}/{device}; echo {device} > {driver}/bind")
    assert switched.wait(handle, "attached")["function"]["state"] == "active"


def test_a_driver_unbound_during_the_teardown_completes_it(switched: Sfsim) -> None:
    switched.delay(PCI, detach_ms=60_000)
    handle, device = switched.attach(CARD, 88)
    switched.set(handle, "state", "inactive")
    assert switched.port(handle)["function"]["opstate"] == "attached"
    switched.machine.run(f"echo {device} > /sys/bus/auxiliary/drivers/mlx5_core.sf/unbind")
    switched.wait(handle, "detached")
    assert switched.machine.run(f"ls {AUX}").stdout == ""


def test_a_failed_probe_leaves_the_port_active_and_detached(switched: Sfsim) -> None:
    switched.fail_next(PCI, "probe", errno.EIO)
    handle = switched.add(CARD, 88)
    switched.set(handle, "state", "active")
    switched.machine.run(f"timeout 5 sh -c 'until ls {AUX}/*/sfnum; do sleep 0.05; done'")
    function = switched.port(handle)["function"]
    assert (function["state"], function["opstate"]) == ("active", "detached")
    assert "nested_devlink" not in function
    assert "driver" not in switched.machine.run(f"ls {AUX}/*").stdout.split()
    switched.set(handle, "state", "inactive")
    switched.wait(handle, "detached")
    switched.set(handle, "state", "active")
    switched.wait(handle, "attached")


def test_activation_takes_its_time_and_shows_meanwhile_active_and_detached(switched: Sfsim) -> None:
    switched.delay(PCI, attach_ms=700)
    handle = switched.add(CARD, 88)
    switched.set(handle, "state", "active")
    function = switched.port(handle)["function"]
    assert (function["state"], function["opstate"]) == ("active", "detached")
    switched.wait(handle, "attached")


def test_while_it_is_tearing_down_it_cannot_be_activated(switched: Sfsim) -> None:
    handle, _ = switched.attach(CARD, 88)
    switched.delay(PCI, detach_ms=60_000)
    switched.set(handle, "state", "inactive")
    function = switched.port(handle)["function"]
    assert (function["state"], function["opstate"]) == ("inactive", "attached")
    said = switched.refusal(f"devlink port function set {handle} state active")
    assert "Error: mlx5_core: SF is inactivated but it is still attached" in said
    assert "Device or resource busy" in said


def test_a_deleted_active_number_is_free_again_only_when_its_driver_has_let_go(switched: Sfsim) -> None:
    handle, _ = switched.attach(CARD, 88)
    switched.delay(PCI, detach_ms=1500)
    switched.delete(handle)
    assert switched.ports("pcisf") == {}
    said = switched.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
    assert "File exists" in said
    again = f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88"
    until(lambda: switched.machine.run(again, check=False).code, lambda code: code == 0)
    assert switched.machine.run(f"ls {AUX}").stdout == ""


def test_the_running_function_keeps_the_address_it_came_up_with(switched: Sfsim) -> None:
    handle, device = switched.attach(CARD, 88)
    switched.set(handle, "hw_addr", "00:00:00:00:99:99")
    assert switched.port(handle)["function"]["hw_addr"] == "00:00:00:00:99:99"
    switched.enable(device, "enable_eth")
    assert switched.machine.run(f"cat {AUX}/{device}/net/*/address").stdout == "00:00:00:00:88:88\n"


@pytest.mark.parametrize(
    ("operation", "command"),
    [
        ("new", f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 89"),
        ("set_mac", "devlink port function set $handle hw_addr 00:00:00:00:00:02"),
        ("activate", "devlink port function set $handle state active"),
        ("del", "devlink port del $handle"),
    ],
)
def test_the_next_two_operations_fail_and_the_third_succeeds(
    switched: Sfsim, operation: Operation, command: str
) -> None:
    command = f"handle={switched.add(CARD, 88)}; {command}"
    switched.fail_next(PCI, operation, errno.EIO, 2)
    for _ in range(2):
        said = switched.refusal(command)
        assert "Error: mlx5_core: injected fault" in said
        assert "Input/output error" in said
    switched.machine.run(command)


def test_a_failed_reload_is_shown_and_the_next_one_heals(switched: Sfsim) -> None:
    _, device = switched.attach(CARD, 88)
    switched.fail_next(PCI, "reload", errno.ETIMEDOUT)
    assert "injected fault" in switched.refusal(f"devlink dev reload auxiliary/{device}")
    assert "reload_failed true" in switched.machine.run(f"devlink -v dev show auxiliary/{device}").stdout
    switched.enable(device, "enable_eth")
    assert "reload_failed true" not in switched.machine.run(f"devlink -v dev show auxiliary/{device}").stdout


def test_nonsense_is_no_fault(switched: Sfsim) -> None:
    for line in ("teleport 5 1", "new 0 1", "new", "new -5 1"):
        assert switched.machine.run(f"echo {line} > /sys/kernel/debug/sfsim/{PCI}/fail_next", check=False).code == 1
