"""The alerts speak of metrics, labels and values that there are, and each has its line of advice."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.repository.test_metrics_page import PAGE, documented

from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Phase

ROOT = Path(__file__).parents[2]
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "charts/subfunction/files/alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
KNOWN: dict[str, frozenset[str]] = {
    "reason": frozenset(map(str, Reason)),
    "phase": frozenset(map(str, Phase)),
    "code": frozenset({"403", "none"}),
    "state": frozenset({"working", "due", "later"}),
}
ADDED = {"node", "component"}
"""Labels of the PodMonitor's."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_speaks_of_what_is_measured(rule: dict[str, Any]) -> None:
    metrics = documented()
    [name] = set(re.findall(r"subfunction_\w+", rule["expr"]))
    labels = metrics[name].labels | ADDED
    asked = re.findall(r'(\w+)="(\w+)"', rule["expr"])
    assert {label for label, _ in asked} <= labels
    for label, value in asked:
        assert value in KNOWN[label]
    for group in re.findall(r"by \(([\w, ]+)\)", rule["expr"]):
        labels &= set(group.split(", "))
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels
    assert rule["labels"]["severity"] in {"warning", "critical"}


def test_each_alert_has_a_line_of_advice_and_each_line_an_alert() -> None:
    page = PAGE.read_text(encoding="utf-8").partition("## Alerts")[2]
    advised = re.findall(r"^\| `(\w+)` \| \S", page, re.MULTILINE)
    assert advised == [rule["alert"] for rule in RULES]
