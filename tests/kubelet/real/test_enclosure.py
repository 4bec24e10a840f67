"""Whatever becomes of a run, its processes end, and the next run removes what they could not."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.wait import until
from worker.cgroups import PREFIX, Cgroups, hierarchies
from worker.enclosure import enclosed

RUN = """\
import signal, sys
from harness.process import Guarded
from worker.enclosure import enclosed
# Whoever started the tests in the background has us ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
with enclosed() as enclosure:
    # As containerd's shims are: in a session of its own, and nobody's child.
    command = enclosure.command("/bin/sh", "-c", "setsid sleep 4711 & mount -t tmpfs none /mnt; exec sleep 4711")
    program = Guarded(command, enclosure.run / "log")
    print(enclosure.run, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen([sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}) as process:  # fmt: skip
        yield process  # whose end of its input, here, ends it


def test_told_to_stop_a_run_leaves_no_process_no_mount_no_cgroup_and_no_folder(run: "subprocess.Popen[str]") -> None:
    folder = started(run)
    run.send_signal(signal.SIGINT)
    run.wait(30)
    assert processes(run.pid) == set()
    assert not folder.exists()
    assert cgroups(run.pid) == []
    assert "/mnt" not in Path("/proc/self/mounts").read_text().replace("/mnt/", "")


def test_of_a_killed_run_no_process_is_left_and_the_next_one_removes_the_rest(run: "subprocess.Popen[str]") -> None:
    folder = started(run)
    run.kill()
    run.wait(30)
    until(lambda: processes(run.pid), lambda left: not left, 20)
    assert folder.exists()
    with enclosed():
        assert not folder.exists()
        assert cgroups(run.pid) == []


def test_a_run_beside_another_leaves_it_alone(run: "subprocess.Popen[str]") -> None:
    folder = started(run)
    with enclosed() as mine:
        assert mine.run != folder
        assert folder.exists()
        assert len(processes(run.pid)) >= 4


def test_what_a_kubelet_sets_for_its_host_stays_inside() -> None:
    names = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")
    files = [Path("/proc/sys") / name for name in names]
    before = [file.read_text() for file in files]
    with enclosed() as enclosure:
        words = enclosure.command(
            "/bin/sh", "-c", "for file; do echo 3 >$file; cat $file; done", "set", *map(str, files)
        )
        said = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout
    assert said.split() == ["3"] * len(files)
    assert [file.read_text() for file in files] == before


def started(run: "subprocess.Popen[str]") -> Path:
    assert run.stdout is not None
    folder = Path(run.stdout.readline().strip())
    # The first process and its sleep, the shell's sleep and the one that left its session.
    until(lambda: processes(run.pid), lambda found: len(found) >= 4, 20)
    return folder


def cgroups(pid: int) -> list[Path]:
    return [point / f"{PREFIX}{pid}" for point in hierarchies() if (point / f"{PREFIX}{pid}").exists()]


def processes(pid: int) -> set[str]:
    return Cgroups(tuple(cgroups(pid))).processes()
