"""Attached or not is what the sub-function's own driver says: the real mlx5 driver, slow, refused, taken away."""

import time

import pytest

from harness.firmware import Opcode, Status
from harness.holder import held
from harness.mlx5 import Mlx5
from harness.nic import AUX
from harness.wait import until

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"
SF_DRIVER = "/sys/bus/auxiliary/drivers/mlx5_core.sf"
ADD = f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum"


def test_an_unbound_driver_leaves_the_port_active_and_detached(mlx5: Mlx5) -> None:
    handle, device = mlx5.attach(CARD, 88)
    mlx5.machine.run(f"echo {device} > {SF_DRIVER}/unbind")
    function = mlx5.wait(handle, "detached")["function"]
    assert function["state"] == "active"
    mlx5.machine.run(f"test -e {AUX}/{device}; echo {device} > {SF_DRIVER}/bind")
    assert mlx5.wait(handle, "attached")["function"]["state"] == "active"


def test_a_failed_probe_leaves_the_port_active_and_detached(mlx5: Mlx5) -> None:
    handle = mlx5.add(CARD, 88)
    mlx5.faults(PCI).fail_next("SET_ISSI", Status.BAD_SYSTEM_STATE, owner=88)
    mlx5.set(handle, "state", "active")
    (device,) = until(mlx5.functions, bool)
    until(lambda: mlx5.faults(PCI).counts().get("SET_ISSI", (0, 0)), lambda counts: counts[1] == 1)
    until(lambda: mlx5.port(handle)["function"], lambda function: "nested_devlink" not in function)
    function = mlx5.port(handle)["function"]
    assert (function["state"], function["opstate"]) == ("active", "detached")
    assert "driver" not in mlx5.machine.run(f"ls {AUX}/{device}").stdout.split()
    mlx5.set(handle, "state", "inactive")
    mlx5.wait(handle, "detached")
    mlx5.set(handle, "state", "active")
    mlx5.wait(handle, "attached")


def test_activation_takes_its_time_and_shows_meanwhile_active_and_detached(mlx5: Mlx5) -> None:
    mlx5.faults(PCI).delay(attach=1500)
    handle = mlx5.add(CARD, 88)
    mlx5.set(handle, "state", "active")
    function = mlx5.port(handle)["function"]
    assert (function["state"], function["opstate"]) == ("active", "detached")
    mlx5.wait(handle, "attached")


def test_while_it_is_tearing_down_it_cannot_be_activated(mlx5: Mlx5) -> None:
    handle, _ = mlx5.attach(CARD, 88)
    mlx5.faults(PCI).hang_detach(on=True)
    mlx5.set(handle, "state", "inactive")
    function = mlx5.port(handle)["function"]
    assert (function["state"], function["opstate"]) == ("inactive", "attached")
    said = mlx5.refusal(f"devlink port function set {handle} state active")
    assert "Error: mlx5_core: SF is inactivated but it is still attached" in said
    assert "Device or resource busy" in said
    mlx5.faults(PCI).hang_detach(on=False)
    mlx5.wait(handle, "detached")
    mlx5.set(handle, "state", "active")
    mlx5.wait(handle, "attached")


def test_a_deleted_active_number_is_free_again_only_when_its_driver_has_let_go(mlx5: Mlx5) -> None:
    handle, _ = mlx5.attach(CARD, 88)
    mlx5.faults(PCI).delay(detach=1500)
    mlx5.delete(handle)
    assert mlx5.ports("pcisf") == {}
    assert "File exists" in mlx5.refusal(f"{ADD} 88")
    until(lambda: mlx5.machine.run(f"{ADD} 88", check=False).code, lambda code: code == 0)
    assert mlx5.functions() == []


def test_a_hanging_function_holds_up_others_whose_slot_is_equal_modulo_eight_only(mlx5: Mlx5) -> None:
    handles = [mlx5.add(CARD, number) for number in range(100, 109)]
    mlx5.set(handles[0], "state", "active")
    mlx5.wait(handles[0], "attached")
    device = mlx5.nested(handles[0])
    mlx5.enable(device, "enable_vnet")
    mlx5.vdpa.add("vd0", device)
    with held(mlx5.machine, mlx5.vdpa.node("vd0")):
        mlx5.set(handles[0], "state", "inactive")
        mlx5.set(handles[8], "state", "active")
        mlx5.set(handles[1], "state", "active")
        mlx5.wait(handles[1], "attached")
        assert mlx5.port(handles[8])["function"]["opstate"] == "detached"
    mlx5.wait(handles[8], "attached")


