"""Whose seconds count while a test waits."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from rig import patience
from rig.patience import Patience, delays


class Machine:
    """A clock, and how long each thread has waited for a CPU."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waited = {"1": 5.0}

    def passes(self, seconds: float, **waited: float) -> None:
        self.now += seconds
        for thread, more in waited.items():
            name = thread.removeprefix("of_")
            self.waited[name] = self.waited.get(name, 0.0) + more


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(time, "monotonic", lambda: machine.now)
    monkeypatch.setattr(patience, "delays", lambda: dict(machine.waited))
    return machine


def test_programs_that_sleep_spend_it_by_the_clock(machine: Machine) -> None:
    waiting = Patience(40)
    machine.passes(39)
    assert not waiting.spent()
    machine.passes(1)
    assert waiting.spent()
    assert waiting.told() == "40.0 s, 0.0 of them without a CPU"


def test_what_a_thread_waits_for_a_cpu_does_not_count(machine: Machine) -> None:
    waiting = Patience(40)
    machine.passes(100, of_1=10, of_2=90)
    assert not waiting.spent()
    machine.passes(29)
    assert not waiting.spent()
    machine.passes(1)
    assert waiting.spent()
    assert waiting.told() == "130.0 s, 90.0 of them without a CPU"


def test_no_more_is_let_off_than_passed_however_many_wait(machine: Machine) -> None:
    waiting = Patience(40)
    machine.passes(50, of_1=40, of_2=500)
    assert not waiting.spent()
    machine.passes(40)
    assert waiting.spent()


def test_on_a_machine_that_gives_no_cpu_at_all_it_ends_as_well(machine: Machine) -> None:
    waiting = Patience(40)
    machine.passes(319, of_1=319)
    assert not waiting.spent()
    machine.passes(1, of_1=1)
    assert waiting.spent()


def test_a_process_its_child_and_a_child_of_that_are_looked_at() -> None:
    command = "sleep 60 & echo $!; wait"
    with subprocess.Popen(["/bin/sh", "-c", command], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        grandchild = child.stdout.readline().strip()
        try:
            found = delays()
        finally:
            os.kill(int(grandchild), 9)
            child.kill()
    assert {str(os.getpid()), str(child.pid), grandchild} <= found.keys()
    assert all(seconds >= 0 for seconds in found.values())


def test_a_child_that_has_ended_when_its_turn_comes_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of children named it, and its folder is gone: /proc, as CI met it on a busy machine."""
    thread = tmp_path / "self/task/1"
    thread.mkdir(parents=True)
    (thread / "schedstat").write_text("1 2000000000 3\n")
    (thread / "children").write_text("16340 ")
    monkeypatch.setattr(patience, "_PROC", tmp_path)
    assert delays() == {"1": 2.0}


def test_one_that_could_not_run_for_a_while_has_waited() -> None:
    """Two that would run, on one CPU."""
    one = min(os.sched_getaffinity(0))
    spin = ["taskset", "-c", str(one), "/bin/sh", "-c", "while :; do :; done"]
    before = delays()
    with subprocess.Popen(spin) as first, subprocess.Popen(spin) as second:
        try:
            while not any(delays().get(str(each.pid), 0.0) > 0.05 for each in (first, second)):
                assert first.poll() is second.poll() is None
        finally:
            first.kill()
            second.kill()
    assert not {str(first.pid), str(second.pid)} & before.keys()
