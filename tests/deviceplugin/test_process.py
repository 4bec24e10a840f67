"""The program as a process: how it starts, what it says, and how it goes."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.deviceplugin.conftest import Node

from rig.confinement import RUNTIME, Confinement
from rig.waiting import eventually
from subfunction.errors import FolderError
from subfunction_deviceplugin.__main__ import app
from subfunction_deviceplugin.node_state import NodeStateReader
from subfunction_deviceplugin.settings import Settings

FORBIDDEN = ("kopf", "aiohttp", "kubernetes", "pyroute2")


class Program:
    """The plugin, started over a node's folders, and confined as in a cluster."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.running: list[subprocess.Popen[str]] = []
        self.log = node.root / "log"

    def start(self, *flags: str, may_register: bool = True, **environment: str) -> "subprocess.Popen[str]":
        root = self.node.root
        folders = {
            "SUBFUNCTION_RECORDS": root / "devices",
            "SUBFUNCTION_LEDGER": root / "allocations",
            "SUBFUNCTION_STATE": root / "state",
            "SUBFUNCTION_SYSFS": root / "sys",
            "SUBFUNCTION_BOOT_ID": root / "boot_id",
            "SUBFUNCTION_KUBELET_ROOT": root,
            "SUBFUNCTION_KUBELET_FOLDER": root / "device-plugins",
        }
        sockets = root / "device-plugins"
        confinement = Confinement(
            reads=(
                *(() if may_register else (sockets,)),
                root / "devices",
                root / "state",
                root / "sys",
                root / "boot_id",
            ),
            writes=(root / "allocations", *((sockets,) if may_register else ())),
        )
        for folder in (*confinement.reads[:-1], *confinement.writes):
            folder.mkdir(exist_ok=True)
        variables = os.environ | {key: str(path) for key, path in folders.items()} | environment
        with self.log.open("w") as log:
            command = confinement.command(sys.executable, "-m", "subfunction_deviceplugin", *flags)
            process = subprocess.Popen(command, env=variables, stderr=log, stdout=log, text=True)
        self.running.append(process)
        return process

    async def end(self, process: "subprocess.Popen[str]", number: int) -> int:
        process.send_signal(number)
        return await asyncio.to_thread(process.wait, 10)

    def sockets(self) -> list[Path]:
        return list((self.node.root / "device-plugins").glob("subfunction-*.sock"))


