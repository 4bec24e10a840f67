"""A node for each test."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import hypothesis
import pytest

from rig.cluster import Cluster
from rig.world import World
from subfunction_simulator.kernel import Parent, Topology

# The quick run is the same each time; `--hypothesis-profile=deep` is for a person who looks for trouble.
hypothesis.settings.register_profile("quick", max_examples=12, derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=300, database=None, deadline=None)
hypothesis.settings.load_profile("quick")


CARDS: Final = {
    "mlx5": None,
    "ice": Topology(
        parents=(
            Parent(bdf="0000:03:00.0", netdev="ens1f0np0", driver="ice"),
            Parent(bdf="0000:82:00.0", netdev="ens2f0np0", driver="ice", numa_node=1),
        )
    ),
}
"""The cards of the node on which a sub-function's life is lived."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let each test of the shared world pass for both drivers; what only mlx5 has is marked so."""
    if "driver" in metafunc.fixturenames:
        of_mlx5 = metafunc.definition.get_closest_marker("mlx5") is not None
        metafunc.parametrize("driver", ["mlx5"] if of_mlx5 else ["mlx5", "ice"])


@pytest.fixture
def world(root: Path, driver: str) -> World:
    return World(root, CARDS[driver], flavour=driver)


@pytest.fixture
async def node(root: Path) -> AsyncIterator[Cluster]:
    """A node with everything, the agent not yet started."""
    async with Cluster(root) as made:
        yield made


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that vouches for itself, with its key."""
    folder = tmp_path_factory.mktemp("pair")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return folder
