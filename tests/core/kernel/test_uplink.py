"""Where a parent's physical port is found, and what is not taken for it."""

import dataclasses
from pathlib import Path

import pytest

from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.port import Port
from subfunction.kernel.sysfs import SysfsTree
from subfunction.kernel.uapi import PortFlavour
from subfunction.kernel.uplink import find_uplink
from subfunction_simulator.kernel import Parent, SimulatedKernel, Topology

PARENT = Handle("pci", "0000:05:00.0")
CHILD = Handle("auxiliary", "mlx5_core.eth.0")
DIRECTORY = "devices/pci0000:00/0000:05:00.0"


class Shown(Devlink):
    """A kernel's ports, and the instances that they were asked of."""

    def __init__(self, *ports: Port) -> None:
        self._ports = ports
        self.asked: list[Handle] = []

    def ports(self, handle: Handle) -> list[Port]:
        self.asked.append(handle)
        return [port for port in self._ports if port.handle == handle]


@pytest.fixture
def sysfs(tmp_path: Path) -> SysfsTree:
    """Show a PCI function with the auxiliary devices that mlx5 makes, of the sub-function 1 too."""
    for child in ("mlx5_core.eth-rep.0", "mlx5_core.eth.0", "mlx5_core.rdma.0", "mlx5_core.sf.1/mlx5_core.eth.1"):
        (tmp_path / DIRECTORY / child).mkdir(parents=True)
    (tmp_path / "bus/pci/devices").mkdir(parents=True)
    (tmp_path / PARENT.path).symlink_to(f"../../../{DIRECTORY}")
    return SysfsTree(tmp_path)


PHYSICAL = Port(handle=PARENT, index=0xFFFF, flavour=PortFlavour.PHYSICAL, port_number=0)


def test_a_parents_own_physical_port_is_its_uplink(sysfs: SysfsTree) -> None:
    devlink = Shown(Port(handle=PARENT, index=0x8000, flavour=PortFlavour.PCI_SF), PHYSICAL)
    assert find_uplink(devlink, sysfs, PARENT) == PHYSICAL
    assert devlink.asked == [PARENT]


def test_else_the_physical_port_of_its_ethernet_device_is(sysfs: SysfsTree) -> None:
    nested = dataclasses.replace(PHYSICAL, handle=CHILD)
    devlink = Shown(Port(handle=PARENT, index=0x8000, flavour=PortFlavour.PCI_SF), nested)
    assert find_uplink(devlink, sysfs, PARENT) == nested
    assert devlink.asked == [PARENT, CHILD]


def test_no_other_port_is_an_uplink(sysfs: SysfsTree) -> None:
    devlink = Shown(
        Port(handle=PARENT, index=1, flavour=PortFlavour.PCI_VF, vf=0),
        Port(handle=PARENT, index=2, flavour=PortFlavour.PHYSICAL, controller=1),
        Port(handle=CHILD, index=3, flavour=PortFlavour.VIRTUAL),
        Port(handle=Handle("auxiliary", "mlx5_core.eth.1"), index=4, flavour=PortFlavour.PHYSICAL),
    )
    assert find_uplink(devlink, sysfs, PARENT) is None
    assert devlink.asked == [PARENT, CHILD]


def test_a_parent_that_is_gone_has_no_uplink(tmp_path: Path) -> None:
    assert find_uplink(Shown(), SysfsTree(tmp_path), PARENT) is None


def test_ice_has_its_uplink_on_the_pci_function(tmp_path: Path) -> None:
    kernel = SimulatedKernel(tmp_path, Topology(parents=(Parent(bdf="0000:05:00.0", netdev="p0", driver="ice"),)))
    port = find_uplink(Devlink(Netlink(kernel.transport())), kernel.sysfs(), PARENT)
    assert port is not None
    assert (port.handle, port.netdev, port.port_number) == (PARENT, "p0", 0)
