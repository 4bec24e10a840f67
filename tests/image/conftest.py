"""The image, built once for a run of tests, and containers of it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.image.build import Built, build
from tests.image.container import Containers


@pytest.fixture(scope="session")
def image() -> Iterator[Built]:
    built = build()
    yield built
    built.remove()


@pytest.fixture(scope="session")
def containers(image: Built) -> Iterator[Containers]:
    with tempfile.TemporaryDirectory(prefix="sfi-") as folder:
        containers = Containers(image, Path(folder))
        yield containers
        containers.remove_all()
