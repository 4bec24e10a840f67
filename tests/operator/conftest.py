"""A folder in memory for each test, and a node in it."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

from rig.cluster import Cluster
from rig.world import World

# The quick run is the same each time; `--hypothesis-profile=deep` is for a person who looks for trouble.
hypothesis.settings.register_profile("quick", max_examples=12, derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=300, database=None, deadline=None)
hypothesis.settings.load_profile("quick")


@pytest.fixture
def root() -> Iterator[Path]:
    # In memory where there is such a place, since every record is fsynced; short, for a socket's path.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="op", dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def world(root: Path) -> World:
    return World(root)


@pytest.fixture
async def node(root: Path) -> AsyncIterator[Cluster]:
    """A node with everything, the agent not yet started."""
    async with Cluster(root) as made:
        yield made
