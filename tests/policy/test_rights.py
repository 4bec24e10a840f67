"""The agent with its real token, the chart's roles and its policy: its work is done, and no right is idle."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from components import accounts, audit, roles, under_test
from components.controlplane import ControlPlane
from harness.errors import CommandFailed
from rig.cluster import NODE, Cluster

SYSTEM: Final = "kube-system"
ACCOUNT: Final = "subfunction-agent"
USER: Final = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
SFNODE: Final = f"/apis/subfunction.dev/v1alpha1/subfunctionnodes/{NODE}"
OPEN_TO_ALL: Final = ("/api", "/apis", "/openapi", "/version")
"""What every account may read by Kubernetes' own roles (system:discovery, system:public-info-viewer)."""


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="op") as folder:
        yield Path(folder)


@pytest.fixture
async def node(plane: ControlPlane, root: Path) -> AsyncIterator[Cluster]:
    """A node whose agent has the token of its pod; the tests' own is another one."""
    async with Cluster(root, token=under_test.TOKEN) as made:
        (root / "token").write_text(accounts.pod_token(plane, SYSTEM, ACCOUNT, NODE))
        config: Any = yaml.safe_load(made.kubeconfig.read_text())
        config["users"][0]["user"] = {"tokenFile": str(root / "token")}
        made.kubeconfig.write_text(yaml.safe_dump(config))
        yield made


def replaced_node(plane: ControlPlane) -> str:
    """Let the Node be another one of the same name, as after a re-installation; give its uid."""
    plane.request("DELETE", f"/api/v1/nodes/{NODE}")
    uid: str = plane.request("POST", "/api/v1/nodes", {"metadata": {"name": NODE}})["metadata"]["uid"]
    return uid


async def test_the_whole_life_of_an_agent_needs_its_role_all_of_it_and_nothing_else(
    plane: ControlPlane, node: Cluster
) -> None:
    earlier = len(list(audit.requests(plane.audit_log, USER)))
    node.start_agent(survey_interval=0.2)
    await node.apply("blue")
    await node.apply("lost")
    await node.until_ready("blue")
    await node.until_ready("lost")
    await node.until(lambda: "parents" in _found(plane, SFNODE).get("status", {}), "the node is surveyed")
    await node.stop_agent()
    # What only happens to an agent that was away: an object is taken from it by force, and its Node is another one.
    await node.force_gone("lost")
    uid = replaced_node(plane)
    (node.root / "token").write_text(accounts.pod_token(plane, SYSTEM, ACCOUNT, NODE))
    node.start_agent(survey_interval=0.2)
    await node.until(lambda: _owner(plane) == uid, "the Node of now owns it")
    await node.delete("blue")
    await node.until_gone("blue")
    await node.until(lambda: not node.records.read_all().items, "no record is left")
    await node.stop_agent()

    asked = list(audit.requests(plane.audit_log, USER))[earlier:]
    refused = [request for request in asked if request.code in (401, 403)]
    assert refused == []
    assert {(each.verb, each.group, each.resource) for each in asked if each.resource} == roles.granted(*roles.AGENT)
    assert {each.namespace for each in asked if each.resource == "events"} == {"default"}
    assert [each.path for each in asked if not each.resource and not each.path.startswith(OPEN_TO_ALL)] == []


def _found(plane: ControlPlane, path: str) -> Any:
    with contextlib.suppress(CommandFailed):
        return plane.request("GET", path)
    return {}


def _owner(plane: ControlPlane) -> Any:
    return _found(plane, SFNODE)["metadata"]["ownerReferences"][0]["uid"]
