"""A pool on a simulated kernel, the agent and the controller as they run: applied, ready, scaled, rolled, gone."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fleet.fleet import POOLS, Fleet
from rig.cluster import NODE, is_ready
from subfunction.api.conditions import ConditionType
from subfunction_simulator.kernel.topology import SHOWROOM
from subfunction_simulator.kubectl import kubectl
from subfunction_simulator.kubelet.pods import Container, Pod

EXAMPLE = Path(__file__).parents[2] / "examples" / "05-pool" / "pool.yaml"
NAMES = [f"fast-{NODE}-0000-{bus}-00.0-{slot}" for bus in ("03", "82") for slot in (0, 1)]


@pytest_asyncio.fixture
async def node(root: Path) -> AsyncIterator[Fleet]:
    """One node with its agent, and the controller."""
    async with Fleet(root, SHOWROOM) as made:
        await made.add_machine(NODE, {"subfunction.dev/nic": "true"})
        made.start_agent()
        made.start_controller()
        yield made


async def run(node: Fleet, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        kubectl(),
        *("--kubeconfig", str(node.kubeconfig), *words),
        env={**os.environ, "HOME": str(node.root)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said


async def test_the_example_is_applied_scaled_rolled_and_gone(node: Fleet) -> None:
    await run(node, "apply", "-f", str(EXAMPLE))
    await run(node, "wait", "--for=condition=Ready", "sfpool/fast", "--timeout=20s")
    made = await node.all()
    assert sorted(made) == NAMES
    assert all(is_ready(found) for found in made.values())
    assert (node.numbers("0000:03:00.0"), node.numbers("0000:82:00.0")) == ([1, 2], [1, 2])
    head, row = (line.split() for line in (await run(node, "get", "sfpool", "fast")).splitlines())
    assert dict(zip(head[:9], row[:9], strict=True)) == {
        "NAME": "fast",
        "FLAVOUR": "mlx5",
        "REPLICAS": "2",
        "PER": "Parent",
        "NODES": "1",
        "DESIRED": "4",
        "READY": "4",
        "UPDATED": "4",
        "IN-USE": "0",
    }

    await run(node, "scale", "sfpool", "fast", "--replicas=3", "--current-replicas=2", "--timeout=20s")
    await node.until_settled()
    assert node.numbers("0000:03:00.0") == [1, 2, 3]

    pod = Pod("uid-worker", "default", "worker", (Container("main"),))
    held = NAMES[1]
    uid = (await node.all())[held].uid
    record = node.records.read_all().items[uid]
    node.give(pod, record)
    node.hand_out(record)
    await node.until_pool(lambda found: found.status.in_use == 1)
    await run(node, "scale", "sfpool", "fast", "--replicas=1", "--timeout=20s")
    await node.until_all(lambda there: sorted(there) == [held, NAMES[2]])  # what no pod holds goes first
    await node.until_settled()

    await run(node, "patch", "sfpool", "fast", "--type=merge", "-p", '{"spec":{"template":{"spec":{"mtu":1500}}}}')
    waiting = await node.until_object(lambda seen: seen.spec.mtu == 1500, held)
    assert waiting.uid == uid
    resource = '{"spec":{"template":{"spec":{"resourceName":"subfunction.dev/faster"}}}}'
    await run(node, "patch", "sfpool", "fast", "--type=merge", "-p", resource)
    await node.until_object(lambda seen: seen.deleting, held)
    fresh = await node.until_object(lambda seen: is_ready(seen) and seen.spec.mtu == 1500, NAMES[2])
    assert fresh.spec.resource == "subfunction.dev/faster"
    assert len(node.numbers("0000:03:00.0")) == 1, "the pod has its device still"
    node.take_back(pod)
    node.ledger.remove(uid)
    after = await node.until_settled()
    assert [each.reason for each in after.status.conditions if each.type == ConditionType.READY] == ["Ready"]
    assert {found.spec.resource for found in (await node.all()).values()} == {"subfunction.dev/faster"}

    # There is no garbage collector here.
    await run(node, "delete", "sfpool", "fast")
    await run(node, "delete", "sf", "-l", "subfunction.dev/pool=fast", "--timeout=20s")
    assert await node.all() == {}
    assert (node.numbers("0000:03:00.0"), node.numbers("0000:82:00.0")) == ([], [])
    assert node.records.read_all().items == {}


async def test_a_single_one_is_placed_by_what_the_agent_says_and_made(node: Fleet) -> None:
    await node.apply("blue", nodeName=None, parent={"selector": {"numaNode": 1}}, flavour="ice")
    ready = await node.until_ready("blue")
    assert (ready.spec.node_name, ready.status.parent) == (NODE, "pci/0000:c1:00.0")
    await node.apply("green", nodeName=None, parent={"device": "pci/0000:0a:00.0"})
    found = await node.until_object(lambda seen: seen.status.condition(ConditionType.PLACED) is not None, "green")
    placed = found.status.condition(ConditionType.PLACED)
    assert placed is not None
    assert placed.message == "0/1 nodes fit: 1 has no parent pci/0000:0a:00.0."


@pytest.mark.parametrize(("policy", "left"), [("Retain", [1]), ("Drain", [])])
async def test_a_machine_whose_node_was_deleted_comes_back_and_does_what_the_deletion_policy_says(
    node: Fleet, policy: str, left: list[int]
) -> None:
    template = {"spec": {"flavour": "mlx5", "deletionPolicy": policy}}
    await node.apply_pool(replicas=1, parents=[{"device": "pci/0000:03:00.0"}], template=template)
    await node.until_pool(lambda found: found.status.ready == 1)
    await node.stop_agent()
    await node.remove_node(NODE)
    await node.until_all(lambda there: not there)
    assert node.numbers() == [1], "only objects are cleared away"
    await node.request("DELETE", f"{POOLS}/fast")
    await node.add_machine(NODE, {})
    node.start_agent()
    await node.until(lambda: node.records.read_all().items == {}, "the agent to be done with what it finds")
    assert node.numbers() == left
