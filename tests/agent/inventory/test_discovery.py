"""One look at a simulated node: what is a parent, what is foreign, what is loaded."""

from pathlib import Path

import pytest

from rig.survey import survey
from subfunction.api.node import FlavourCapability, ForeignSubFunction, OfferedType, RdmaNamespaces
from subfunction.api.subfunction import Flavour
from subfunction.errors import FamilyMissing
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.bus.driver_binding import override, probe, unbind
from subfunction.kernel.bus.mdev import create, derive_uuid, list_types
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.kernel.sysfs import SysfsTree
from subfunction.kernel.uapi import EswitchMode
from subfunction.state.claims import PortClaim
from subfunction.state.records import Record, State, open_records
from subfunction.state.store import FileStore
from subfunction_operator.agent.inventory.capabilities import capabilities
from subfunction_operator.agent.inventory.discovery import DiscoveredNode, DiscoveredParent, Discovery
from subfunction_operator.agent.inventory.foreign_ports import Numbered
from subfunction_simulator.kernel import MediatedType, Parent, SimulatedKernel, Topology

FIRST, SECOND = Handle.parse("pci/0000:03:00.0"), Handle.parse("pci/0000:82:00.0")
NONE: Numbered = frozenset()


class Site:
    """A simulated kernel, a folder of records, and somebody else's devlink."""

    def __init__(self, root: Path, topology: Topology | None = None) -> None:
        (root / "kernel").mkdir()
        self.kernel = SimulatedKernel(root / "kernel", topology)
        self.sys = root / "kernel" / "sys"
        self.records: FileStore[Record] = open_records(root / "records")
        self.theirs = Devlink(Netlink(self.kernel.transport()))

    def survey(self, named: Numbered = NONE) -> DiscoveredNode:
        devlink = Devlink(Netlink(self.kernel.transport()))
        return survey(Discovery(SysfsTree(self.sys), self.records), devlink, named)

    def parent(self, handle: Handle = FIRST, named: Numbered = NONE) -> DiscoveredParent:
        return next(parent for parent in self.survey(named).parents if parent.function.handle == handle)

    def make(self, number: int, handle: Handle = FIRST) -> int:
        return self.theirs.create_port(handle, pf=0, number=number).index

    def put(self, path: str, text: str = "") -> None:
        (self.sys / path).parent.mkdir(parents=True, exist_ok=True)
        (self.sys / path).write_text(f"{text}\n")


@pytest.fixture
def site(root: Path) -> Site:
    return Site(root)


def test_each_card_is_a_parent_with_its_port_and_its_room(site: Site) -> None:
    first, second = site.survey().parents
    assert (first.function.handle, second.function.handle) == (FIRST, SECOND)
    assert (first.function.driver, first.function.vendor) == ("mlx5_core", "0x15b3")
    assert (first.function.numa_node, second.function.numa_node) == (0, 1)
    assert (first.mode, first.capacity) == (EswitchMode.SWITCHDEV, 128)
    assert first.uplink is not None
    assert (first.uplink.netdev, first.uplink.port_number) == ("enp3s0np0", 0)
    assert (first.virtual_functions, first.types, first.foreign) == ((), (), ())


def test_a_sub_function_of_others_is_foreign_and_shown_as_the_kernel_has_it(site: Site) -> None:
    index = site.make(88)
    assert site.parent().foreign == (ForeignSubFunction(port=index, number=88, state="inactive"),)
    site.theirs.set_function(FIRST, index, FunctionSettings(mac=Mac.parse("02:aa:00:00:00:01")))
    site.theirs.set_active(FIRST, index, active=True)
    (found,) = site.parent().foreign
    assert (found.mac_address, found.state) == ("02:aa:00:00:00:01", "active")
    assert site.parent(SECOND).foreign == ()


def test_what_an_object_or_a_record_names_is_not_foreign(site: Site) -> None:
    site.make(1)
    site.make(2)
    other = site.make(2, SECOND)
    claim = PortClaim(flavour="mlx5", parent=str(FIRST), pf=0, number=1, mac_address="02:00:00:00:00:01")
    record = Record(
        uid="u", name="blue", boot_id="another", state=State.PREPARING, claim=claim, resource="subfunction.dev/mlx5"
    )
    site.records.write("u", record)
    named = frozenset({(str(FIRST), 2)})
    assert site.parent(named=named).foreign == ()
    assert [found.port for found in site.parent(SECOND, named).foreign] == [other]


