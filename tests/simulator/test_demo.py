"""`make demo` as a person runs it: a process, its output, and what it leaves behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


class Demo:
    """A demo under way; its files are below a folder of its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "subfunction_simulator", "demo", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TMPDIR": str(folder), "HOME": "/nonexistent"},
        )

    def read_until(self, words: str) -> str:
        assert self.process.stdout is not None
        seen = ""
        for line in self.process.stdout:
            seen += line
            if words in line:
                return seen
        raise AssertionError(f"{words!r} was not said: {seen}")

    def end(self, timeout: float = 60) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=timeout)
        return self.process.returncode, said

    def list_left(self) -> list[str]:
        """Give what is left: files below its folder, and processes that were told of it."""
        processes = [
            entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal() and self._is_of(entry / "cmdline")
        ]
        return [*processes, *(path.name for path in self.folder.iterdir())]

    def _is_of(self, cmdline: Path) -> bool:
        try:
            return str(self.folder).encode() in cmdline.read_bytes()
        except OSError:
            return False


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short: a Unix socket's path has 107 characters at most.
    path = Path(f"/tmp/sf-{os.getpid()}-{time.monotonic_ns() % 1_000_000}")
    path.mkdir()
    yield path
    assert list(path.iterdir()) == []
    path.rmdir()


def test_the_whole_story_is_told_in_its_order_and_nothing_is_left(folder: Path) -> None:
    demo = Demo(folder)
    code, said = demo.end()
    assert code == 0, said
    beats = [
        "a simulated NIC",
        "kubectl apply -f examples/01-native-nic/subfunction.yaml",
        "subfunction/blue created",
        "inactive detached",
        "active detached",
        "on auxiliary/mlx5_core.sf.",
        "is Ready as mlx5_core.sf.",
        "subfunction.dev/mlx5: 2 allocatable",
        'The SubFunction "wrong" is invalid',
        "flavour is one of mlx5, ice, virtio, vfio",
        "pod/worker is Running",
        "PCIDEVICE_SUBFUNCTION_DEV_MLX5=mlx5_core.sf.",
        "SUBFUNCTION_UID=",
        "/dev/infiniband/uverbs",
        "READY",
        "kubectl get sfnode",
        "PARENTS   SUBFUNCTIONS",
        '3         256            ["mlx5"',
        "# while the pod has it",
        "pod default/worker holds mlx5_core.sf.",
        "its device is given back",
        "is deleted",
        "is gone",
        "subfunction.dev/mlx5: 0 allocatable",
        "no sub-function is left",
    ]
    at = 0
    for beat in beats:
        found = said.find(beat, at)
        assert found >= 0, f"{beat!r} is not told after its forerunner:\n{said}"
        at = found
    # The agent and the kubelet tell of the pod each in its own time.
    applied, deleted = (said.index(each) for each in ("kubectl apply -f examples/01-native-nic/pod", "delete sf blue"))
    assert applied < said.index("is held by pod default/worker") < deleted
    assert demo.list_left() == []


def test_a_port_in_use_is_said_in_one_sentence(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        demo = Demo(folder, "--port", str(port))
        code, said = demo.end()
    assert code == 1
    assert str(port) in said.splitlines()[-1]
    assert "Traceback" not in said
    assert demo.list_left() == []


def test_examples_that_are_not_there_are_named(folder: Path) -> None:
    code, said = Demo(folder, "--examples", "/nowhere").end()
    assert (code, "Traceback" in said) == (1, False)
    assert "/nowhere" in said
    assert "--examples DIR" in said


def test_it_stays_up_when_asked_and_ctrl_c_ends_it_at_once_and_leaves_nothing(folder: Path) -> None:
    demo = Demo(folder, "--keep")
    said = demo.read_until("export KUBECONFIG=")
    kubeconfig = Path(said.rpartition("export KUBECONFIG=")[2].strip())
    assert kubeconfig.is_file()
    demo.process.send_signal(signal.SIGINT)
    code, rest = demo.end(timeout=15)
    assert (code, "Traceback" in rest) == (0, False), rest
    assert demo.list_left() == []
