"""The real Helm and kubectl before a real API server that has nothing of ours yet."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.controlplane import ControlPlane
from components.helm import NAMESPACE, Helm
from subfunction_simulator.kubectl import kubectl


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A control plane of its own for the tests of one file."""
    with ControlPlane() as plane:
        plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        yield plane


@pytest.fixture(scope="module")
def kubeconfig(plane: ControlPlane) -> Path:
    path = plane.folder / "kubeconfig"
    path.write_text(plane.kubeconfig())
    return path


@pytest.fixture(scope="module")
def helm(plane: ControlPlane, kubeconfig: Path) -> Helm:
    return Helm(plane.folder, kubeconfig)


@pytest.fixture(scope="module")
def apply(plane: ControlPlane, kubeconfig: Path) -> Callable[..., str]:
    """`kubectl WORDS`, with what is piped into it; gives what it prints."""

    def run(*words: str, given: str = "") -> str:
        command = [str(kubectl()), "--kubeconfig", str(kubeconfig), *words]
        environment = {"HOME": str(plane.folder)}
        done = subprocess.run(
            command, env=environment, input=given, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def sub_function() -> Any:
    """One that waits for nothing but its agent."""
    return {
        "apiVersion": "subfunction.dev/v1alpha1",
        "kind": "SubFunction",
        "metadata": {"name": "blue"},
        "spec": {"nodeName": "worker-1", "flavour": "mlx5", "parent": {"device": "pci/0000:03:00.0"}},
    }
