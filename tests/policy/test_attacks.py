"""Node A's agent turns against the cluster: with its real token it tries every write that is not its business.

Once with the chart's role, once with every right in our group, so that the policy stands alone. Each attack must be
refused with a sentence that says why, and must have changed nothing.
"""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from components import accounts, roles
from components.controlplane import ControlPlane
from harness.errors import CommandFailed

SYSTEM: Final = "kube-system"
ACCOUNT: Final = "subfunction-agent"
GROUP: Final = "/apis/subfunction.dev/v1alpha1"
VERSION: Final = "subfunction.dev/v1alpha1"
PLURALS: Final = {
    "SubFunction": "subfunctions",
    "SubFunctionNode": "subfunctionnodes",
    "SubFunctionPool": "subfunctionpools",
}
MERGE: Final = "application/merge-patch+json"
OWN_ROLE: Final = roles.granted(*roles.AGENT)
VERBS: Final = {"PUT": "update", "PATCH": "patch", "POST": "create", "DELETE": "delete"}
IN_FORCE_SECONDS: Final = 10.0

FOREIGN: Final = {"apiVersion": "v1", "kind": "Node", "name": "node-b", "uid": "11111111-2222-3333-4444-555555555555"}
KEPT: Final = "example.com/kept"
OURS: Final = "subfunction.dev/agent"


@dataclass(frozen=True, slots=True)
class Attack:
    """One write: to an object (`kind/name`), below it (`status`), or of a new one; and the policy's answer."""

    what: str
    method: str
    target: str
    change: Any
    why: str
    below: str = ""
    media: str = "application/json"

    @property
    def plural(self) -> str:
        return PLURALS[self.target.partition("/")[0]]

    @property
    def name(self) -> str:
        return self.target.partition("/")[2]

    @property
    def permitted_by_role(self) -> bool:
        resource = f"{self.plural}/{self.below}" if self.below else self.plural
        return (VERBS[self.method], "subfunction.dev", resource) in OWN_ROLE


def writes(what: str, target: str, change: Any, why: str, below: str = "") -> Iterator[Attack]:
    """The same change in each form in which the API server takes one."""
    yield Attack(f"{what}, by merge patch", "PATCH", target, change, why, below, MERGE)
    yield Attack(f"{what}, by PUT", "PUT", target, change, why, below)
    if None not in change.get("metadata", {}).values():
        yield Attack(f"{what}, by apply", "PATCH", target, change, why, below, "application/apply-patch+yaml")


def metadata(**fields: Any) -> Any:
    return {"metadata": fields}


SPEC: Final = {"spec": {"mtu": 1400}}
STATUS: Final = {"status": {"phase": "Ready"}}
SURVEY: Final = {"status": {"kernel": "6.6.6"}}
OF_B: Final = "agent of node node-a may not write what belongs to node node-b"
CHANGES: Final = {
    "its spec": (SPEC, "never changes a spec"),
    "a label": (metadata(labels={"kept": "no"}), "never changes labels"),
    "an annotation": (metadata(annotations={"kept": "no"}), "never changes annotations"),
    "its owner": (metadata(ownerReferences=[FOREIGN]), "changes no owner"),
    "a foreign finalizer more": (metadata(finalizers=[KEPT, "example.com/more"]), "of finalizers, an agent"),
    "a foreign finalizer less": (metadata(finalizers=[OURS]), "of finalizers, an agent"),
    "no finalizer at all": (metadata(finalizers=None), "of finalizers, an agent"),
}
OF_NODE: Final = {
    "a label": (metadata(labels={"kept": "no"}), "never changes labels"),
    "an annotation": (metadata(annotations={"kept": "no"}), "never changes annotations"),
    "another owner": (metadata(ownerReferences=[FOREIGN]), "owner is its Node and nothing else"),
    "no owner": (metadata(ownerReferences=None), "owner is its Node and nothing else"),
    "our finalizer": (metadata(finalizers=[OURS]), "of finalizers, an agent"),
}


