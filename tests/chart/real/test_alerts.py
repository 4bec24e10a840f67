"""The alerts, as Prometheus's own promtool takes them: rules that parse, that fire when they should and not before."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import generate_latest

from harness.packages import unpacked
from subfunction.api.reasons import Reason
from subfunction.process.metrics import AgentMetrics, ControllerMetrics, PluginMetrics

RULES: Final = Path(__file__).parents[3] / "charts" / "subfunction" / "files" / "alerts.yaml"
NODE: Final = {"node": "n1", "component": "agent"}
PLUGIN: Final = {"node": "n1", "component": "device-plugin"}
MLX5: Final = {"resource": "subfunction.dev/mlx5"}

SAID: Final = {
    "SubFunctionListClosed": "n1: the kubelet has not opened the list of subfunction.dev/mlx5; no pod gets one.",
    "SubFunctionNotReady": "n1: agent is not ready; its /readyz says why.",
    "SubFunctionFailed": "n1: 2 SubFunctions of flavour mlx5 are Failed.",
    "SubFunctionNotPermitted": "n1: the agent lacks a privilege; the condition Ready of its SubFunctions names it.",
    "SubFunctionRelistOld": "n1: agent has compared nothing with a LIST for 3h 9m 59s.",
    "SubFunctionApiUnreachable": "n1: agent gets no answer from the API server.",
    "SubFunctionBacklogStuck": "n1: the work queue of agent is never empty; a kernel is slow or stuck.",
}
"""What the person on call reads."""


@pytest.fixture(scope="module")
def promtool() -> Path:
    return unpacked("prometheus", "prometheus") / "usr" / "bin" / "promtool"


def series(name: str, labels: dict[str, str], values: str) -> dict[str, str]:
    return {
        "series": f"{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in labels.items())}}}",
        "values": values,
    }


def told(promtool: Path, *words: str, given: bytes = b"") -> str:
    run = subprocess.run([promtool, *words], input=given, capture_output=True, check=False)
    said = run.stdout.decode() + run.stderr.decode()
    assert run.returncode == 0, said
    return said


def test_the_rules_are_rules(promtool: Path) -> None:
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]
    assert f"SUCCESS: {len(rules)} rules found" in told(promtool, "check", "rules", str(RULES))


@pytest.mark.parametrize("kind", [AgentMetrics, ControllerMetrics, PluginMetrics])
def test_the_metrics_are_named_as_prometheus_wants_it(
    promtool: Path, kind: type[AgentMetrics | ControllerMetrics | PluginMetrics]
) -> None:
    metrics = kind()
    metrics.record_error(Reason.FULL)
    assert told(promtool, "check", "metrics", given=generate_latest(metrics.registry)) == ""


@pytest.mark.parametrize(
    ("alert", "given", "quiet", "fires", "labels"),
    [
        ("SubFunctionListClosed", [("subfunction_list_streams", PLUGIN | MLX5, "1x5 0x30")], 9, 12, PLUGIN | MLX5),
        ("SubFunctionNotReady", [("subfunction_ready", NODE, "1x5 0x30")], 12, 17, NODE),
        (
            "SubFunctionFailed",
            [("subfunction_subfunctions", NODE | {"flavour": "mlx5", "phase": "Failed"}, "0x5 2x30")],
            15,
            22,
            {"node": "n1", "flavour": "mlx5"},
        ),
        (
            "SubFunctionNotPermitted",
            [("subfunction_errors_total", NODE | {"reason": "NotPermitted"}, "0x5 3x30")],
            5,
            8,
            NODE | {"reason": "NotPermitted"},
        ),
        # One that never listed is not ready, and that is told already.
        (
            "SubFunctionRelistOld",
            [
                ("subfunction_relist_timestamp_seconds", NODE, "1x240"),
                ("subfunction_relist_timestamp_seconds", {"node": "n2", "component": "controller"}, "0x240"),
            ],
            180,
            190,
            NODE,
        ),
        (
            "SubFunctionApiUnreachable",
            [("subfunction_api_requests_total", NODE | {"verb": "list", "code": "none"}, "0x5 0+6x40")],
            9,
            20,
            NODE,
        ),
        (
            "SubFunctionBacklogStuck",
            [("subfunction_backlog", NODE | {"state": "due"}, "0 5x40")],
            8,
            20,
            NODE | {"state": "due"},
        ),
    ],
)
def test_an_alert_fires_when_it_should_and_not_before(  # noqa: PLR0917  # a row of the table
    promtool: Path,
    tmp_path: Path,
    alert: str,
    given: list[tuple[str, dict[str, str], str]],
    quiet: int,
    fires: int,
    labels: dict[str, str],
) -> None:
    [rule] = [
        each
        for each in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]
        if each["alert"] == alert
    ]
    expected: dict[str, Any] = {"exp_labels": rule["labels"] | labels, "exp_annotations": {"summary": SAID[alert]}}
    checks = [
        {"eval_time": f"{quiet}m", "alertname": alert, "exp_alerts": []},
        {"eval_time": f"{fires}m", "alertname": alert, "exp_alerts": [expected]},
    ]
    tests = [{"interval": "1m", "input_series": [series(*each) for each in given], "alert_rule_test": checks}]
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    assert "SUCCESS" in told(promtool, "test", "rules", str(file))
