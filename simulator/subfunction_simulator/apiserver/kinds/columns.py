"""A column of a table shows what `kubectl get` prints of Kubernetes' own kinds, and of a CRD's."""

import json
from collections.abc import Callable
from typing import Final

from subfunction_simulator.apiserver.kinds.resources import Column
from subfunction_simulator.apiserver.objects import JsonObject, JsonPath, age, dig

NAME: Final = Column("Name", lambda obj: dig(obj, ("metadata", "name")), description="The object's name.")


def _path(text: str) -> Callable[[JsonObject], object]:
    return JsonPath(text).read


def _age(text: str) -> Callable[[JsonObject], object]:
    path = JsonPath(text)
    return lambda obj: age(path.read(obj))


AGE: Final = Column("Age", _age(".metadata.creationTimestamp"), description="How long ago it was made.")


def _text(text: str) -> Callable[[JsonObject], object]:
    """Read a value as the real server writes it in a column of strings: what is no string, as its JSON."""
    path = JsonPath(text)

    def read(obj: JsonObject) -> object:
        value = path.read(obj)
        return value if value is None or isinstance(value, str) else json.dumps(value, separators=(",", ":"))

    return read


def custom(written: JsonObject) -> Column:
    """Make a column of a CRD's `additionalPrinterColumns`; raises ValueError for a JSONPath of a form not supported."""
    reader = {"date": _age, "string": _text}.get(written["type"], _path)
    return Column(
        name=written["name"],
        read=reader(written["jsonPath"]),
        type="string" if reader is _age else written["type"],
        wide=written.get("priority", 0) > 0,
        description=written.get("description", ""),
    )


def _node_status(node: JsonObject) -> str:
    ready = JsonPath('.status.conditions[?(@.type=="Ready")].status').read(node)
    words = ["Ready" if ready == "True" else "NotReady" if ready == "False" else "Unknown"]
    if dig(node, ("spec", "unschedulable")):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(node: JsonObject) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = dig(node, ("metadata", "labels")) or {}
    return ",".join(sorted(label.removeprefix(prefix) for label in labels if label.startswith(prefix))) or "<none>"


def _containers(pod: JsonObject) -> list[JsonObject]:
    statuses: list[JsonObject] = dig(pod, ("status", "containerStatuses")) or []
    return statuses


def _pod_ready(pod: JsonObject) -> str:
    ready = sum(1 for container in _containers(pod) if container.get("ready"))
    return f"{ready}/{len(dig(pod, ('spec', 'containers')) or [])}"


def _pod_status(pod: JsonObject) -> str:
    if dig(pod, ("metadata", "deletionTimestamp")):
        return "Terminating"
    for container in _containers(pod):
        for state in ("waiting", "terminated"):
            reason = dig(container, ("state", state, "reason"))
            if reason:
                return str(reason)
    return str(dig(pod, ("status", "reason")) or dig(pod, ("status", "phase")) or "Unknown")


def _pod_restarts(pod: JsonObject) -> int:
    return sum(int(container.get("restartCount", 0)) for container in _containers(pod))


def _event_object(event: JsonObject) -> str:
    involved = event.get("involvedObject", {})
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _event_age(event: JsonObject) -> str | None:
    return age(event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp"))


NODE: Final = (
    NAME,
    Column("Status", _node_status),
    Column("Roles", _node_roles),
    AGE,
    Column("Version", _path(".status.nodeInfo.kubeletVersion")),
    Column("Internal-IP", _path('.status.addresses[?(@.type=="InternalIP")].address'), wide=True),
    Column("OS-Image", _path(".status.nodeInfo.osImage"), wide=True),
    Column("Kernel-Version", _path(".status.nodeInfo.kernelVersion"), wide=True),
    Column("Container-Runtime", _path(".status.nodeInfo.containerRuntimeVersion"), wide=True),
)
POD: Final = (
    NAME,
    Column("Ready", _pod_ready),
    Column("Status", _pod_status),
    Column("Restarts", _pod_restarts, "integer"),
    AGE,
    Column("IP", _path(".status.podIP"), wide=True),
    Column("Node", _path(".spec.nodeName"), wide=True),
)
EVENT: Final = (
    Column("Last Seen", _event_age),
    Column("Type", _path(".type")),
    Column("Reason", _path(".reason")),
    Column("Object", _event_object),
    Column("Message", lambda event: str(event.get("message", "")).strip()),
    Column("Source", _path(".source.component"), wide=True),
    Column("Count", _path(".count"), "integer", wide=True),
    Column("Name", _path(".metadata.name"), wide=True),
)
NAMESPACE: Final = (NAME, Column("Status", _path(".status.phase")), AGE)
LEASE: Final = (NAME, Column("Holder", _path(".spec.holderIdentity")), AGE)
CRD: Final = (NAME, Column("Created At", _path(".metadata.creationTimestamp")))
CONFIG_MAP: Final = (NAME, Column("Data", lambda obj: len(obj.get("data") or {}), "integer"), AGE)
