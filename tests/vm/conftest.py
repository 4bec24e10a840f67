"""Machines for tests: one saved state per session, a fresh machine per module, the kernel's complaints as failures."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.machine import Machine
from harness.sfsim import Sfsim
from harness.snapshot import Snapshot, build_snapshot
from harness.topology import IOMMU

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.vm)


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    """What machines are restored from; made if it is not in the cache (half a minute, a minute with downloads)."""
    return build_snapshot()


@pytest.fixture(scope="module")
def machine(snapshot: Snapshot) -> Iterator[Machine]:
    """A machine of the module's own; sfsim is at hand, not loaded."""
    with snapshot.restore() as machine:
        yield machine
        machine.console.check()


@pytest.fixture(scope="module")
def iommu_machine() -> Iterator[Machine]:
    """A machine of the second kind: with an IOMMU, and a card that has virtual functions (0000:41:00.0)."""
    with build_snapshot(IOMMU).restore() as machine:
        yield machine
        machine.console.check()


@contextmanager
def loaded(machine: Machine, **parameters: int | str) -> Iterator[Sfsim]:
    """The NIC, loaded; that it can be unloaded from whatever state a test left it in is part of every test."""
    sfsim = Sfsim(machine)
    sfsim.load(**parameters)
    yield sfsim
    sfsim.unload()
    machine.console.check()


@pytest.fixture
def sfsim(machine: Machine) -> Iterator[Sfsim]:
    """The simulated NIC, loaded anew for each test, in legacy mode as hardware comes up."""
    with loaded(machine) as sfsim:
        yield sfsim


@pytest.fixture
def switched(machine: Machine) -> Iterator[Sfsim]:
    """The simulated NIC, loaded anew for each test, in switchdev mode."""
    with loaded(machine, switchdev=1) as sfsim:
        yield sfsim
