"""What people set in other charts, and need to: each is a value here; and no default keeps the pods from a node."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

CHART: Final = Path(__file__).parents[2] / "charts" / "subfunction"
VALUES: Final[dict[str, Any]] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA: Final[dict[str, Any]] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
WORKLOADS: Final = ("agent", "devicePlugin", "controller")
DAEMON_SETS: Final = ("agent", "devicePlugin")


def merged(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Lay what a person gives over the defaults, as Helm does: null takes a key away."""
    result = copy.deepcopy(dict(values))
    for key, value in given.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def check(given: Mapping[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(merged(VALUES, given))


@pytest.mark.parametrize(
    "given",
    [{workload: {"appArmorProfile": profile}} for workload in WORKLOADS for profile in (None, "Unconfined")],
    ids=str,
)
def test_an_apparmor_profile_can_be_left_out_or_switched_off(given: Mapping[str, Any]) -> None:
    check(given)


WANTED: Final[Mapping[str, Mapping[str, Any]]] = {
    "labels on all objects": {"commonLabels": {"cost-center": "x"}},
    **{f"labels on the pods of {each}": {each: {"podLabels": {"team": "net"}}} for each in WORKLOADS},
    **{f"pods of {each} replaced by hand": {each: {"updateStrategy": {"type": "OnDelete"}}} for each in DAEMON_SETS},
    **{
        f"variables of {each}": {each: {"extraEnv": [{"name": "KUBERNETES_SERVICE_HOST", "value": "api.example"}]}}
        for each in WORKLOADS
    },
    "further volumes": {"agent": {"extraVolumes": []}},
    "a plugin that needs no network of the pods": {"devicePlugin": {"hostNetwork": True}},
    "accounts made by others": {"serviceAccount": {"create": False}},
    "an account of the plugin": {"devicePlugin": {"serviceAccountName": "x"}},
    "rights made by others": {"rbac": {"create": False}},
    "nothing in the namespace default": {"eventsNamespace": "x"},
    "a uid out of a namespace's range": {"controller": {"podSecurityContext": {"runAsUser": 1000660000}}},
    "the grant that OpenShift wants": {"openshift": {"enabled": True}},
    "the quota that GKE wants": {"resourceQuota": {"enabled": True}},
    "a test pod that bears taints": {"check": {"tolerations": [{"operator": "Exists"}]}},
    "monitors in the namespace of Prometheus": {"podMonitor": {"namespace": "monitoring"}},
    "relabelings": {"podMonitor": {"relabelings": []}},
    "runbooks of alerts": {"prometheusRule": {"annotations": {}}},
    "ports of the API server": {"networkPolicy": {"apiServerPorts": [16443]}},
    "three controllers": {"controller": {"replicas": 3}},
    "a budget for drains": {"controller": {"podDisruptionBudget": {"enabled": True}}},
    "another registry": {"image": {"registry": "registry.example"}},
    "settings of some nodes": {"agent": {"overrides": [{"nodeSelector": {"a": "b"}, "deviceNodes": "cdi"}]}},
    "plugins chained to an attachment": {
        "networkAttachments": [{"name": "a", "resourceName": "subfunction.dev/mlx5", "plugins": [{"type": "rdma"}]}]
    },
    "each node's own address": {"agent": {"listen": "$(HOST_IP):9341"}},
    **{f"no AppArmor profile of {each}": {each: {"appArmorProfile": ""}} for each in WORKLOADS},
}
"""By the names that other charts have for them, where there is such a name."""


@pytest.mark.parametrize("given", [pytest.param(given, id=what) for what, given in WANTED.items()])
@pytest.mark.xfail(
    strict=True,
    raises=jsonschema.ValidationError,
    reason="issue I: the chart has no such value, and its schema refuses it",
)
def test_what_people_set_in_other_charts_can_be_set(given: Mapping[str, Any]) -> None:
    check(given)


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue I: a profile is asked for by default, and a node without AppArmor refuses the pod",
)
def test_by_default_no_apparmor_profile_is_asked_for(workload: str) -> None:
    assert not VALUES[workload].get("appArmorProfile")
