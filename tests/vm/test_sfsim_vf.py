"""Virtual functions: their ports on the PF, the driver they have, and VFIO with the whole IOMMU group."""

import errno
import json
import time
from collections.abc import Iterator

import pytest

from conftest import loaded
from harness.holder import release, vfio_held
from harness.machine import Machine
from harness.sfsim import Sfsim

pytestmark = pytest.mark.ground("sfsim mlx5")

PCI = "0000:41:00.0"
CARD = f"pci/{PCI}"
SHARED = ("0000:05:00.0", "0000:05:00.1")
VFIO = "python /src/tests/vm/programs/vfio.py"


@pytest.fixture
def nic(iommu_machine: Machine) -> Iterator[Sfsim]:
    with loaded(iommu_machine, switchdev=1) as sfsim:
        yield sfsim


def test_each_virtual_function_has_a_port_with_its_attributes(nic: Sfsim) -> None:
    addresses = nic.virtual_functions(PCI).make(2)
    ports = nic.ports("pcivf")
    assert [(port["pfnum"], port["vfnum"], port["controller"]) for port in ports.values()] == [(0, 0, 0), (0, 1, 0)]
    handle = next(iter(ports))
    nic.set(handle, "hw_addr", "00:00:00:00:77:77", "migratable", "enable", "roce", "disable", "max_io_eqs", "4")
    nic.set(handle, "ipsec_crypto", "enable", "ipsec_packet", "enable")
    assert nic.port(handle)["function"] == {
        "hw_addr": "00:00:00:00:77:77", "roce": "disable", "migratable": "enable", "ipsec_crypto": "enable",
        "ipsec_packet": "enable", "max_io_eqs": 4,
    }  # fmt: skip
    representor = nic.port(handle)["netdev"]
    assert nic.machine.run(f"cat /sys/class/net/{representor}/phys_port_name").stdout == "pf0vf0\n"
    # The driver takes the address at its next probe.
    vfs = nic.virtual_functions(PCI)
    vfs.bind(addresses[0], "mlx5_core")
    assert nic.machine.run(f"cat /sys/bus/pci/devices/{addresses[0]}/net/*/address").stdout == "00:00:00:00:77:77\n"


def test_in_legacy_mode_they_have_no_ports(nic: Sfsim) -> None:
    nic.virtual_functions(PCI).make(1)
    nic.machine.run(f"devlink dev eswitch set {CARD} mode legacy")
    assert nic.ports("pcivf") == {}
    nic.machine.run(f"devlink dev eswitch set {CARD} mode switchdev")
    assert len(nic.ports("pcivf")) == 1


def test_frames_pass_between_a_virtual_function_and_its_representor(nic: Sfsim) -> None:
    (address,) = nic.virtual_functions(PCI).make(1)
    (port,) = nic.ports("pcivf").values()
    nic.machine.run(
        f"set -e; ip netns add pod; ip link set $(ls /sys/bus/pci/devices/{address}/net) netns pod name pod0\n"
        "ip netns exec pod ip address add 192.0.2.2/24 dev pod0; ip netns exec pod ip link set pod0 up\n"
        f"ip address add 192.0.2.1/24 dev {port['netdev']}; ip link set {port['netdev']} up\n"
        "ping -c 1 -W 5 192.0.2.2; ip netns del pod"
    )


def test_a_virtual_function_is_given_to_vfio_and_back(nic: Sfsim) -> None:
    vfs = nic.virtual_functions(PCI)
    first, second = vfs.make(2)
    assert vfs.driver(first) == "mlx5_core"
    assert vfs.group_members(vfs.group(first)) == (first,)
    vfs.bind(first, "vfio-pci")
    assert vfs.driver(first) == "vfio-pci"
    said = json.loads(nic.machine.run(f"{VFIO} {vfs.group(first)} {first}").stdout)
    assert said["pci"]
    assert vfs.driver(second) == "mlx5_core"
    vfs.bind(first, "")
    assert vfs.driver(first) == "mlx5_core"


def test_a_function_that_shares_its_group_is_not_viable_until_all_are_given(nic: Sfsim) -> None:
    vfs = nic.virtual_functions(SHARED[0])
    group = vfs.group(SHARED[0])
    assert vfs.group_members(group) == SHARED
    vfs.bind(SHARED[1], "vfio-pci")
    assert "the group is not viable" in nic.refusal(f"{VFIO} {group} {SHARED[1]}")
    vfs.bind(SHARED[0], "vfio-pci")
    nic.machine.run(f"{VFIO} {group} {SHARED[1]}")
    for address in SHARED:
        vfs.bind(address, "")
    assert {vfs.driver(address) for address in SHARED} == {"mlx5_core"}


def test_without_its_driver_loaded_vfio_binds_nothing(nic: Sfsim) -> None:
    vfs = nic.virtual_functions(PCI)
    (address,) = vfs.make(1)
    nic.machine.run("rmmod vfio_pci")
    try:
        nic.machine.run(
            f"cd /sys/bus/pci/devices/{address}; echo vfio-pci > driver_override; echo {address} > driver/unbind; "
            f"echo {address} > /sys/bus/pci/drivers_probe"
        )
        assert vfs.driver(address) is None
        assert nic.machine.run("test -e /sys/bus/pci/drivers/vfio-pci", check=False).code == 1
    finally:
        nic.machine.run("modprobe vfio-pci")


def test_unbinding_waits_for_whoever_has_the_function_open(nic: Sfsim) -> None:
    vfs = nic.virtual_functions(PCI)
    (address,) = vfs.make(1)
    vfs.bind(address, "vfio-pci")
    with vfio_held(nic.machine, vfs.group(address), address) as holder:
        unbinding = nic.machine.spawn(f"echo {address} > /sys/bus/pci/drivers/vfio-pci/unbind", name="unbind-vf")
        time.sleep(0.5)
        assert unbinding.alive()
        nic.machine.run("devlink dev show; ip link", timeout=5)
        release(holder)
        unbinding.wait()
    vfs.bind(address, "")


def test_taking_them_away_and_unbinding_the_pf_leave_nothing(nic: Sfsim) -> None:
    before = nic.listing()
    nic.virtual_functions(PCI).make(4)
    nic.virtual_functions(PCI).make(0)
    assert nic.listing() == before
    nic.virtual_functions(PCI).make(4)
    nic.machine.run(f"cd /sys/bus/pci/drivers/mlx5_core; echo {PCI} > unbind; echo {PCI} > bind")
    assert nic.virtual_functions(PCI).addresses() == ()


def test_an_injected_failure_makes_none(nic: Sfsim) -> None:
    nic.fail_next(PCI, "sriov", errno.ENOMEM)
    said = nic.refusal(f"bash -c 'echo 2 > /sys/bus/pci/devices/{PCI}/sriov_numvfs'")
    assert "Cannot allocate memory" in said
    assert nic.ports("pcivf") == {}


def test_an_ice_virtual_function_has_an_address_and_no_more(iommu_machine: Machine) -> None:
    with loaded(iommu_machine, switchdev=1, personality="ice") as nic:
        (address,) = nic.virtual_functions(PCI).make(1)
        assert nic.virtual_functions(PCI).driver(address) == "ice"
        (port,) = nic.ports("pcivf").values()
        assert port["function"] == {"hw_addr": "00:00:00:00:00:00"}
        said = nic.refusal(f"devlink dev eswitch set {CARD} mode legacy")
        assert "Error: ice: Changing eswitch mode is allowed only if there is no VFs created" in said
