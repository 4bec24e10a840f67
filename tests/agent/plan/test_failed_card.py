"""A card whose firmware meets a fatal error: named while it lasts, and its sub-functions are the same afterwards."""

from pathlib import Path

import pytest

from rig.cluster import Cluster, cluster, says
from rig.survey import survey
from rig.verdicts import assert_ready
from rig.world import OTHER_PARENT, PARENT, World, derived
from subfunction.api.conditions import ConditionType
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Flavour
from subfunction.errors import CardFailed, NotSwitchdev
from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import EswitchMode
from subfunction_operator.agent.inventory.capabilities import capabilities
from subfunction_operator.agent.inventory.discovery import Discovery

pytestmark = pytest.mark.mlx5
RECOVER = f"devlink health recover {PARENT} reporter fw_fatal"
SECOND = 1.0


@pytest.mark.parametrize("unload", [True, False], ids=["given up", "left as it was"])
@pytest.mark.parametrize("ready", [True, False], ids=["ready before", "new"])
def test_it_is_failed_and_not_merely_in_legacy_mode(world: World, *, unload: bool, ready: bool) -> None:
    world.apply()
    if ready:
        assert_ready(world, world.settle(), 1, derived())
    world.kernel.fail_card(PARENT, unload=unload)
    error = world.settle().error
    assert isinstance(error, CardFailed)
    assert RECOVER in error.hint
    assert not world.offered()
    allocatable = world.objects["uid-blue"].status.condition(ConditionType.ALLOCATABLE)
    assert allocatable is not None
    assert allocatable.status == "False"


def test_the_driver_that_recovered_it_is_in_legacy_mode_and_then_all_is_as_before(world: World) -> None:
    world.apply()
    assert_ready(world, world.settle(), 1, derived())
    world.kernel.fail_card(PARENT)
    world.settle()
    world.kernel.recover_card(PARENT)
    assert isinstance(world.settle().error, NotSwitchdev)
    world.kernel.set_eswitch_mode(PARENT, EswitchMode.SWITCHDEV)
    assert_ready(world, world.settle(), 1, derived())


@pytest.mark.parametrize("unload", [True, False], ids=["given up", "left as it was"])
def test_its_node_names_it_and_the_other_card_can_make_some(world: World, *, unload: bool) -> None:
    def judged(handle: Handle) -> tuple[bool, Reason | None]:
        node = survey(Discovery(world.sysfs, world.records), world.devlink)
        (parent,) = (each for each in node.parents if each.function.handle == handle)
        flavour = next(each for each in capabilities(parent, node) if each.name is Flavour.MLX5)
        return flavour.possible, flavour.reason

    assert judged(PARENT) == (True, None)
    world.kernel.fail_card(PARENT, unload=unload)
    assert judged(PARENT) == (False, Reason.CARD_FAILED)
    assert judged(OTHER_PARENT) == (True, None)
    world.kernel.recover_card(PARENT)
    assert judged(PARENT) == (False, Reason.NOT_SWITCHDEV)


async def until_refused(node: Cluster, reason: Reason) -> None:
    wanted = ("False", str(reason))
    await node.until_object(lambda seen: says(seen, ConditionType.READY) == wanted, within=SECOND)


@pytest.mark.parametrize("unload", [True, False], ids=["given up", "left as it was"])
async def test_its_object_says_so_within_a_second_and_again_when_it_is_back(root: Path, *, unload: bool) -> None:
    async with cluster(root) as node:
        node.start_agent()
        await node.apply()
        before = await node.until_ready()
        node.kernel.fail_card(PARENT, unload=unload)
        await until_refused(node, Reason.CARD_FAILED)
        node.kernel.recover_card(PARENT)
        await until_refused(node, Reason.NOT_SWITCHDEV)
        node.kernel.set_eswitch_mode(PARENT, EswitchMode.SWITCHDEV)
        after = await node.until_ready(within=2 * SECOND)
        assert (after.status.number, after.status.mac_address) == (before.status.number, before.status.mac_address)
