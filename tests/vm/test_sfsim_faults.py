"""What can be made to go wrong with a sub-function of ice, and what is told of what was asked."""

import errno
from collections.abc import Iterator

import pytest

from conftest import loaded
from harness.faults import Call
from harness.machine import Machine
from harness.sfsim import AUX, Sfsim

pytestmark = pytest.mark.ground("sfsim ice")

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"


@pytest.fixture
def ice(machine: Machine) -> Iterator[Sfsim]:
    with loaded(machine, switchdev=1, personality="ice") as sfsim:
        yield sfsim


def test_what_was_asked_is_told_in_its_order(ice: Sfsim) -> None:
    faults = ice.faults(PCI)
    faults.fail_next("new", errno.EIO)
    ice.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
    handle, _ = ice.attach(CARD, 88)
    ice.set(handle, "state", "inactive")
    ice.delete(handle)
    assert faults.calls() == [
        Call("new", 88, errno.EIO), Call("new", 88, 0), Call("set_mac", 88, 0), Call("activate", 88, 0),
        Call("probe", 88, 0), Call("deactivate", 88, 0), Call("detach", 88, 0), Call("del", 88, 0),
    ]  # fmt: skip
    assert faults.counts()["new"] == (2, 1)
    faults.forget()
    assert faults.calls() == []
    assert faults.counts() == {}


def test_a_failed_probe_leaves_the_port_active_and_detached(ice: Sfsim) -> None:
    ice.fail_next(PCI, "probe", errno.EIO)
    handle = ice.add(CARD, 88)
    ice.set(handle, "state", "active")
    function = ice.port(handle)["function"]
    assert (function["state"], function["opstate"]) == ("active", "detached")
    assert "driver" not in ice.machine.run(f"ls {AUX}/*").stdout.split()
    ice.set(handle, "state", "inactive")
    ice.set(handle, "state", "active")
    assert ice.port(handle)["function"]["opstate"] == "attached"


def test_a_function_lost_by_the_firmware_leaves_an_inactive_port_that_can_be_activated_again(ice: Sfsim) -> None:
    handle, _ = ice.attach(CARD, 88)
    ice.faults(PCI).lose(88)
    function = ice.wait(handle, "detached")["function"]
    assert function["state"] == "inactive"
    assert ice.functions() == []
    assert "No such file" in ice.refusal(f"bash -c 'echo 99 > {ice.faults(PCI).folder}/fw_lost'")
    ice.set(handle, "state", "active")
    ice.wait(handle, "attached")


def test_nonsense_is_no_fault(ice: Sfsim) -> None:
    for line in ("teleport 5 1", "new 0 1", "new", "new -5 1"):
        assert ice.machine.run(f"echo {line} > {ice.faults(PCI).folder}/fail_next", check=False).code == 1


def test_a_full_card_has_no_memory(machine: Machine) -> None:
    with loaded(machine, switchdev=1, personality="ice", max_sfs=2) as ice:
        handles = [ice.attach(CARD, number)[0] for number in (10, 20)]
        assert "Cannot allocate memory" in ice.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 30")
        ice.delete(handles[0])
        ice.add(CARD, 30)
