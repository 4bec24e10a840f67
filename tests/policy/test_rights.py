"""The agent with its real token, the chart's roles and its policy: its work is done, and no right is idle."""

import contextlib
from collections.abc import AsyncIterator
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
SFNODE: Final = f"/apis/subfunction.dev/v1alpha1/subfunctionnodes/{NODE}"


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
    account = audit.Account.of(plane.audit_log, SYSTEM, ACCOUNT)
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

    assert account.refused() == []
    assert account.used() == roles.granted(*roles.AGENT)
    assert {each.namespace for each in account.asked() if each.resource == "events"} == {"default"}
    assert account.paths() == []


def _found(plane: ControlPlane, path: str) -> Any:
    with contextlib.suppress(CommandFailed):
        return plane.request("GET", path)
    return {}


def _owner(plane: ControlPlane) -> Any:
    return _found(plane, SFNODE)["metadata"]["ownerReferences"][0]["uid"]
