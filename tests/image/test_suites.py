"""Tests of the project, run in the image: they meet the installed wheel, and no checkout of what it is made of."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.image.build import CHECKOUT
from tests.image.container import NOBODY, Containers

ENOUGH = 500
"""Tests; so that a folder that was moved is noticed."""
NOT_THERE = ("tests/deviceplugin/test_process.py", "tests/deviceplugin/test_stubs.py")
"""One makes namespaces around the program, which runc has made here (`test_programs.py`); one is about the checkout."""


@pytest.fixture(scope="module")
def tools(containers: Containers) -> Iterator[Path]:
    """pytest and what it needs, in the locked versions, for the image's Python."""
    assert importlib.util.find_spec("pytest_asyncio")
    asked = [f"{name}=={version(name)}" for name in ("pytest", "pytest-asyncio", "hypothesis")]
    python = containers.run("python3", "-c", "import platform; print(platform.python_version())").stdout.strip()
    with tempfile.TemporaryDirectory(prefix="sfi-tools-") as folder:
        uv = [f"{Path(sys.executable).parent}/uv", "pip", "install", "--quiet", "--only-binary", ":all:"]
        subprocess.run([*uv, "--python-version", python, "--target", folder, *asked], check=True, timeout=120)
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_core_and_device_plugin_pass_in_the_image(containers: Containers, tools: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="sfi-") as folder:
        os.chown(folder, NOBODY, NOBODY)
        results = Path(folder, "results.xml")
        places = {"PYTHONPATH": tools, "TMPDIR": folder, "HYPOTHESIS_STORAGE_DIRECTORY": f"{folder}/hypothesis"}
        line = containers.line(
            "suites",
            ["python3", "-m", "pytest", "tests/core", "tests/deviceplugin", *(f"--ignore={path}" for path in NOT_THERE),
             "-q", f"--junitxml={results}", f"--basetemp={folder}/tmp"],
            writes=(Path(folder),),
            reads=(tools, CHECKOUT / "tests", CHECKOUT / "pyproject.toml"),
            environment=[f"{name}={value}" for name, value in places.items()],
            user=NOBODY,
            working=str(CHECKOUT),
        )  # fmt: skip
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=600, check=False)
        finally:
            containers.remove("suites")
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr
        (suite,) = ET.parse(results).getroot().iter("testsuite")
        assert int(suite.attrib["tests"]) > ENOUGH
        assert int(suite.attrib["skipped"]) == 0