def test_the_running_function_keeps_the_address_it_came_up_with(mlx5: Mlx5) -> None:
    handle, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_eth")
    mlx5.set(handle, "hw_addr", "00:00:00:00:99:99")
    assert mlx5.port(handle)["function"]["hw_addr"] == "00:00:00:00:99:99"
    assert mlx5.machine.run(f"cat {AUX}/{device}/net/*/address").stdout == "00:00:00:00:88:88\n"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (Status.INTERNAL_ERROR, "Input/output error"),
        (Status.BAD_PARAMETER, "Invalid argument"),
        (Status.BAD_SYSTEM_STATE, "Input/output error"),
        (Status.BAD_RESOURCE, "Invalid argument"),
        (Status.EXCEEDED_LIMITS, "Cannot allocate memory"),
        (Status.BAD_RESOURCE_STATE, "Invalid argument"),
        (Status.NO_RESOURCES, "Resource temporarily unavailable"),
    ],
)
def test_what_the_firmware_refuses_is_told_by_its_errno_alone(mlx5: Mlx5, status: Status, text: str) -> None:
    mlx5.faults(PCI).fail_next("ALLOC_SF", status)
    assert mlx5.refusal(f"{ADD} 88") == f"kernel answers: {text}\n"
    mlx5.add(CARD, 88)


STEPS: tuple[tuple[Opcode, str], ...] = (
    ("ALLOC_SF", f"{ADD} 89"),
    ("MODIFY_VHCA_STATE", f"{ADD} 90"),
    ("ENABLE_HCA", "devlink port function set $handle state active"),
    ("SET_HCA_CAP", "devlink port function set $handle roce disable"),
    ("CREATE_SCHEDULING_ELEMENT", "devlink port function rate set $handle tx_max 10mbit"),
)


@pytest.mark.parametrize(("opcode", "command"), STEPS, ids=[opcode for opcode, _ in STEPS])
def test_two_requests_fail_with_the_firmware_and_the_third_succeeds(mlx5: Mlx5, opcode: Opcode, command: str) -> None:
    handle = mlx5.add(CARD, 88)
    command = f"handle={handle}; {command}"
    mlx5.faults(PCI).fail_next(opcode, Status.INTERNAL_ERROR, 2)
    for _ in range(2):
        assert "Input/output error" in mlx5.refusal(command)
    mlx5.machine.run(command)
    if opcode == "ENABLE_HCA":
        mlx5.wait(handle, "attached")


def test_a_slow_activation_keeps_no_other_port_waiting(mlx5: Mlx5) -> None:
    handle, other = mlx5.add(CARD, 88), mlx5.add("pci/0000:81:00.0", 89)
    mlx5.faults(PCI).slow("ENABLE_HCA", 3000)
    activating = mlx5.machine.spawn(["devlink", "port", "function", "set", handle, "state", "active"], name="activate")
    started = time.monotonic()
    mlx5.set(other, "state", "active")
    assert time.monotonic() - started < 2
    assert activating.alive()
    activating.wait()
    mlx5.wait(handle, "attached")
    mlx5.wait(other, "attached")


def test_a_function_that_the_firmware_takes_away_leaves_a_port_that_says_attached(mlx5: Mlx5) -> None:
    handle, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_eth")
    mlx5.faults(PCI).lose(88)
    until(mlx5.functions, lambda names: names == [])
    until(lambda: mlx5.port(handle)["function"], lambda function: "nested_devlink" not in function)
    function = mlx5.port(handle)["function"]
    assert (function["state"], function["opstate"]) == ("active", "attached")
    mlx5.set(handle, "state", "active")
    assert mlx5.functions() == []
    mlx5.delete(handle)
    mlx5.attach(CARD, 88)


def test_of_a_function_that_there_is_not_the_firmware_takes_nothing(mlx5: Mlx5) -> None:
    assert "No such file" in mlx5.refusal(f"bash -c 'echo 99 > {mlx5.faults(PCI).folder}/fw_lost'")


def test_nonsense_is_no_fault(mlx5: Mlx5) -> None:
    folder = mlx5.faults(PCI).folder
    for line in ("TELEPORT 4 1", "ALLOC_SF 0 1", "ALLOC_SF", "ALLOC_SF -4 1", "ALLOC_SF 4 1 everybody"):
        assert mlx5.machine.run(f"echo {line} > {folder}/fail_next", check=False).code == 1, line
    assert mlx5.machine.run(f"cat {folder}/fail_next {folder}/slow").stdout == ""
