"""The repository guards its own shape: what no linter sees."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("core", "operator", "deviceplugin", "simulator")


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_a_source_root_is_never_a_package(root: str) -> None:
    # With operator/__init__.py every `python -m` started here would die importing the standard library's `operator`.
    assert not (ROOT / root / "__init__.py").exists()


def test_the_standard_library_is_not_shadowed_when_started_from_the_repository() -> None:
    code = "import operator, collections; print(operator.__name__, operator.add(1, 2))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["operator", "3"]


def test_no_package_stands_under_tests() -> None:
    assert [str(path) for path in (ROOT / "tests").rglob("__init__.py")] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    named = [path for root in SOURCE_ROOTS for path in (ROOT / root).rglob("*.py") if path.stem in empty]
    assert named == []


def test_no_exception_is_swallowed_in_silence() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for root in SOURCE_ROOTS
        for path in (ROOT / root).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and [type(each) for each in node.body] == [ast.Pass]
    ]
    assert silent == []
