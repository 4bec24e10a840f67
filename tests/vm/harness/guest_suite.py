"""A pytest folder run inside the machine, on its kernel; each inner test comes back by name."""

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from harness.errors import HarnessError
from harness.machine import SHARE, SOURCES, Machine

Outcome = Literal["passed", "failed", "error", "skipped"]

PYTEST_ANSWERED = (0, 1, 5)
"""All passed, some failed, none found. Other exit codes mean that pytest itself did not get through."""

PLUGINS = ("pytest_asyncio.plugin",)
"""Loaded by name: for each plugin found by itself, pytest would compile its whole package anew (20 s in TCG)."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class InnerTest:
    """One test as the guest's pytest saw it."""

    name: str
    outcome: Outcome
    text: str
    """Why it did not pass, as pytest tells it; empty if it did."""
    seconds: float


def run_guest_suite(
    machine: Machine,
    path: str,
    env: Mapping[str, str] | None = None,
    *,
    args: tuple[str, ...] = (),
    timeout: float = 300,
) -> list[InnerTest]:
    """Run `pytest PATH` in the guest; a relative path is one of the checkout (`tests/contract`).

    Raises:
        HarnessError: pytest itself failed, or what it reports and its exit code contradict each other.
        MachineDied: the kernel did not survive it.
    """
    report = f"inner-{next(_numbers)}.xml"
    target = str(PurePosixPath(SOURCES) / path)
    options = ("-c", f"{SOURCES}/pyproject.toml", "--rootdir", SOURCES, "-q", f"--junitxml={SHARE}/{report}")
    plugins = [word for plugin in PLUGINS for word in ("-p", plugin)]
    done = machine.python(
        module="pytest",
        args=(*options, *plugins, *args, target),
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **(env or {})},
        timeout=timeout,
        check=False,
    )
    said = f"{done.stdout[-6000:]}{done.stderr[-3000:]}"
    if done.code not in PYTEST_ANSWERED:
        raise HarnessError(f"pytest in the guest ended with {done.code}{' (too late)' if done.late else ''}:\n{said}")
    tests = read_report((machine.place.share / report).read_text())
    if (done.code == 1) != any(test.outcome in ("failed", "error") for test in tests):
        raise HarnessError(f"pytest in the guest ended with {done.code}, its report says otherwise:\n{said}")
    return tests


def read_report(xml: str) -> list[InnerTest]:
    """The tests of a report in JUnit's format, as pytest writes it."""
    return [_test(case) for case in ET.fromstring(xml).iter("testcase")]


def _test(case: ET.Element) -> InnerTest:
    outcome: Outcome = "passed"
    text = ""
    tags: tuple[tuple[str, Outcome], ...] = (("failure", "failed"), ("error", "error"), ("skipped", "skipped"))
    for tag, meaning in tags:
        element = case.find(tag)
        if element is not None:
            outcome = meaning
            text = element.text or element.get("message") or ""
    name = f"{case.get('classname', '')}::{case.get('name', '')}"
    return InnerTest(name, outcome, text, float(case.get("time", "0")))
