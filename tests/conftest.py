"""What every folder of tests has: a place for each test; at the end, no control plane is left running."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.folder import folder


@pytest.fixture(scope="session", autouse=True)
def _no_control_plane_is_left() -> Iterator[None]:
    yield
    # Only where a test asked for it: the folders that run in the VM have no such thing.
    if (under_test := sys.modules.get("components.under_test")) is not None:
        under_test.end()


@pytest.fixture
def root() -> Iterator[Path]:
    with folder() as path:
        yield Path(path)
