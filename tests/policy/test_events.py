"""What an agent may say in Events: about our kinds, in its own name, and nothing is taken back."""

import copy
import time
from typing import Any, Final

import pytest

from components.controlplane import ControlPlane
from harness.errors import CommandFailed

EVENTS: Final = "/api/v1/namespaces/default/events"
MODERN: Final = "/apis/events.k8s.io/v1/namespaces/default/events"
MERGE: Final = "application/merge-patch+json"
SECONDS: Final = 10.0

HONEST: Final[dict[str, Any]] = {
    "metadata": {"generateName": "a."},
    "involvedObject": {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunction", "name": "a"},
    "reason": "Ready",
    "message": "sub-function 1 is ready",
    "type": "Normal",
    "source": {"component": "subfunction-agent", "host": "node-a"},
    "reportingComponent": "subfunction-agent",
    "reportingInstance": "node-a",
}
ABOUT, NAME = "Events about SubFunctions and its own SubFunctionNode alone", "posts Events in its own name"
FORGED: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "about a Pod": ({"involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "default"}}, ABOUT),
    "about a Node": ({"involvedObject": {"apiVersion": "v1", "kind": "Node"}}, ABOUT),
    "about a pool": ({"involvedObject": {"kind": "SubFunctionPool"}}, ABOUT),
    "about node B's node object": ({"involvedObject": {"kind": "SubFunctionNode", "name": "node-b"}}, ABOUT),
    "about another group's SubFunction": ({"involvedObject": {"apiVersion": "example.com/v1"}}, ABOUT),
    "as another host": ({"source": {"host": "node-b"}}, NAME),
    "as another program": ({"source": {"component": "kubelet"}}, NAME),
    "as another reporter": ({"reportingInstance": "node-b"}, NAME),
    "as another reporting program": ({"reportingComponent": "subfunction-controller"}, NAME),
    "without a source": ({"source": {"component": None, "host": None}}, NAME),
}


def event(**changes: Any) -> dict[str, Any]:
    made = copy.deepcopy(HONEST)
    for key, value in changes.items():
        made[key] = {**made[key], **value} if isinstance(value, dict) else value
    return made


def refusal(plane: ControlPlane, token: str, method: str, path: str, body: Any) -> str:
    """Try it until it is not for want of a role, of which an API server learns a moment after it was stored."""
    kind = MERGE if method == "PATCH" else "application/json"
    deadline = time.monotonic() + SECONDS
    while True:
        with pytest.raises(CommandFailed) as refused:
            plane.request(method, path, body, kind=kind, token=token)
        assert refused.value.code == 403
        if " cannot " not in refused.value.output or time.monotonic() > deadline:
            return str(refused.value.output)
        time.sleep(0.1)


@pytest.mark.parametrize("about", ["SubFunction", "SubFunctionNode"])
def test_an_event_of_its_own_is_taken(plane: ControlPlane, token: str, about: str) -> None:
    name = "a" if about == "SubFunction" else "node-a"
    body = event(involvedObject={"kind": about, "name": name})
    assert plane.request("POST", f"{EVENTS}?dryRun=All", body, token=token)["involvedObject"]["name"] == name


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_event_is_refused(plane: ControlPlane, token: str, what: str) -> None:
    changes, why = FORGED[what]
    assert why in refusal(plane, token, "POST", EVENTS, event(**changes))


@pytest.mark.usefixtures("every_right")
@pytest.mark.parametrize("way", ["PATCH", "PUT", "DELETE"])
def test_no_event_is_changed_or_deleted(plane: ControlPlane, token: str, way: str) -> None:
    made = plane.request("POST", EVENTS, event(), token=token)
    path = f"{EVENTS}/{made['metadata']['name']}"
    body = {"PATCH": {"message": "no"}, "PUT": {**made, "message": "no"}, "DELETE": None}[way]
    assert "changes and deletes none" in refusal(plane, token, way, path, body)
    assert plane.request("GET", path)["message"] == made["message"]


@pytest.mark.usefixtures("every_right")
def test_the_other_group_that_events_have_is_no_way_around(plane: ControlPlane, token: str) -> None:
    body = {
        "metadata": {"name": "forged"},
        "eventTime": "2026-11-22T10:00:00.000000Z",
        "regarding": {"apiVersion": "v1", "kind": "Node", "name": "node-b"},
        "action": "Rest",
        "reason": "Ready",
        "type": "Normal",
        "reportingController": "subfunction-agent",
        "reportingInstance": "node-a",
    }
    assert ABOUT in refusal(plane, token, "POST", MODERN, body)
