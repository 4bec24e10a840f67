"""Which parent is taken: the one that is named, else the one that fits and has the most room."""

from pathlib import Path
from typing import Any

import pytest

from rig.survey import search
from rig.world import OTHER_PARENT, PARENT, World
from subfunction.api.subfunction import ParentSpec, Status, SubFunction
from subfunction.errors import ParentNotFound, UnsupportedField
from subfunction.kernel.address import Handle
from subfunction.kernel.bus.driver_binding import unbind
from subfunction.kernel.sysfs import SysfsTree
from subfunction.kernel.uapi import EswitchMode
from subfunction_operator.agent.observe.parents import list_candidates, named_parent
from subfunction_simulator.kernel import Parent, Topology

pytestmark = pytest.mark.mlx5("names of cards")


def asks(status: Status | None = None, **parent: Any) -> SubFunction:
    body = {"metadata": {"name": "a", "uid": "a"}, "spec": {"flavour": "mlx5", "parent": parent}}
    made = SubFunction.of(body)
    return made if status is None else SubFunction(metadata=made.metadata, spec=made.spec, status=status)


def found(world: World, wanted: SubFunction) -> Handle:
    return search(wanted, world.devlink, world.sysfs)


@pytest.mark.parametrize(
    ("parent", "handle"),
    [
        ({"device": "pci/0000:82:00.0"}, OTHER_PARENT),
        ({"netdev": "enp130s0np0"}, OTHER_PARENT),
        ({"netdev": "enp3s0np0"}, PARENT),
        ({"selector": {"numaNode": 1}}, OTHER_PARENT),
        ({"selector": {"driver": "mlx5_core", "vendor": "15b3"}}, PARENT),
        ({"selector": {"driver": "mlx5_core", "vendor": "15b3", "numaNode": 1}}, OTHER_PARENT),
    ],
    ids=str,
)
def test_the_parent_that_is_described_is_found(world: World, parent: dict[str, Any], handle: Handle) -> None:
    assert found(world, asks(**parent)) == handle


def test_what_the_status_names_stays_while_it_fits(world: World) -> None:
    shown = Status(parent="pci/0000:82:00.0")
    for number in range(1, 4):
        world.foreign(number, handle=OTHER_PARENT)
    assert found(world, asks(shown, selector={"driver": "mlx5_core"})) == OTHER_PARENT
    assert found(world, asks(shown, selector={"numaNode": 0})) == PARENT


def test_a_parent_whose_driver_is_not_bound_yet_is_waited_for(root: Path) -> None:
    world = World(root)
    unbind(world.sysfs, "pci", "0000:82:00.0", "mlx5_core")
    assert found(world, asks(Status(parent="pci/0000:82:00.0"), selector={"driver": "mlx5_core"})) == OTHER_PARENT
    assert found(world, asks(Status(parent="pci/0000:83:00.0"), selector={"driver": "mlx5_core"})) == PARENT
    assert found(world, asks(selector={"driver": "mlx5_core"})) == PARENT


def test_a_netdev_that_moved_to_another_card_names_that_card(world: World) -> None:
    assert found(world, asks(Status(parent="pci/0000:82:00.0"), netdev="enp3s0np0")) == PARENT


def test_of_those_that_fit_the_one_with_the_most_room_is_taken(world: World) -> None:
    world.foreign(1)
    assert found(world, asks(selector={"driver": "mlx5_core"})) == OTHER_PARENT
    for number in (1, 2):
        world.foreign(number, handle=OTHER_PARENT)
    assert found(world, asks(selector={"driver": "mlx5_core"})) == PARENT