def attacks() -> Iterator[Attack]:
    """All of them."""
    for what, (change, why) in CHANGES.items():
        # An apply adds to the set of finalizers, and takes none away that it does not own.
        for attack in writes(f"change {what} of its own sub-function", "SubFunction/a", change, why):
            if not (attack.media.startswith("application/apply") and "less" in what):
                yield attack
        yield from writes(f"change {what} of node B's sub-function", "SubFunction/b", change, OF_B)
    yield from writes("write the status of node B's sub-function", "SubFunction/b", STATUS, OF_B, "status")
    yield from writes("hold node B's sub-function", "SubFunction/b", metadata(finalizers=[KEPT, OURS]), OF_B)
    yield from writes("hold one that is placed nowhere", "SubFunction/free", metadata(finalizers=[OURS]), "no node yet")
    yield from writes(
        "pull one that is placed nowhere", "SubFunction/free", {"spec": {"nodeName": "node-a"}}, "no node"
    )
    yield from writes("write the status of one that is placed nowhere", "SubFunction/free", STATUS, "no node", "status")
    for what, (change, why) in OF_NODE.items():
        yield from writes(f"change {what} of its own node object", "SubFunctionNode/node-a", change, why)
        yield from writes(f"change {what} of node B's node object", "SubFunctionNode/node-b", change, OF_B)
    yield from writes("write the status of node B's node object", "SubFunctionNode/node-b", SURVEY, OF_B, "status")
    pools = "no subfunctionpools"
    yield from writes("change a pool", "SubFunctionPool/pool", {"spec": {"replicas": 9}}, pools)
    yield from writes("change a pool's labels", "SubFunctionPool/pool", metadata(labels={"kept": "no"}), pools)
    yield from writes("write a pool's status", "SubFunctionPool/pool", {"status": {"nodes": 9}}, pools, "status")
    yield Attack("scale a pool", "PATCH", "SubFunctionPool/pool", {"spec": {"replicas": 9}}, pools, "scale", MERGE)
    yield Attack("delete a pool", "DELETE", "SubFunctionPool/pool", None, pools)
    yield Attack("make a pool", "POST", "SubFunctionPool/new", {"spec": {"nodeSelector": {"x": "y"}}}, pools)
    nothing = "makes no SubFunction and deletes nothing"
    for target in ("SubFunction/a", "SubFunction/b", "SubFunctionNode/node-a", "SubFunctionNode/node-b"):
        yield Attack(f"delete {target}", "DELETE", target, None, nothing)
    yield Attack("make one for itself", "POST", "SubFunction/new", {"spec": {"nodeName": "node-a"}}, nothing)
    yield Attack("make one for node B", "POST", "SubFunction/new", {"spec": {"nodeName": "node-b"}}, nothing)
    of_c = metadata(ownerReferences=[FOREIGN | {"name": "node-c"}])
    yield Attack("make node C's node object", "POST", "SubFunctionNode/node-c", of_c, "belongs to node node-c")


SPECS: Final[dict[str, Any]] = {
    "SubFunction": {"spec": {"flavour": "mlx5", "parent": {"device": "pci/0000:03:00.0"}}},
    "SubFunctionNode": {},
    "SubFunctionPool": {"spec": {"template": {"spec": {"flavour": "mlx5"}}}},
}
ATTACKS: Final = tuple(attacks())


@pytest.fixture(scope="module")
def scene(plane: ControlPlane, token: str) -> Iterator[ControlPlane]:
    """Two nodes with a sub-function and a node object each, and a sub-function that is placed nowhere."""
    assert token  # its node is there
    accounts.pod_token(plane, SYSTEM, ACCOUNT, "node-b")
    owner = {key: FOREIGN[key] for key in ("apiVersion", "kind")}
    kept = {"labels": {"kept": "yes"}, "annotations": {"kept": "yes"}, "finalizers": [KEPT]}
    where: Any = {"a": {"nodeName": "node-a"}, "b": {"nodeName": "node-b"}, "free": {"nodeSelector": {"x": "y"}}}
    for node in ("node-a", "node-b"):
        uid = plane.request("GET", f"/api/v1/nodes/{node}")["metadata"]["uid"]
        owners = {"ownerReferences": [owner | {"name": node, "uid": uid}]}
        body = {"metadata": {"name": node, "labels": kept["labels"], "annotations": kept["annotations"]} | owners}
        plane.request("POST", f"{GROUP}/subfunctionnodes", typed("SubFunctionNode") | body)
    for name, spec in where.items():
        body = {"metadata": {"name": name} | kept, "spec": SPECS["SubFunction"]["spec"] | spec}
        plane.request("POST", f"{GROUP}/subfunctions", typed("SubFunction") | body)
    pool = typed("SubFunctionPool") | metadata(name="pool") | SPECS["SubFunctionPool"]
    plane.request("POST", f"{GROUP}/subfunctionpools", pool)
    yield plane
    for name in where:
        plane.request("PATCH", f"{GROUP}/subfunctions/{name}", metadata(finalizers=None), kind=MERGE)


