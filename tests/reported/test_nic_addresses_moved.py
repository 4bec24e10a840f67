"""PCI addresses move over a reboot: a parent that was asked for by name or by its qualities is looked for anew."""

from pathlib import Path
from typing import Any

import pytest

from rig.cluster import Cluster, cluster, says
from subfunction.api.conditions import ConditionType
from subfunction.api.subfunction import SubFunction
from subfunction_simulator.kernel import Parent, Topology

FIRST, SECOND, ELSEWHERE = "0000:03:00.0", "0000:82:00.0", "0000:04:00.0"
OTHER_SWITCH = "b8599f0300b7e9f0"

ASKED = [
    pytest.param({"netdev": "ens1f0np0"}, id="by netdev"),
    pytest.param({"selector": {"numaNode": 0}}, id="by selector"),
]


def wanted_card(address: str) -> Parent:
    return Parent(bdf=address, netdev="ens1f0np0", numa_node=0)


def other_card(address: str) -> Parent:
    return Parent(bdf=address, netdev="ens2f0np0", numa_node=1, switch_id=OTHER_SWITCH)


async def rebooted(node: Cluster, *cards: Parent) -> None:
    """Boot the node with its cards elsewhere; /run is empty then."""
    await node.stop_agent()
    node.kernel.reboot(Topology(parents=cards))
    for uid in node.records.read_all().items:
        node.records.remove(uid)
    node.start_agent()


async def made(node: Cluster, parent: dict[str, Any]) -> None:
    node.start_agent()
    await node.apply(parent=parent)
    found = await node.until_ready()
    assert found.status.parent == f"pci/{FIRST}"


@pytest.mark.parametrize("parent", ASKED)
async def test_with_two_cards_exchanged_a_sub_function_is_on_the_card_that_was_asked_for(
    root: Path, parent: dict[str, Any]
) -> None:
    async with cluster(root, Topology(parents=(wanted_card(FIRST), other_card(SECOND)))) as node:
        await made(node, parent)
        await rebooted(node, other_card(FIRST), wanted_card(SECOND))
        await node.until(lambda: bool(node.numbers(FIRST) or node.numbers(SECOND)), "it is made anew")
        assert (node.numbers(FIRST), node.numbers(SECOND)) == ([], [1])


@pytest.mark.parametrize("parent", ASKED)
async def test_a_card_that_has_another_address_is_found_again(root: Path, parent: dict[str, Any]) -> None:
    def decided(found: SubFunction) -> bool:
        lost = says(found, ConditionType.READY) == ("False", "ParentNotFound")
        return lost or found.status.parent == f"pci/{ELSEWHERE}"

    async with cluster(root, Topology(parents=(wanted_card(FIRST),))) as node:
        await made(node, parent)
        await rebooted(node, wanted_card(ELSEWHERE))
        found = await node.until_object(decided)
        assert found.status.parent == f"pci/{ELSEWHERE}"


async def test_a_card_that_was_named_by_its_address_is_not_looked_for_elsewhere(root: Path) -> None:
    async with cluster(root, Topology(parents=(wanted_card(FIRST), other_card(SECOND)))) as node:
        await made(node, {"device": f"pci/{FIRST}"})
        await rebooted(node, other_card(FIRST), wanted_card(SECOND))
        await node.until(lambda: bool(node.numbers(FIRST) or node.numbers(SECOND)), "it is made anew")
        assert (node.numbers(FIRST), node.numbers(SECOND)) == ([1], [])
