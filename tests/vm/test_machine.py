"""What the harness promises: answers with their deadline, faults that are seen, nothing that stays behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.errors import CommandFailed, KernelFault, MachineDied
from harness.machine import HOST, Machine
from harness.sfsim import Sfsim, until
from harness.snapshot import Snapshot


def test_a_command_answers_with_its_code_and_both_outputs(machine: Machine) -> None:
    result = machine.run("echo out; echo err >&2; exit 3", check=False)
    assert (result.code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    with pytest.raises(CommandFailed, match="ended with 3"):
        machine.run("exit 3")


def test_a_command_that_does_not_exist_is_told(machine: Machine) -> None:
    assert "nosuch: No such file or directory" in machine.run(["nosuch"], check=False).stderr


def test_a_command_past_its_deadline_is_killed_with_its_children(machine: Machine) -> None:
    result = machine.run("sleep 4321 & sleep 4321", timeout=0.3, check=False)
    assert result.late
    assert machine.run("ps | grep -c '[s]leep 4321'", check=False).stdout == "0\n"
    spared = machine.spawn("sleep 4322")
    assert machine.run("ps | grep -c '[s]leep 4322'").stdout != "0\n"
    spared.signal(signal.SIGKILL)


def test_requests_do_not_wait_for_each_other(machine: Machine) -> None:
    slow = threading.Thread(target=machine.run, args=("until [ -e /tmp/go ]; do sleep 0.02; done",))
    slow.start()
    machine.run("touch /tmp/go")
    slow.join(timeout=20)
    assert not slow.is_alive()


def test_python_code_prints_fails_and_exits_as_python_does(machine: Machine) -> None:
    assert machine.python("import sys; print(sys.argv)", args=["one"]).stdout == "['-c', 'one']\n"
    assert "ZeroDivisionError" in machine.python("1 / 0", check=False).stderr
    assert machine.python("raise SystemExit(7)", check=False).code == 7


def test_a_background_process_writes_its_log_to_the_host_and_can_be_killed(machine: Machine) -> None:
    process = machine.spawn("echo started; exec sleep 1000", name="sleeper")
    until(process.log.read_text, lambda text: text == "started\n")
    assert process.alive()
    process.signal(signal.SIGKILL)
    process.wait()


def test_a_process_that_was_only_just_started_is_alive(machine: Machine) -> None:
    busy = machine.spawn("while :; do :; done & while :; do :; done")
    started = []
    for _ in range(20):
        started.append(machine.spawn(module="timeit", args=["-n", "1", "-r", "1", "import time; time.sleep(1000)"]))
        assert started[-1].alive()
    for process in (busy, *started):
        process.signal(signal.SIGKILL)
        process.wait()


def test_a_port_of_the_guest_is_reached_from_the_host(machine: Machine) -> None:
    machine.spawn(["nc", "-l", "-p", "5000", "-e", "cat"], name="nc")
    port = machine.forward(5000)
    until(lambda: machine.run("netstat -ltn").stdout, lambda text: ":5000 " in text)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"hello\n")
        assert connection.recv(100) == b"hello\n"


def test_the_guest_reaches_a_server_of_the_host(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        machine.spawn(f"echo hello | nc {HOST} {server.getsockname()[1]}")
        connection, _ = server.accept()
        with connection:
            assert connection.recv(100) == b"hello\n"


def test_the_clock_is_the_hosts(machine: Machine) -> None:
    assert abs(float(machine.run(["date", "+%s"]).stdout) - time.time()) < 60


def test_two_machines_of_one_snapshot_draw_different_addresses(machine: Machine, snapshot: Snapshot) -> None:
    with snapshot.restore() as other:
        addresses = set[str]()
        for each in (machine, other):
            Sfsim(each).load(personality="ice")
            addresses |= set(each.run("cat /sys/class/net/eth[123]/address").stdout.split())
        assert len(addresses) == 6


def test_an_oops_ends_the_machine_and_is_quoted(snapshot: Snapshot) -> None:
    with snapshot.restore() as machine:
        with pytest.raises(MachineDied, match="Kernel panic"):
            machine.run("echo c > /proc/sysrq-trigger")
        with pytest.raises(KernelFault, match="sysrq"):
            machine.console.check()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_harness_that_is_ended_leaves_no_machine_behind(snapshot: Snapshot, number: signal.Signals) -> None:
    assert snapshot.state.exists()
    code = (
        # Whoever is started in the background of a shell has SIGINT ignored, and Python then leaves it so.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from harness.snapshot import build_snapshot\n"
        "with build_snapshot().restore() as machine:\n"
        "    print(machine._qemu.pid, flush=True)\n"
        "    machine.run('sleep 1000', timeout=1000)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as harness:
        assert harness.stdout is not None
        try:
            qemu = Path("/proc", harness.stdout.readline().decode().strip())
            assert qemu.exists()
            harness.send_signal(number)
            harness.wait(timeout=20)
        finally:
            harness.kill()
    until(qemu.exists, lambda there: not there)