def typed(kind: str) -> dict[str, Any]:
    return {"apiVersion": VERSION, "kind": kind}


def world(plane: ControlPlane) -> Any:
    """All objects of our group, but for who wrote which field when."""
    found = {plural: plane.request("GET", f"{GROUP}/{plural}")["items"] for plural in PLURALS.values()}
    for items in found.values():
        for item in items:
            item["metadata"].pop("managedFields", None)
    return found


def merged(current: Any, change: Any) -> Any:
    """What a merge patch would make of an object."""
    result = copy.deepcopy(current)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key, {}), value) if isinstance(value, dict) else value
    return result


def commit(plane: ControlPlane, token: str, attack: Attack) -> CommandFailed | None:
    """Try it; give the refusal."""
    kind, collection = attack.target.partition("/")[0], f"{GROUP}/{attack.plural}"
    path = f"{collection}/{attack.name}" + (f"/{attack.below}" if attack.below else "")
    body = attack.change
    if attack.method == "PUT":
        body = merged(plane.request("GET", f"{collection}/{attack.name}"), attack.change)
    elif attack.method == "POST":
        path, base = collection, typed(kind) | SPECS[kind]
        body = merged(base | metadata(name=attack.name), attack.change)
    elif attack.media.startswith("application/apply"):
        path += "?fieldManager=attacker&force=true"
        body = merged(typed(kind) | metadata(name=attack.name), attack.change)
    try:
        plane.request(attack.method, path, body, kind=attack.media, token=token)
    except CommandFailed as error:
        return error
    return None


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.what)
def test_with_its_role(scene: ControlPlane, token: str, attack: Attack) -> None:
    before = world(scene)
    refusal = commit(scene, token, attack)
    assert refusal is not None
    assert refusal.code == 403
    why = attack.why if attack.permitted_by_role else f'"system:serviceaccount:{SYSTEM}:{ACCOUNT}" cannot'
    assert why in refusal.output.replace("\\", "")
    assert world(scene) == before


@pytest.mark.usefixtures("every_right")
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.what)
def test_with_every_right_in_our_group(scene: ControlPlane, token: str, attack: Attack) -> None:
    before = world(scene)
    refusal = commit(scene, token, attack)
    deadline = time.monotonic() + IN_FORCE_SECONDS
    while refusal is not None and "cannot" in refusal.output and time.monotonic() < deadline:
        # An API server learns of a new role a moment after it was stored.
        time.sleep(0.1)
        refusal = commit(scene, token, attack)
    assert refusal is not None
    assert refusal.code == 403
    assert attack.why in refusal.output
    assert world(scene) == before


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"labels": {"a": "b"}}, "without labels, annotations and finalizers"),
        ({"annotations": {"a": "b"}}, "without labels, annotations and finalizers"),
        ({"finalizers": [KEPT]}, "without labels, annotations and finalizers"),
        ({"ownerReferences": [FOREIGN]}, "owner is its Node and nothing else"),
        ({"ownerReferences": []}, "owner is its Node and nothing else"),
    ],
)
def test_it_makes_its_own_node_object_bare_and_owned_by_its_node(
    plane: ControlPlane, more: dict[str, Any], why: str
) -> None:
    token = accounts.pod_token(plane, SYSTEM, ACCOUNT, "node-c")
    uid = plane.request("GET", "/api/v1/nodes/node-c")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": "node-c", "uid": uid}
    good = typed("SubFunctionNode") | metadata(name="node-c", ownerReferences=[owner])
    bad = good | {"metadata": {**good["metadata"], **more}}
    with pytest.raises(CommandFailed, match=why) as refused:
        plane.request("POST", f"{GROUP}/subfunctionnodes", bad, token=token)
    assert refused.value.code == 403
    plane.request("POST", f"{GROUP}/subfunctionnodes?dryRun=All", good, token=token)