def test_a_sub_function_that_goes_with_its_record_while_one_looks_is_not_foreign(site: Site) -> None:
    class Going(Devlink):
        """Lets the port be deleted, and its record with it, once it was seen."""

        def ports(self, handle: Handle) -> list[Port]:
            found = super().ports(handle)
            for port in found:
                if port.is_sub_function:
                    site.theirs.delete_port(port.handle, port.index)
            return found

    site.make(1)
    devlink = Going(Netlink(site.kernel.transport()))
    node = survey(Discovery(SysfsTree(site.sys), site.records), devlink)
    assert [parent.foreign for parent in node.parents] == [(), ()]


def test_a_virtual_function_is_listed_with_its_parent_and_is_none_itself(root: Path) -> None:
    site = Site(root, Topology(parents=(Parent(bdf="0000:03:00.0", netdev="enp3s0np0", virtual_functions=2),)))
    (parent,) = site.survey().parents
    assert [(each.index, each.address, each.driver) for each in parent.virtual_functions] == [
        (0, "0000:03:01.0", "mlx5_core"),
        (1, "0000:03:01.1", "mlx5_core"),
    ]
    first, second = (each.group for each in parent.virtual_functions)
    assert None not in {first, second}
    assert first != second
    override(site.kernel.sysfs(), "pci", "0000:03:01.1", "vfio-pci")
    unbind(site.kernel.sysfs(), "pci", "0000:03:01.1", "mlx5_core")
    probe(site.kernel.sysfs(), "pci", "0000:03:01.1")
    assert site.parent().virtual_functions[1].driver == "vfio-pci"


def test_without_an_iommu_a_virtual_function_has_no_group(root: Path) -> None:
    card = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", virtual_functions=1)
    (parent,) = Site(root, Topology(parents=(card,), iommu=False)).survey().parents
    assert [each.group for each in parent.virtual_functions] == [None]


def test_a_mediated_types_capacity_does_not_change_when_one_is_made(root: Path) -> None:
    offers = (MediatedType("mlx5_core-local", available=16),)
    site = Site(root, Topology(parents=(Parent(bdf="0000:03:00.0", netdev="enp3s0np0", mediated_types=offers),)))
    offered = (OfferedType(id="mlx5_core-local", api="vfio-pci", capacity=16),)
    assert site.parent().types == offered
    create(site.kernel.sysfs(), FIRST, "mlx5_core-local", derive_uuid("u"))
    assert [each.available for each in list_types(site.kernel.sysfs(), FIRST)] == [15]
    assert site.parent().types == offered


def test_of_the_drivers_of_a_bus_those_are_told_that_a_flavour_needs(root: Path) -> None:
    site = Site(root, Topology(modules=("virtio_vdpa",)))
    assert site.survey().drivers == {"mlx5_core", "virtio_vdpa"}
    site.kernel.load_module("vfio_pci")
    site.kernel.load_module("mlx5_vdpa")
    site.kernel.unload_module("virtio_vdpa")
    assert site.survey().drivers == {"mlx5_core", "mlx5_vdpa.vnet", "vfio-pci"}


def test_an_ice_card_tells_no_room(root: Path) -> None:
    card = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", driver="ice")
    (parent,) = Site(root, Topology(parents=(card,))).survey().parents
    assert (parent.function.driver, parent.function.vendor, parent.capacity) == ("ice", "0x8086", None)
    assert capabilities(parent, DiscoveredNode())[1] == FlavourCapability(name=Flavour.ICE, possible=True)


def test_an_ice_card_with_sub_functions_in_legacy_mode_is_not_to_be_put_back(root: Path) -> None:
    card = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", driver="ice")
    site = Site(root, Topology(parents=(card,)))
    site.make(7)
    assert not site.parent().stranded
    site.kernel.set_eswitch_mode(FIRST, EswitchMode.LEGACY)
    parent = site.parent()
    assert parent.stranded
    message = capabilities(parent, DiscoveredNode())[1].message
    assert "reboot" in message
    assert "eswitch set" not in message


@pytest.mark.parametrize(("said", "mode"), [("Y", RdmaNamespaces.SHARED), ("N", RdmaNamespaces.EXCLUSIVE)])
def test_the_rdma_mode_is_what_the_kernel_says(site: Site, said: str, mode: RdmaNamespaces) -> None:
    site.put("module/ib_core/parameters/netns_mode", said)
    assert site.survey().rdma is mode


def test_a_card_in_legacy_mode_and_one_that_went_are_told(site: Site) -> None:
    site.kernel.set_eswitch_mode(FIRST, EswitchMode.LEGACY)
    site.kernel.remove_parent(SECOND)
    (parent,) = site.survey().parents
    assert parent.mode is EswitchMode.LEGACY


def test_a_kernel_without_devlink_has_no_parents_and_says_why(root: Path) -> None:
    survey = Site(root, Topology(devlink=False)).survey()
    assert survey.parents == ()
    assert isinstance(survey.missing, FamilyMissing)
