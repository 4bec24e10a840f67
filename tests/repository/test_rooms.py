"""The house rules that no linter knows: how large a module and a folder may be, and what a package says of itself."""

import ast
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("core", "operator", "deviceplugin")
SOURCE_ROOTS = (*PRODUCT, "simulator")
MOST_LINES = 300
MOST_MODULES = 15
LONG = {ROOT / "core/subfunction/errors.py"}
"""The error tree is one page: a reader compares its leaves."""
UNPLAIN = ("somebody", "nobody", "whoever", "whom")


def modules(*roots: str) -> Iterator[Path]:
    for root in roots:
        for path in (ROOT / root).rglob("*.py"):
            if "_pb2" not in path.stem:
                yield path


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_module_is_longer_than_a_reader_bears() -> None:
    long = {str(path.relative_to(ROOT)): lines(path) for path in modules(*SOURCE_ROOTS) if lines(path) > MOST_LINES}
    assert long.keys() == {str(path.relative_to(ROOT)) for path in LONG}


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_the_median_module_is_a_page_or_two(root: str) -> None:
    sizes = [lines(path) for path in modules(root) if path.name != "__init__.py"]
    assert 60 <= statistics.median(sizes) <= 150


def test_no_folder_has_more_modules_than_a_reader_can_hold() -> None:
    counts = Counter(path.parent for path in modules(*SOURCE_ROOTS) if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


@pytest.mark.parametrize("path", sorted(modules(*PRODUCT)), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_says_what_lives_there_what_it_imports_and_where_to_begin(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    if path.name == "__init__.py" and path.parent.name not in {"uapi", "kubelet"}:
        assert " imports " in docstring
        assert "Begin with `" in docstring


@pytest.mark.parametrize("path", sorted(modules(*PRODUCT)), ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_speak_of_programs_pods_and_people_by_name(path: Path) -> None:
    words = {word.strip(".,;:()`'\"").lower() for word in path.read_text(encoding="utf-8").split()}
    assert words.isdisjoint(UNPLAIN)
