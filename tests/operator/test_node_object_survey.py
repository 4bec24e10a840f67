"""One look at a simulated node: what is a parent, what is foreign, what is loaded."""

from pathlib import Path

import pytest

from subfunction.api_node import ForeignSubFunction, OfferedFunction, OfferedType, RdmaNamespaces
from subfunction.errors import FamilyMissing
from subfunction.folder import Folder
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.kernel.sysfs import SysfsTree
from subfunction.kernel.uapi import EswitchMode
from subfunction.records import PortClaim, Record, State, records
from subfunction_operator.survey import Numbered, Survey, SurveyedParent, Surveyor
from subfunction_simulator.kernel import SimulatedKernel, Topology

FIRST, SECOND = Handle.parse("pci/0000:03:00.0"), Handle.parse("pci/0000:82:00.0")
NONE: Numbered = frozenset()


class Site:
    """A simulated kernel, a folder of records, and somebody else's devlink."""

    def __init__(self, root: Path, topology: Topology | None = None) -> None:
        (root / "kernel").mkdir()
        self.kernel = SimulatedKernel(root / "kernel", topology)
        self.sys = root / "kernel" / "sys"
        self.records: Folder[Record] = records(root / "records")
        self.theirs = Devlink(Netlink(self.kernel.transport()))

    def survey(self, named: Numbered = NONE) -> Survey:
        devlink = Devlink(Netlink(self.kernel.transport()))
        return Surveyor(SysfsTree(self.sys), self.records).look(devlink, named)

    def parent(self, handle: Handle = FIRST, named: Numbered = NONE) -> SurveyedParent:
        return next(parent for parent in self.survey(named).parents if parent.function.handle == handle)

    def make(self, number: int, handle: Handle = FIRST) -> int:
        return self.theirs.new_port(handle, pf=0, number=number).index

    def put(self, path: str, text: str = "") -> None:
        (self.sys / path).parent.mkdir(parents=True, exist_ok=True)
        (self.sys / path).write_text(f"{text}\n")

    def link(self, path: str, target: str) -> None:
        (self.sys / target).mkdir(parents=True, exist_ok=True)
        (self.sys / path).parent.mkdir(parents=True, exist_ok=True)
        (self.sys / path).symlink_to(self.sys / target)

    def place(self, handle: Handle) -> str:
        """Give the directory of a card's device."""
        return str((self.sys / handle.path).resolve().relative_to(self.sys.resolve()))


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

        def ports(self, handle: Handle | None = None) -> list[Port]:
            found = super().ports(handle)
            for port in found:
                if port.is_sub_function:
                    site.theirs.delete_port(port.handle, port.index)
            return found

    site.make(1)
    devlink = Going(Netlink(site.kernel.transport()))
    survey = Surveyor(SysfsTree(site.sys), site.records).look(devlink, NONE)
    assert [parent.foreign for parent in survey.parents] == [(), ()]


def test_a_virtual_function_is_listed_with_its_parent_and_is_none_itself(site: Site) -> None:
    card = site.place(FIRST)
    site.link(f"{site.place(SECOND)}/physfn", card)
    site.link(f"{card}/virtfn1", "devices/vf1")
    site.link(f"{card}/virtfn0", "devices/vf0")
    site.link("devices/vf0/driver", "bus/pci/drivers/vfio-pci")
    site.link("devices/vf0/iommu_group", "kernel/iommu_groups/42")
    (parent,) = site.survey().parents
    assert parent.virtual_functions == (
        OfferedFunction(index=0, address="vf0", driver="vfio-pci", group=42),
        OfferedFunction(index=1, address="vf1"),
    )


def test_a_mediated_types_capacity_does_not_change_when_one_is_made(site: Site) -> None:
    local = f"class/mdev_bus/{FIRST.device}/mdev_supported_types/mlx5_core-local"
    site.put(f"{local}/available_instances", "16")
    site.put(f"{local}/device_api", "vfio-pci")
    (site.sys / local / "devices").mkdir()
    offered = (OfferedType(id="mlx5_core-local", api="vfio-pci", capacity=16),)
    assert site.parent().types == offered
    site.put(f"{local}/available_instances", "15")
    site.link(f"{local}/devices/9a1b", "devices/9a1b")
    assert site.parent().types == offered
    assert site.parent(SECOND).types == ()


def test_of_the_drivers_of_a_bus_those_are_told_that_a_flavour_needs(site: Site) -> None:
    for path in ("pci/drivers/mlx5_vfio_pci", "pci/drivers/ahci", "vdpa/drivers/vhost_vdpa"):
        (site.sys / "bus" / path).mkdir(parents=True, exist_ok=True)
    found = site.survey().drivers
    assert found >= {"mlx5_core", "mlx5_vfio_pci", "vhost_vdpa"}
    assert "ahci" not in found


@pytest.mark.parametrize(("said", "mode"), [("Y", RdmaNamespaces.SHARED), ("N", RdmaNamespaces.EXCLUSIVE)])
def test_the_rdma_mode_is_what_the_kernel_says(site: Site, said: str, mode: RdmaNamespaces) -> None:
    site.put("module/ib_core/parameters/netns_mode", said)
    assert site.survey().rdma is mode


def test_vfio_without_an_iommu_is_told(site: Site) -> None:
    assert not site.survey().without_iommu
    site.put("module/vfio/parameters/enable_unsafe_noiommu_mode", "Y")
    assert site.survey().without_iommu


def test_a_card_in_legacy_mode_and_one_that_went_are_told(site: Site) -> None:
    site.kernel.nic(FIRST).set_eswitch_mode(EswitchMode.LEGACY)
    site.kernel.remove_parent(SECOND)
    (parent,) = site.survey().parents
    assert parent.mode is EswitchMode.LEGACY


def test_a_kernel_without_devlink_has_no_parents_and_says_why(root: Path) -> None:
    survey = Site(root, Topology(devlink=False)).survey()
    assert survey.parents == ()
    assert isinstance(survey.missing, FamilyMissing)
