"""Twelve processes at once on three PFs, then the module unloaded: no warning, no hang, nothing left."""

import json

import pytest

from harness.machine import Machine
from harness.sfsim import Sfsim, until

SECONDS = 6


@pytest.mark.parametrize("light", [1, 0])
def test_random_lives_on_every_card_leave_a_silent_and_empty_kernel(machine: Machine, light: int) -> None:
    sfsim = Sfsim(machine)
    sfsim.load(switchdev=1, max_sfs=6, light=light)
    cards = machine.topology.addresses()
    sfsim.delay(cards[0], attach_ms=5, detach_ms=5)
    sfsim.delay(cards[1], detach_ms=20)
    before = machine.run("ls /sys/class/net /sys/bus/auxiliary/devices").stdout

    done = machine.run(
        ["python", "/src/tests/vm/programs/stress.py", f"--seconds={SECONDS}", *cards],
        timeout=SECONDS + 60,
        check=False,
    )

    assert done.code == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["lives"] > 20
    assert {"upheavals", "reload", "unbind", "bind"} <= counts.keys(), counts
    for handle in sfsim.ports("pcisf"):
        sfsim.delete(handle)
    until(
        lambda: len(machine.run("ls /sys/class/net /sys/bus/auxiliary/devices").stdout.split()),
        lambda names: names == len(before.split()),
    )
    # The dead are forgotten too: every place is free again.
    for number in range(100, 106):
        sfsim.add(f"pci/{cards[2]}", number)
    sfsim.unload()
    assert machine.run("ls /sys/bus/auxiliary/devices; devlink dev show").stdout == ""
    machine.console.check()
