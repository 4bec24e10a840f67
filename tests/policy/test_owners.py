"""A cluster that asks of who sets an owner whether it could hold or delete what it sets (OpenShift's way)."""

from typing import Any, Final

import pytest

from components import accounts
from components.controlplane import ControlPlane
from harness.errors import CommandFailed

SYSTEM: Final = "kube-system"
GROUP: Final = "/apis/subfunction.dev/v1alpha1"
VERSION: Final = "subfunction.dev/v1alpha1"
MERGE: Final = "application/merge-patch+json"


def test_the_controller_may_let_a_pool_wait_for_its_sub_functions(strict_plane: ControlPlane) -> None:
    token = accounts.pod_token(strict_plane, SYSTEM, "subfunction-controller", "infra")
    about = {"apiVersion": VERSION, "kind": "SubFunctionPool"}
    template = {"spec": {"template": {"spec": {"flavour": "mlx5"}}}}
    pool = strict_plane.request("POST", f"{GROUP}/subfunctionpools", about | {"metadata": {"name": "p"}} | template)
    owner = about | {"name": "p", "uid": pool["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}
    made: Any = {
        "apiVersion": VERSION,
        "kind": "SubFunction",
        "metadata": {"name": "p-0", "ownerReferences": [owner]},
        "spec": {"nodeName": "infra", "flavour": "mlx5", "parent": {"device": "pci/0000:03:00.0"}},
    }
    assert strict_plane.request("POST", f"{GROUP}/subfunctions", made, token=token)["metadata"]["uid"]


def test_an_agent_makes_its_node_object_there_and_leaves_one_of_another_node_to_the_garbage_collector(
    strict_plane: ControlPlane,
) -> None:
    token = accounts.pod_token(strict_plane, SYSTEM, "subfunction-agent", "node-a")
    owner = {"apiVersion": "v1", "kind": "Node", "name": "node-a"}
    uid = strict_plane.request("GET", "/api/v1/nodes/node-a")["metadata"]["uid"]
    metadata = {"name": "node-a", "ownerReferences": [owner | {"uid": uid}]}
    body = {"apiVersion": VERSION, "kind": "SubFunctionNode", "metadata": metadata}
    assert strict_plane.request("POST", f"{GROUP}/subfunctionnodes", body, token=token)["metadata"]["uid"]
    change = {"metadata": {"ownerReferences": [owner | {"uid": "that-of-now"}]}}
    with pytest.raises(CommandFailed, match="cannot set an ownerRef on a resource you can't delete"):
        strict_plane.request("PATCH", f"{GROUP}/subfunctionnodes/node-a", change, kind=MERGE, token=token)
