"""A pod has a status, which `kubectl get pods` and `kubectl describe pod` show."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from subfunction_simulator.kubelet.pods import Container, DeviceNode, Pod, Rejected, Running

ANNOTATION_DOMAIN = "simulator.subfunction.dev"


def now() -> str:
    """Give the time as Kubernetes writes it."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def describe_unschedulable(missing: Mapping[str, int]) -> dict[str, Any]:
    """Wait for devices, in a scheduler's words."""
    message = f"0/1 nodes are available: 1 Insufficient {', Insufficient '.join(sorted(missing))}."
    return {"phase": "Pending", "conditions": [_condition("PodScheduled", "False", "Unschedulable", message)]}


def describe_rejected(why: Rejected) -> dict[str, Any]:
    """Fail for good."""
    return {"phase": "Failed", "reason": why.reason, "message": why.message, "startTime": now()}


def restarts(item: Mapping[str, Any]) -> dict[str, int]:
    """Read from a pod how often each of its containers was restarted."""
    status = item.get("status", {})
    statuses = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    return {each["name"]: each["restartCount"] for each in statuses if "waiting" not in each["state"]}


def describe_started(
    pod: Pod,
    running: Mapping[str, int],
    waiting: Mapping[str, str],
    health: Mapping[str, Mapping[str, Mapping[str, str]]],
) -> dict[str, Any]:
    """Run what runs, with how often it was restarted; `waiting` says of the other containers why they do not.

    `health` is that of the devices, by container, resource and id.
    """
    ready = not waiting and len(running) == len(pod.containers)
    truth = "True" if ready else "False"
    initialised = all(each.name in running for each in pod.containers if each.init)
    statuses = {
        init: [_container(each, running, waiting, health) for each in pod.containers if each.init is init]
        for init in (True, False)
    }
    return {
        "phase": "Running" if ready else "Pending",
        "conditions": [
            _condition("PodScheduled", "True"),
            _condition("Initialized", "True" if initialised else "False"),
            _condition("ContainersReady", truth),
            _condition("Ready", truth),
        ],
        "initContainerStatuses": statuses[True],
        "containerStatuses": statuses[False],
        "startTime": now(),
    }


def content(given: Running) -> dict[str, Any]:
    """Tell what a container sees, for its file."""
    return {
        "env": dict(given.env),
        "devices": [
            {
                "path": each.path,
                "hostPath": each.host_path,
                "permissions": each.permissions,
                "exists": each.exists,
                "numbers": each.numbers,
            }
            for each in given.devices
        ],
        "mounts": [
            {"path": path, "hostPath": host_path, "readOnly": read_only} for path, host_path, read_only in given.mounts
        ],
        "cdi": list(given.cdi),
    }


def annotations(running: Mapping[str, Running]) -> dict[str, str]:
    """Tell it in short, for people: an annotation a container."""
    return {
        f"{ANNOTATION_DOMAIN}/{name}": json.dumps(
            {"env": dict(given.env), "devices": [_line(each) for each in given.devices]}
        )
        for name, given in running.items()
    }


def _line(device: DeviceNode) -> str:
    what = device.numbers or ("no character device" if device.exists else "missing on the host")
    return f"{device.path} {device.permissions} ({what})"


def _container(
    container: Container,
    running: Mapping[str, int],
    waiting: Mapping[str, str],
    health: Mapping[str, Mapping[str, Mapping[str, str]]],
) -> dict[str, Any]:
    runs = container.name in running
    if runs and container.init and not container.restartable:
        state: dict[str, Any] = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now()}}
    elif runs:
        state = {"running": {"startedAt": now()}}
    elif container.name in waiting:
        state = {"waiting": {"reason": "CreateContainerConfigError", "message": waiting[container.name]}}
    else:
        state = {"waiting": {"reason": "PodInitializing"}}
    told = {
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "ready": runs,
        "started": runs,
        "restartCount": running.get(container.name, 0),
        "state": state,
    }
    devices = {} if container.init else health.get(container.name, {})
    if not devices:
        return told
    return told | {
        "allocatedResourcesStatus": [
            {"name": resource, "resources": [{"resourceID": each, "health": of} for each, of in ids.items()]}
            for resource, ids in devices.items()
        ]
    }


def _condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, str]:
    condition = {"type": kind, "status": status, "lastTransitionTime": now()}
    return condition | ({"reason": reason, "message": message} if reason else {})
