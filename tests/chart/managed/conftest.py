"""A cluster with its real controllers and scheduler; of its nodes, only what is below the kubelet is played."""

from collections.abc import Iterator

import pytest

from components.managed import Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of its own for the tests of one file, without a node; each begins where the one before it ended."""
    with Cluster.running() as cluster:
        yield cluster
