"""Each function that `docs/how-it-works.md` names exists: the page sends no reader to a file without it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-it-works.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w./-]+\.py)::([\w.]+)`", PAGE)))


def functions(body: list[ast.stmt], owner: str = "") -> Iterator[str]:
    """Yield the functions of a module or class: a method as `Class.method`, and also by its plain name."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from functions(node.body, f"{owner}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from {f"{owner}{node.name}", node.name}


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda part: part)
def test_each_function_that_the_page_names_exists(path: str, name: str) -> None:
    module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in set(functions(module.body))


def test_each_step_of_a_chain_names_a_function() -> None:
    steps = re.findall(r"^\d+\. .*", PAGE, flags=re.MULTILINE)
    assert [step for step in steps if not re.match(r"\d+\. `[\w./-]+\.py::[\w.]+` ", step)] == []


def test_the_page_names_no_line_numbers() -> None:
    assert re.findall(r"\.py:\d+", PAGE) == []


def test_each_question_has_a_chain() -> None:
    sections = PAGE.split("\n## ")[1:]
    assert [section.splitlines()[0] for section in sections if "\n3. " not in section] == []
