"""Pytest folders that run on the guest's kernel and are told here test by test."""

import os
from pathlib import Path

import pytest

from conftest import fresh, loaded, on_each_kernel
from harness.guest_suite import run_guest_suite
from harness.machine import SHARE, Machine
from recorded.comparison import find_differences, find_unasked
from recorded.exchanges import read_exchanges
from recorded.recording import Recording

INNER = """
import os
import pytest

def test_that_passes():
    assert os.environ["SUBFUNCTION_TEST_KERNEL"] == "real"
    assert os.uname().release.endswith("-amd64")

@pytest.mark.parametrize("number", [1, 2])
def test_of_two(number):
    assert number == 1, "two is not one"

@pytest.fixture
def broken():
    raise OSError("no such device today")

def test_that_cannot_start(broken):
    pass

async def test_that_is_asynchronous():
    pass
"""


def write(machine: Machine, name: str, text: str) -> str:
    folder = machine.place.share / name
    folder.mkdir()
    (folder / f"test_{name}.py").write_text(text)
    return f"/run/share/{name}"


def test_every_inner_test_comes_back_by_name_with_its_own_text(machine: Machine) -> None:
    tests = run_guest_suite(machine, write(machine, "inner", INNER), {"SUBFUNCTION_TEST_KERNEL": "real"})
    outcomes = {test.name.partition("::")[2]: test.outcome for test in tests}
    assert outcomes == {
        "test_that_passes": "passed",
        "test_of_two[1]": "passed",
        "test_of_two[2]": "failed",
        "test_that_cannot_start": "error",
        "test_that_is_asynchronous": "passed",
    }
    texts = {test.outcome: test.text for test in tests}
    assert "two is not one" in texts["failed"]
    assert "no such device today" in texts["error"]


def test_a_folder_without_tests_is_told_from_one_whose_tests_pass(machine: Machine) -> None:
    assert run_guest_suite(machine, write(machine, "empty", "")) == []


def test_the_project_is_imported_from_the_checkout_not_from_the_image(machine: Machine) -> None:
    code = "import subfunction, subfunction_operator as o; print(subfunction.__file__, o.__file__)"
    expected = "/src/core/subfunction/__init__.py /src/operator/subfunction_operator/__init__.py\n"
    assert machine.python(code).stdout == expected
    assert machine.run(["python", "-c", code]).stdout == expected


def test_what_the_guest_writes_to_the_share_is_on_the_host(machine: Machine) -> None:
    machine.run("echo hello > /run/share/greeting")
    assert Path(machine.place.share / "greeting").read_text() == "hello\n"


CONTRACT = "tests/contract"


RECORDINGS = Path(__file__).parents[1] / "recordings"


def hold(machine: Machine, kind: str, subtests: pytest.Subtests) -> None:
    exchanges = machine.place.share / "exchanges.jsonl"
    exchanges.unlink(missing_ok=True)
    environment = {
        "SUBFUNCTION_TEST_KERNEL": "real",
        "SUBFUNCTION_TEST_MACHINE": kind,
        "SUBFUNCTION_RECORD": f"{SHARE}/{exchanges.name}",
    }
    tests = run_guest_suite(machine, CONTRACT, environment)
    assert tests, f"{CONTRACT}: no inner test ran"
    for test in tests:
        with subtests.test(test.name):
            if test.outcome != "passed":
                pytest.fail(f"{test.outcome} in the guest:\n{test.text}", pytrace=False)


@pytest.mark.ground("real mlx5")
@on_each_kernel
def test_the_kernel_contract_holds_on_the_real_mlx5_driver(
    mlx5_machine: Machine, request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    series = request.node.callspec.params["mlx5_machine"]
    with fresh(mlx5_machine):
        hold(mlx5_machine, f"mlx5 {series}", subtests)
    seen = Recording.of(read_exchanges(mlx5_machine.place.share / "exchanges.jsonl"))
    file = RECORDINGS / f"mlx5-linux-{series}.json"
    if os.environ.get("SUBFUNCTION_WRITE_RECORDINGS"):
        seen.save(file)
    kept = Recording.load(file)
    assert find_differences(seen, kept) + find_unasked(seen, kept) == [], "`make recordings` writes it anew"


@pytest.mark.ground("sfsim ice")
def test_the_kernel_contract_holds_for_ice(machine: Machine, subtests: pytest.Subtests) -> None:
    with loaded(machine, switchdev=1, personality="ice"):
        hold(machine, "ice", subtests)


@pytest.mark.ground("sfsim mlx5")
def test_the_kernel_contract_holds_for_mediated_devices(machine: Machine, subtests: pytest.Subtests) -> None:
    with loaded(machine, switchdev=1, mdev=1):
        hold(machine, "mdev", subtests)


@pytest.mark.ground("sfsim mlx5")
def test_the_kernel_contract_holds_for_virtual_functions(iommu_machine: Machine, subtests: pytest.Subtests) -> None:
    with loaded(iommu_machine, switchdev=1):
        hold(iommu_machine, "vf", subtests)
