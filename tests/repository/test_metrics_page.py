"""docs/metrics.md names what is measured: each metric, its type and its labels, and nothing else."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client import Metric

from subfunction.api.reasons import Reason
from subfunction.process.metrics import AgentMetrics, ControllerMetrics, PluginMetrics, ProgramMetrics, known_reason

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(subfunction_\w+)` \| (\w+) \|([`\w ]*)\| ([\w ,]+) \| (.+) \|$", re.MULTILINE)
PROGRAMS: tuple[tuple[str, type[AgentMetrics | ControllerMetrics | PluginMetrics]], ...] = (
    ("agent", AgentMetrics),
    ("controller", ControllerMetrics),
    ("device plugin", PluginMetrics),
)
UNBOUNDED = {"name", "uid", "pod", "namespace", "device", "node", "parent", "number", "object"}


class Row(NamedTuple):
    kind: str
    labels: frozenset[str]
    programs: frozenset[str]


def documented() -> dict[str, Row]:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    everyone = frozenset(name for name, _ in PROGRAMS)
    return {
        name: Row(kind, frozenset(re.findall(r"\w+", labels)), everyone if of == "all" else frozenset(of.split(", ")))
        for name, kind, labels, of, _ in rows
    }


def described(metrics: ProgramMetrics) -> dict[str, tuple[str, frozenset[str]]]:
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for collector in metrics.registry._collector_to_names:
        families: list[Metric] = list(getattr(collector, "describe", list)())
        for family in families:
            suffix = "_total" if family.type == "counter" else ""
            labels = getattr(collector, "_labelnames", ()) or getattr(collector, "_labels", ())
            found[family.name + suffix] = (family.type, frozenset(labels))
    return found


def test_the_page_and_the_programs_name_the_same_metrics_with_their_types_labels_and_programs() -> None:
    measured: dict[str, Row] = {}
    for program, kind in PROGRAMS:
        for name, (type_, labels) in described(kind()).items():
            before = measured.get(name, Row(type_, labels, frozenset()))
            assert (before.kind, before.labels) == (type_, labels), name
            measured[name] = before._replace(programs=before.programs | {program})
    assert documented() == measured


def test_no_label_is_one_whose_values_grow_with_the_cluster() -> None:
    labels = frozenset[str]().union(*(row.labels for row in documented().values()))
    assert labels
    assert labels.isdisjoint(UNBOUNDED)


@pytest.mark.parametrize(("said", "told"), [("Full", "Full"), (Reason.IN_USE, "InUse"), ("blue: 12:00", "Other")])
def test_a_reason_that_we_do_not_know_does_not_become_a_label(said: str, told: str) -> None:
    assert known_reason(said) == told
    metrics = AgentMetrics()
    metrics.record_error(said)
    assert metrics.registry.get_sample_value("subfunction_errors_total", {"reason": told}) == 1
