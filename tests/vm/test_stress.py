"""Twelve processes at once on three PFs, then the module unloaded: no warning, no hang, nothing left."""

import json

import pytest

from harness.machine import Machine
from harness.sfsim import Sfsim, until

pytestmark = pytest.mark.ground("sfsim mlx5")

SECONDS = 4
MLX5 = {"upheavals", "reload", "unbind", "bind", "vdpa_add", "vdpa_del", "held", "rate", "create", "remove"}


@pytest.mark.parametrize(
    ("personality", "light", "expected"),
    [("mlx5", 1, MLX5), ("mlx5", 0, MLX5), ("ice", 1, {"upheavals", "unbind", "bind", "create", "remove"})],
)
def test_random_lives_on_every_card_leave_a_silent_and_empty_kernel(
    machine: Machine, personality: str, light: int, expected: set[str]
) -> None:
    sfsim = Sfsim(machine)
    machine.run("if [ -e /sys/module/sfsim ]; then rmmod sfsim; fi")
    before = machine.run("ls /sys/class/net /sys/bus/auxiliary/devices").stdout
    sfsim.load(switchdev=1, max_sfs=6, light=light, personality=personality, mdev=1)
    cards = machine.topology.addresses()
    sfsim.delay(cards[0], attach_ms=5, detach_ms=5)
    sfsim.delay(cards[1], detach_ms=20)
    loaded = machine.run("ls /sys/class/net /sys/bus/auxiliary/devices").stdout

    driver = "ice" if personality == "ice" else "mlx5_core"
    done = machine.run(
        ["python", "/src/tests/vm/programs/stress.py", f"--seconds={SECONDS}", f"--driver={driver}", *cards],
        timeout=SECONDS + 120,
        check=False,
    )

    assert done.code == 0, f"{done.stderr}{machine.console.tail(20)}"
    counts = json.loads(done.stdout)
    assert counts["lives"] > 20
    assert expected <= counts.keys(), counts
    for handle in sfsim.ports("pcisf"):
        sfsim.delete(handle)
    until(
        lambda: len(machine.run("ls /sys/class/net /sys/bus/auxiliary/devices").stdout.split()),
        lambda names: names == len(loaded.split()),
    )
    # The dead are forgotten too: every place is free again.
    for number in range(100, 106):
        sfsim.set(sfsim.add(f"pci/{cards[2]}", number), "state", "active")
    sfsim.unload()
    assert machine.run("ls /sys/class/net /sys/bus/auxiliary/devices").stdout == before
    assert machine.run("ls /sys/bus/vdpa/devices /sys/bus/mdev/devices; devlink dev show").stdout.split() == [
        "/sys/bus/mdev/devices:", "/sys/bus/vdpa/devices:",
    ]  # fmt: skip
    machine.console.check()
