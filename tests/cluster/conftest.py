"""The cluster of all tests, as each of them finds it: three nodes, one controller, no pod and no sub-function."""

from collections.abc import Iterator

import pytest

from whole.cluster import WholeCluster, whole_cluster


@pytest.fixture(scope="session")
def started() -> Iterator[WholeCluster]:
    with whole_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(started: WholeCluster) -> Iterator[WholeCluster]:
    yield started
    started.clear()
