"""A real API server, emptied for each test."""

import pytest

from components import under_test
from components.controlplane import ControlPlane


@pytest.fixture
def plane() -> ControlPlane:
    """The control plane of this process, emptied."""
    plane = under_test.plane()
    under_test.empty(plane)
    return plane
