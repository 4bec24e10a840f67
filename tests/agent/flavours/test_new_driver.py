"""A third vendor's driver: one profile, and nothing else in the agent knows it (`docs/adding-a-driver.md`)."""

import dataclasses
from pathlib import Path

import pytest

from rig.survey import survey
from rig.world import World
from subfunction.api.subfunction import Flavour
from subfunction.errors import ParentNotFound
from subfunction_operator.agent.flavours.drivers import DRIVERS, DriverProfile, drivers_for
from subfunction_operator.agent.inventory.capabilities import capabilities
from subfunction_operator.agent.inventory.discovery import Discovery, drivers_by_bus
from subfunction_operator.agent.model.decision import Settled
from subfunction_simulator.kernel import Parent, Topology
from subfunction_simulator.kernel.driver_traits import DRIVER_TRAITS, ICE

ACME = "acme_eth"
CARD = Topology(parents=(Parent(bdf="0000:03:00.0", netdev="ens1f0np0", driver=ACME),))
PROFILE = DriverProfile(name=ACME, flavour_modules={Flavour.ICE: "acme_eth acme_sf"}, vfio_driver="acme_vfio_pci")


@pytest.fixture
def world(root: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a node with such a card; both tables are open to entries, the product's and the simulated kernel's."""
    traits = dataclasses.replace(ICE, driver=ACME, virtual_driver="acme_vf", vendor="0xacce", device="0x0001")
    monkeypatch.setitem(DRIVER_TRAITS, ACME, traits)
    return World(root, CARD)


def test_without_a_profile_its_parent_is_refused_by_the_drivers_name(world: World) -> None:
    world.apply(flavour="ice")
    error = world.settle().error
    assert isinstance(error, ParentNotFound)
    assert f"is driven by {ACME}, and flavour ice needs ice" in str(error)


def test_with_its_profile_a_sub_function_is_made_published_and_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DRIVERS, ACME, PROFILE)
    world.apply(flavour="ice")
    result = world.settle()
    assert result.error is None, result.error
    assert result.decision == Settled()
    assert world.record().device_id.startswith(f"{ACME}.sf.")
    assert world.offered()
    world.delete()
    world.settle()
    assert world.port_numbers() == []


def test_with_its_profile_the_nodes_inventory_names_the_flavour_as_possible(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DRIVERS, ACME, PROFILE)
    node = survey(Discovery(world.sysfs, world.records), world.devlink)
    [parent] = node.parents
    possible = {each.name: each.possible for each in capabilities(parent, node)}
    assert possible == {Flavour.MLX5: False, Flavour.ICE: True, Flavour.VIRTIO: False, Flavour.VFIO: False}
    assert ACME in node.drivers
    assert {ACME, "acme_vfio_pci"} <= drivers_by_bus()["pci"]


def test_what_to_load_for_a_function_without_a_driver_is_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DRIVERS, ACME, PROFILE)
    world.kernel.hardware.auxiliary.unregister(f"{ACME}.sf")
    world.apply(flavour="ice")
    decision = world.settle().decision
    assert "modprobe acme_eth acme_sf" in getattr(decision, "hint", "")


def test_each_flavour_but_vfio_has_a_driver_that_makes_it() -> None:
    without = {flavour for flavour in Flavour if not drivers_for(flavour)}
    assert without == {Flavour.VFIO}, "a flavour without a profile would be accepted on any driver"