def test_room_is_capacity_less_what_is_used(root: Path) -> None:
    parents = (
        Parent(bdf="0000:03:00.0", netdev="a", capacity=4),
        Parent(bdf="0000:82:00.0", netdev="b", capacity=8),
    )
    world = World(root, Topology(parents=parents))
    for number in range(1, 4):
        world.foreign(number, handle=OTHER_PARENT)
    assert found(world, asks(selector={"driver": "mlx5_core"})) == OTHER_PARENT
    world.foreign(4, handle=OTHER_PARENT)
    assert found(world, asks(selector={"driver": "mlx5_core"})) == PARENT  # a tie goes to the first


@pytest.mark.parametrize(
    "parent",
    [{"netdev": "nosuch0"}, {"netdev": "lo"}, {"selector": {"vendor": "8086"}}, {"selector": {"numaNode": 7}}],
    ids=str,
)
def test_a_parent_that_is_not_there_is_refused_with_what_to_look_at(world: World, parent: dict[str, Any]) -> None:
    with pytest.raises(ParentNotFound) as refused:
        found(world, asks(**parent))
    assert "devlink" in refused.value.hint
    assert refused.value.retry_after is not None


@pytest.mark.parametrize(
    ("slaves", "hint"), [("enp3s0f0np0 enp3s0f1np1\n", "enp3s0f0np0, enp3s0f1np1"), ("\n", "it has none")], ids=str
)
def test_a_bond_is_no_parent_and_its_ports_are_named(tmp_path: Path, slaves: str, hint: str) -> None:
    bonding = tmp_path / "class/net/bond0/bonding"
    bonding.mkdir(parents=True)
    (bonding / "slaves").write_text(slaves)
    with pytest.raises(ParentNotFound, match="bond0 is a bond") as refused:
        list_candidates(asks(netdev="bond0"), SysfsTree(tmp_path))
    assert hint in refused.value.hint


def test_a_selector_that_fits_nothing_says_what_there_is(world: World) -> None:
    with pytest.raises(ParentNotFound, match=r"pci/0000:03:00\.0, pci/0000:82:00\.0"):
        found(world, asks(selector={"vendor": "8086"}))


def test_a_sub_functions_own_netdev_is_no_parent(world: World) -> None:
    world.apply()
    world.settle()
    with pytest.raises(ParentNotFound):
        found(world, asks(netdev=world.record().env["SUBFUNCTION_NETDEV"]))


@pytest.mark.parametrize("parent", [{}, {"device": "nonsense"}], ids=["none", "no handle"])
def test_a_spec_that_names_no_parent_is_refused(world: World, parent: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedField):
        found(world, asks(**parent))


def test_only_a_device_is_known_without_a_look_and_where_one_that_goes_was() -> None:
    assert named_parent(asks(device="pci/0000:03:00.0")) == PARENT
    assert named_parent(asks(Status(parent="pci/0000:82:00.0"), netdev="enp3s0np0")) is None
    assert named_parent(asks(Status(parent="pci/0000:82:00.0"), netdev="enp3s0np0"), deleting=True) == OTHER_PARENT
    assert named_parent(asks(netdev="enp3s0np0")) is None
    assert asks(netdev="x").spec.parent == ParentSpec(netdev="x")


def test_a_parent_that_cannot_make_any_now_comes_after_one_that_can(root: Path) -> None:
    parents = (
        Parent(bdf="0000:03:00.0", netdev="a", capacity=100, mode=EswitchMode.LEGACY),
        Parent(bdf="0000:82:00.0", netdev="b", capacity=8),
    )
    assert found(World(root, Topology(parents=parents)), asks(selector={"driver": "mlx5_core"})) == OTHER_PARENT


def test_a_selector_never_finds_a_parent_of_another_flavours_driver(world: World) -> None:
    with pytest.raises(ParentNotFound):
        found(world, asks(selector={"driver": "ice"}))


def test_a_virtual_function_is_no_parent_though_it_has_a_devlink_instance(root: Path) -> None:
    card = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", mode=EswitchMode.LEGACY, virtual_functions=2)
    assert found(World(root, Topology(parents=(card,))), asks(selector={"vendor": "15b3"})) == PARENT
