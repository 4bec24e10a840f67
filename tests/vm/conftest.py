"""Machines for tests: one saved state per session, a fresh machine per module, the kernel's complaints as failures."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.kernels import KERNELS, LINUX_6_12, LINUX_7_3
from harness.machine import Machine
from harness.mlx5 import Mlx5, Mode
from harness.sfsim import Sfsim
from harness.snapshot import Snapshot, build_snapshot
from harness.topology import IOMMU, MLX5

HERE = Path(__file__).parent


GROUNDS = ("real mlx5", "sfsim ice", "sfsim mlx5", "no NIC")
"""What a test stands on; sfsim under mlx5's name is for what is listed in sfsim/README.md."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.vm)
            item.add_marker(_ground_of(item))


def _ground_of(item: pytest.Item) -> str:
    """Name the ground of a test: as it is marked, or that of its machine."""
    mark = item.get_closest_marker("ground")
    if mark is not None:
        return str(mark.args[0]).replace(" ", "_")
    return "real_mlx5" if "mlx5_machine" in getattr(item, "fixturenames", ()) else "no_NIC"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line a ground what passed there; a subtest counts as a test."""
    reports = {outcome: terminalreporter.getreports(outcome) for outcome in ("passed", "failed", "error")}
    for ground in GROUNDS:
        counts = {
            outcome: sum(ground.replace(" ", "_") in getattr(report, "keywords", {}) for report in found)
            for outcome, found in reports.items()
        }
        if any(counts.values()):
            wrong = "".join(
                f", {count} {outcome}" for outcome, count in counts.items() if count and outcome != "passed"
            )
            terminalreporter.write_line(f"{ground}: {counts['passed']} passed{wrong}")


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


on_each_kernel = pytest.mark.parametrize("mlx5_machine", KERNELS, indirect=True)
"""Runs a test on the real mlx5 drivers of each kernel."""

on_7_3 = pytest.mark.parametrize("mlx5_machine", [LINUX_7_3.series], indirect=True)
"""Runs a test on the real mlx5 drivers of Linux 7.3 only."""


@pytest.fixture(scope="module")
def mlx5_machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine with the real mlx5 drivers loaded, over mlx5fw; its physical functions are in legacy mode.

    Of Linux 6.12, if the test does not say otherwise.
    """
    with build_snapshot(MLX5, KERNELS[getattr(request, "param", LINUX_6_12.series)]).restore() as machine:
        yield machine
        machine.console.check()


@contextmanager
def fresh(machine: Machine, mode: Mode = "switchdev") -> Iterator[Mlx5]:
    """The real mlx5 without sub-functions or faults; that whatever a test left can be removed is part of every test."""
    mlx5 = Mlx5(machine)
    mlx5.reset(mode)
    yield mlx5
    mlx5.empty()
    machine.console.check()


@pytest.fixture
def mlx5(mlx5_machine: Machine) -> Iterator[Mlx5]:
    """The real mlx5, in switchdev mode, without sub-functions."""
    with fresh(mlx5_machine) as mlx5:
        yield mlx5


@pytest.fixture
def mlx5_legacy(mlx5_machine: Machine) -> Iterator[Mlx5]:
    """The real mlx5, in legacy mode as hardware comes up."""
    with fresh(mlx5_machine, "legacy") as mlx5:
        yield mlx5


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
