"""Pytest folders that run on the guest's kernel and are told here test by test."""

from pathlib import Path

import pytest

from harness.guest_suite import run_guest_suite
from harness.machine import Machine
from harness.sfsim import Sfsim

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


@pytest.mark.parametrize("folder", ["tests/contract"])
def test_the_kernel_contract_holds_on_the_real_kernel(switched: Sfsim, folder: str, subtests: pytest.Subtests) -> None:
    tests = run_guest_suite(switched.machine, folder, {"SUBFUNCTION_TEST_KERNEL": "real"})
    assert tests, f"{folder}: no inner test ran"
    for test in tests:
        with subtests.test(test.name):
            if test.outcome != "passed":
                pytest.fail(f"{test.outcome} in the guest:\n{test.text}", pytrace=False)
