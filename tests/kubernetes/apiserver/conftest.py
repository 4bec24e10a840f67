"""A real API server, and a folder for an agent before it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import under_test
from components.controlplane import ControlPlane


@pytest.fixture
def plane() -> ControlPlane:
    """The control plane of this process, emptied."""
    plane = under_test.plane()
    under_test.empty(plane)
    return plane


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path, for a socket's name is at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="op") as folder:
        yield Path(folder)
