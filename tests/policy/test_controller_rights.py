"""The controller with its real token and the chart's roles: all its work is done, and no right is idle."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from components import accounts, audit, roles, under_test
from components.controlplane import ControlPlane
from fleet.fleet import Fleet
from subfunction.api.subfunction import FINALIZER

SYSTEM: Final = "kube-system"
ACCOUNT: Final = "subfunction-controller"
ASKED_BY_ADMISSION: Final = ("update", "subfunction.dev", "subfunctionpools/finalizers")
"""What `test_owners.py` shows that a cluster may ask of it."""


@pytest.fixture
async def fleet(plane: ControlPlane, root: Path) -> AsyncIterator[Fleet]:
    """Nodes without machines, and a controller that has the token of its pod; the tests' own is another one."""
    async with Fleet(root, token=under_test.TOKEN) as made:
        (root / "token").write_text(accounts.pod_token(plane, SYSTEM, ACCOUNT, "infra"))
        config: Any = yaml.safe_load(made.kubeconfig.read_text())
        config["users"][0]["user"] = {"tokenFile": str(root / "token")}
        made.kubeconfig.write_text(yaml.safe_dump(config))
        yield made


async def test_the_whole_life_of_a_controller_needs_its_roles_all_of_them_and_nothing_else(
    plane: ControlPlane, fleet: Fleet
) -> None:
    account = audit.Account.of(plane.audit_log, SYSTEM, ACCOUNT)
    for name in ("n1", "n2"):
        await fleet.add_node(name)
    fleet.start_agents()
    fleet.start_controller(lease_namespace=SYSTEM)
    await fleet.apply_pool(replicas=2, nodeSelector={"nic": "yes"})
    await fleet.until_settled()
    await fleet.scale(1)
    await fleet.until_settled()
    await fleet.change_pool(template={"spec": {"mtu": 1400}})
    await fleet.until_settled()
    # Somebody else was faster: it looks at the object as it is now.
    fleet.faithful = set()
    fleet.server.call(lambda: fleet.server.api.traffic.answer_next(1, 409, verb="patch", resource="subfunctions"))
    await fleet.change_pool(template={"spec": {"mtu": 1500}})
    await fleet.until_all(lambda there: any(each.spec.mtu == 1500 for each in there.values()))
    fleet.faithful = None
    await fleet.until_settled()
    # Without a node: nowhere to go at first.
    await fleet.apply("stray", nodeName=None, nodeSelector={"rack": "7"}, parent={"selector": {"driver": "mlx5_core"}})
    await fleet.until_all(lambda there: bool(there["stray"].status.conditions))
    await fleet.change_node("n2", {"metadata": {"labels": {"rack": "7"}}})
    await fleet.until_all(lambda there: there["stray"].spec.node_name == "n2")
    await fleet.until_all(lambda there: FINALIZER in there["stray"].metadata.finalizers)
    # A Node that is gone for good, with what its agent held.
    fleet.faithful = {"n1"}
    await fleet.remove_node("n2")
    await fleet.delete("stray")
    await fleet.until_gone("stray")
    await fleet.until_quiet()
    await fleet.stop_all()

    assert account.refused() == []
    assert account.used() == roles.granted(*roles.CONTROLLER) - {ASKED_BY_ADMISSION}
    leases = [each for each in account.asked() if each.resource == "leases"]
    assert {each.namespace for each in leases} == {SYSTEM}
    assert {each.name for each in leases if each.verb != "create"} == {ACCOUNT}
    assert account.paths() == []