@pytest.fixture
async def program(node: Node) -> AsyncIterator[Program]:
    program = Program(node)
    yield program
    for process in program.running:
        process.kill()
        await asyncio.to_thread(process.wait, 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_it_is_told_to_stop_and_leaves_no_socket(
    node: Node, program: Program, number: signal.Signals
) -> None:
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    process = program.start()
    await node.allocatable(1)
    assert await program.end(process, number) == 0
    assert program.sockets() == []
    await node.allocatable(0, of=1)
    said = program.log.read_text()
    [first] = [line for line in said.splitlines() if f"subfunction-device-plugin {version('subfunction')}: " in line]
    assert f" kubelet-folder={node.root / 'device-plugins'} " in first
    assert " allocate-deadline=20.0 " in first
    assert "Traceback" not in said


def network(process: Path) -> Path:
    return (process / "ns/net").readlink()


async def test_all_it_can_reach_is_what_it_reads_two_folders_and_the_kubelet(node: Node, program: Program) -> None:
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    process = program.start()
    await node.allocatable(1)
    own = Path("/proc", str(process.pid))
    status = dict(line.split(":\t", 1) for line in (own / "status").read_text().splitlines())
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    mounts = [line.split() for line in (own / "mountinfo").read_text().splitlines()]
    writable = {place for _, _, _, _, place, options, *_ in mounts if "rw" in options.split(",")}
    devices = {"/dev/null", "/dev/urandom"}
    assert writable == {str(node.root / "allocations"), str(node.root / "device-plugins"), *devices}
    readable = {place for _, _, _, _, place, *_ in mounts} - writable
    of_the_node = {str(node.root / name) for name in ("devices", "state", "sys", "boot_id")}
    assert readable == {"/", *map(str, RUNTIME), *of_the_node}
    assert network(own) != network(Path("/proc/self"))
    interfaces = [line.split(":")[0].strip() for line in (own / "net/dev").read_text().splitlines()[2:]]
    assert interfaces == ["lo"]


ASK = """
import fcntl, socket, struct, sys, urllib.request
with socket.socket() as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP: a pod's is up
for path in ("livez", "readyz", "metrics"):
    print(urllib.request.urlopen(f"http://127.0.0.1:9342/{path}", timeout=10).read().decode())
"""
"""Asked in the program's own network, where a kubelet comes by the pod's address."""


async def test_confined_it_serves_its_figures_on_the_pods_own_network(node: Node, program: Program) -> None:
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    process = program.start("--listen", ":9342")
    await node.allocatable(1)
    enter = ["nsenter", "--target", str(process.pid), "--net"]
    if os.geteuid() != 0:
        enter += ["--user", "--preserve-credentials"]
    command = [*enter, sys.executable, "-c", ASK]
    told = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr + program.log.read_text()
    assert told.stdout.startswith("live\n\nready\n\n")
    assert 'subfunction_devices{health="Healthy",resource="subfunction.dev/mlx5"} 1.0' in told.stdout


async def test_killed_it_is_back_with_its_promises_and_without_its_dead_socket(node: Node, program: Program) -> None:
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    process = program.start()
    await node.allocatable(1)
    pod, first = await node.run()
    await program.end(process, signal.SIGKILL)
    await node.allocatable(0, of=1)
    [dead] = program.sockets()
    program.start()
    await node.allocatable(1)
    assert not dead.exists()
    assert node.agent.promised().keys() == {"uid-a"}
    assert await node.kubelet.start_container(pod.uid, "app") == first


async def test_told_to_stop_while_it_waits_for_the_kubelet_it_stops(node: Node, program: Program) -> None:
    node.agent.device("a", "mlx5_core.sf.4")
    process = program.start("--log-format", "json")
    await eventually(lambda: "waiting for the kubelet" in program.log.read_text(), "it waits")
    assert await program.end(process, signal.SIGTERM) == 0
    assert all(line.startswith("{") for line in program.log.read_text().splitlines())


async def test_as_json_every_line_is_an_object_whatever_happens_to_the_kubelet(node: Node, program: Program) -> None:
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    process = program.start("--log-format", "json")
    await node.allocatable(1)
    [ours] = program.sockets()
    for nonsense in (b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(ours))
            stranger.sendall(nonsense)
    await node.kubelet.stop()
    await eventually(lambda: "waiting for the kubelet" in program.log.read_text(), "it misses the kubelet")
    assert await program.end(process, signal.SIGTERM) == 0
    assert {json.loads(line)["level"] for line in program.log.read_text().splitlines()} == {"info", "warning"}


async def test_where_it_may_not_listen_it_says_why_as_json_too(node: Node, program: Program) -> None:
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    process = program.start("--log-format", "json", may_register=False)
    await eventually(lambda: "cannot listen" in program.log.read_text(), "it tries")
    assert await program.end(process, signal.SIGTERM) == 0
    lines = [json.loads(line) for line in program.log.read_text().splitlines()]
    [said, *_] = [line["message"] for line in lines if "cannot listen" in line["message"]]
    assert ".sock: Read-only file system. See `ls -ld " in said
    assert "GRPC_VERBOSITY" not in said


def test_a_warning_and_a_fault_nobody_catches_are_json_too() -> None:
    code = "import warnings; from subfunction.process import log; log.configure_logging('info', 'json')"
    code += "; warnings.warn('old'); raise ValueError('new')"
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    warned, died = (json.loads(line) for line in ended.stderr.splitlines())
    assert (warned["level"], died["level"]) == ("warning", "critical")
    assert "UserWarning: old" in warned["message"]
    assert "ValueError: new" in died["exception"]


async def test_a_folder_that_cannot_be_watched_is_told_in_a_sentence_and_ends_it(program: Program) -> None:
    process = program.start("--records", f"/{'x' * 300}")
    assert await asyncio.to_thread(process.wait, 10) == 1
    said = program.log.read_text()
    assert "cannot watch" in said
    assert "File name too long" in said
    assert "Traceback" not in said


def test_it_imports_no_client_of_the_api_server_and_nothing_of_the_kernels() -> None:
    code = "import sys, subfunction_deviceplugin.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "grpc" in loaded
    assert {name.partition(".")[0] for name in loaded}.isdisjoint(FORBIDDEN)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--coalesce", "soon"], "soon"),
        (["--coalesc", "1"], "Did you mean"),
        (["--log-level", "loud"], "loud"),
        (["--stream-wait", "0"], "stream-wait"),
    ],
)
def test_a_wrong_setting_is_refused_with_a_sentence_that_helps(
    flags: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        app(flags)
    assert stopped.value.code != 0
    said = capsys.readouterr()
    assert complaint in said.out + said.err


def test_without_this_boots_id_it_says_so_and_does_not_start(root: Path) -> None:
    with pytest.raises(FolderError, match=str(root / "none")):
        NodeStateReader.of(Settings(boot_id=root / "none"))
