"""A reload of a sub-function that fails under the real mlx5 driver: what is shown, and how it is healed."""

from collections.abc import Iterator

import pytest

from harness.firmware import Status
from harness.machine import Machine
from harness.mlx5 import Mlx5
from harness.nic import AUX
from harness.snapshot import build_snapshot
from harness.topology import MLX5
from harness.wait import until

pytestmark = pytest.mark.ground("real mlx5")

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"
WARNED = "net/devlink/core.c:477 devlink_free+"
"""mlx5_core leaves a health reporter behind, and devlink warns of it when the function is removed."""


@pytest.fixture
def warned() -> Iterator[Machine]:
    """A machine of its own, whose kernel goes on after a warning; it may be `WARNED`, once."""
    with build_snapshot(MLX5).restore() as machine:
        machine.run("echo 0 > /proc/sys/kernel/panic_on_warn")
        yield machine
        machine.console.check(allowed=WARNED)


def contents(mlx5: Mlx5, device: str) -> list[str]:
    return mlx5.machine.run(f"ls {AUX}/{device}").stdout.split()


def reload_fails(mlx5: Mlx5, handle: str, device: str) -> None:
    """Let a reload fail at the firmware, and look at what is shown afterwards."""
    mlx5.faults(PCI).fail_next("INIT_HCA", Status.BAD_SYSTEM_STATE, owner=88)
    assert mlx5.refusal(f"devlink dev reload auxiliary/{device}") == "kernel answers: Input/output error\n"
    assert "reload_failed true" in mlx5.machine.run(f"devlink -v dev show auxiliary/{device}").stdout
    function = mlx5.port(handle)["function"]
    assert (function["state"], function["opstate"]) == ("active", "detached")
    assert list(function["nested_devlink"]) == [f"auxiliary/{device}"]
    assert "net" not in contents(mlx5, device)


def test_a_failed_reload_is_shown_and_the_next_one_heals(mlx5: Mlx5) -> None:
    handle, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_eth")
    reload_fails(mlx5, handle, device)
    mlx5.enable(device)
    assert "reload_failed true" not in mlx5.machine.run(f"devlink -v dev show auxiliary/{device}").stdout
    assert mlx5.port(handle)["function"]["opstate"] == "attached"
    assert "net" in contents(mlx5, device)


def test_a_slow_reload_holds_up_its_own_instance_and_no_other(mlx5: Mlx5) -> None:
    handle, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_eth")
    mlx5.faults(PCI).slow("INIT_HCA", 8000, owner=88)
    reloading = mlx5.machine.spawn(["devlink", "dev", "reload", f"auxiliary/{device}"], name="reload")
    until(lambda: contents(mlx5, device), lambda names: "net" not in names)
    # Not a dump of all ports: that asks each instance in turn, and waits.
    for line in (f"devlink port show {handle}", "ip link", "vdpa mgmtdev show"):
        mlx5.machine.run(line, timeout=4)
    mlx5.add(CARD, 89)
    assert reloading.alive()
    reloading.wait(20)
    assert "net" in contents(mlx5, device)


def test_where_the_very_first_reload_fails_the_next_one_heals_and_the_kernel_warns_at_the_removal(
    warned: Machine,
) -> None:
    mlx5 = Mlx5(warned)
    mlx5.reset()
    handle, device = mlx5.attach(CARD, 88)
    reload_fails(mlx5, handle, device)
    mlx5.enable(device, "enable_eth")
    assert "net" in contents(mlx5, device)
    assert WARNED not in warned.console.tail(1000)
    mlx5.empty()
    assert warned.console.tail(1000).count(WARNED) == 1
