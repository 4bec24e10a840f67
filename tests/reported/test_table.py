"""The table of README.md is complete: each fault that still fails stands in it, and all that it names is there."""

import ast
import functools
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
COLUMNS: Final = ("report", "case", "script", "test or note", "issue")
NAMED: Final = re.compile(r"`([\w/.-]+\.py)::(\w+)`")
NOTE: Final = re.compile(r"docs/decisions/[\w.-]+\.md")
OPEN: Final = re.compile(r"\bopen, issue [A-Z]\b")
REASON: Final = re.compile(r"issue ([A-Z]): \S")
RANKED: Final = frozenset({*range(1, 13), 14, *range(16, 21)})
"""The numbers that security-and-reliability gives its faults."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Row(NamedTuple):
    """One row: which case of which report, and what became of its script."""

    report: str
    case: str
    script: str
    answer: str
    issue: str

    @property
    def tests(self) -> list[tuple[Path, str]]:
        """The files and functions that it names."""
        return [((ROOT if "/" in file else HERE) / file, test) for file, test in NAMED.findall(self.answer)]


class Mark(NamedTuple):
    """An `xfail` of a test, as it is written."""

    path: Path
    test: str
    call: ast.Call | None
    """None where it has no arguments at all."""

    def __str__(self) -> str:
        return f"{self.path.name}::{self.test}"

    def argument(self, name: str) -> ast.expr | None:
        return next((each.value for each in self.call.keywords if each.arg == name), None) if self.call else None

    @property
    def says_all(self) -> bool:
        """Whether it is strict, and names an error and, at the beginning of one literal, an issue."""
        strict = self.argument("strict")
        is_strict = isinstance(strict, ast.Constant) and strict.value is True
        return is_strict and self.argument("raises") is not None and self.issue is not None

    @property
    def issue(self) -> str | None:
        """The letter of the issue that its reason begins with."""
        reason = self.argument("reason")
        text = reason.value if isinstance(reason, ast.Constant) else None
        found = REASON.match(text) if isinstance(text, str) else None
        return found[1] if found else None


def cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


@functools.cache
def rows() -> tuple[Row, ...]:
    lines = (HERE / "README.md").read_text(encoding="utf-8").splitlines()
    head, _, *found = (cells(line) for line in lines if line.startswith("|"))
    assert head == COLUMNS
    assert {len(each) for each in found} == {len(COLUMNS)}
    return tuple(Row(*each) for each in found)


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> dict[str, Function]:
    return {each.name: each for each in ast.walk(tree(path)) if isinstance(each, Function)}


def marks_below(path: Path, test: str, place: ast.AST, known: dict[str, list[Mark]]) -> Iterator[Mark]:
    """Find the marks in a piece of code, also those that it has by a name of its module."""
    called = {id(each.func): each for each in ast.walk(place) if isinstance(each, ast.Call)}
    for each in ast.walk(place):
        if isinstance(each, ast.Attribute) and each.attr == "xfail":
            yield Mark(path, test, called.get(id(each)))
        elif isinstance(each, ast.Name):
            yield from (mark._replace(test=test) for mark in known.get(each.id, ()))


def marks_of(path: Path) -> Iterator[Mark]:
    """Find the marks of a module's tests: in decorators, in parameters, in names that stand for either, or on all."""
    known: dict[str, list[Mark]] = {}
    for each in tree(path).body:
        match each:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                known[name] = list(marks_below(path, "", value, known))
            case ast.FunctionDef(name=name) if not name.startswith("test_"):
                known[name] = list(marks_below(path, "", each, known))
    for name, function in functions(path).items():
        if name.startswith("test_"):
            yield from (mark._replace(test=name) for mark in known.get("pytestmark", ()))
            for decorator in function.decorator_list:
                yield from marks_below(path, name, decorator, known)


MODULES: Final = tuple(sorted(HERE.glob("test_*.py")))
MARKS: Final = tuple(itertools.chain.from_iterable(marks_of(path) for path in MODULES))


def test_each_test_that_fails_today_stands_in_the_table() -> None:
    told = {test for row in rows() for test in row.tests}
    assert sorted({str(mark) for mark in MARKS if (mark.path, mark.test) not in told}) == []


def test_each_test_that_the_table_names_exists() -> None:
    named = sorted({test for row in rows() for test in row.tests})
    missing = [
        f"{path.relative_to(ROOT)}::{test}" for path, test in named if not path.is_file() or test not in functions(path)
    ]
    assert missing == []


def test_each_row_has_a_test_or_a_note_or_an_issue_that_it_is_open_in() -> None:
    unanswered = [row for row in rows() if not (row.tests or NOTE.search(row.answer) or OPEN.search(row.answer))]
    missing = [note for row in rows() for note in NOTE.findall(row.answer) if not (ROOT / note).is_file()]
    assert (unanswered, missing) == ([], [])


def test_each_mark_is_strict_and_says_by_what_it_fails_and_who_mends_it() -> None:
    assert sorted({str(mark) for mark in MARKS if not mark.says_all}) == []


def test_a_row_has_the_issues_of_its_tests() -> None:
    other = [
        (row.case, str(mark), mark.issue)
        for row in rows()
        for mark in MARKS
        if (mark.path, mark.test) in row.tests and mark.issue not in re.findall(r"\b[A-Z]\b", row.issue)
    ]
    assert other == []


def test_no_test_calls_itself_an_expected_failure_while_it_runs() -> None:
    inside = [
        f"{path.name}::{name}"
        for path in MODULES
        for name, function in functions(path).items()
        for statement in function.body
        for each in ast.walk(statement)
        if isinstance(each, ast.Call) and ast.unparse(each.func) in {"pytest.xfail", "pytest.skip"}
    ]
    assert inside == []


def test_every_ranked_fault_of_the_security_report_has_a_row() -> None:
    cases = [row.case.partition(":")[0] for row in rows() if row.report == "security-and-reliability"]
    assert {int(each) for each in cases} == RANKED
