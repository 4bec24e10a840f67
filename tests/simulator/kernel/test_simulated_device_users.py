"""Devices of the simulated kernel that a user has open: what waits for them, and what goes on meanwhile."""

import asyncio
import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contract.instruments import WholeDevlink, WholeVdpa, find_mediated, find_vdpa

from subfunction.errors import KernelError, NumberTaken, StillAttached
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.bus import driver_binding
from subfunction.kernel.bus.mdev import create as create_mediated
from subfunction.kernel.bus.mdev import remove as remove_mediated
from subfunction.kernel.bus.vdpa import VdpaSettings
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import UnixTransport
from subfunction.kernel.sysfs import SysfsTree
from subfunction.kernel.uapi import EswitchMode
from subfunction_simulator.kernel import MediatedType, Parent, SimulatedKernel, Timing, Topology
from subfunction_simulator.kernel.server import running
from subfunction_simulator.kernel.topology import TWO_CARDS

FIRST, SECOND = (parent.handle for parent in TWO_CARDS)
MAC = Mac.parse("02:00:00:00:88:88")
UUID = "83b8f4f2-509f-482f-a1e9-b7a1b7e3a7d5"
NODE = "vhost-vdpa-0"
UPLINK = Handle("auxiliary", "mlx5_core.eth.0")


@pytest.fixture
def kernel(tmp_path: Path) -> SimulatedKernel:
    return SimulatedKernel(tmp_path)


def asking(kernel: SimulatedKernel) -> Netlink:
    """Open sockets of one's own: a request that waits keeps them."""
    return Netlink(kernel.transport())


def make(kernel: SimulatedKernel, name: str = "vd0", number: int = 88, handle: Handle = FIRST) -> Handle:
    """Make a function with a vDPA device on it, bound to vhost_vdpa, and give its instance."""
    devlink = WholeDevlink(asking(kernel))
    index = devlink.create_port(handle, pf=0, number=number).index
    devlink.set_active(handle, index, active=True)
    kernel.settle()
    port = devlink.port(handle, index)
    assert port is not None
    assert port.function is not None
    assert port.function.instance is not None
    instance = port.function.instance
    devlink.set_parameter(instance, "enable_vnet", value=True)
    devlink.reload(instance)
    WholeVdpa(asking(kernel)).add(name, instance, VdpaSettings(mac=MAC))
    return instance


def unbound(kernel: SimulatedKernel, name: str = "vd0") -> bool:
    """Whether a device has no driver any more, or is not on its bus any more."""
    device = find_vdpa(kernel.sysfs(), name)
    return device is None or device.driver is None


class Caller:
    """A caller asks the kernel, in a thread of its own."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self._thread = threading.Thread(target=ask, daemon=True)
        self._thread.start()

    def answered(self, *, within: float = 10) -> bool:
        self._thread.join(within)
        return not self._thread.is_alive()

    @property
    def waits(self) -> bool:
        return not self.answered(within=0.05)


def until(good: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not good():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_vhost_device_is_opened_by_one_at_a_time(kernel: SimulatedKernel) -> None:
    make(kernel)
    with kernel.hold_open(NODE), pytest.raises(OSError, match="busy") as refused:
        kernel.hold_open(NODE)
    assert refused.value.errno == errno.EBUSY
    with pytest.raises(FileNotFoundError):
        kernel.hold_open("vhost-vdpa-1")
    kernel.hold_open(NODE).close()


def test_an_unbind_takes_link_and_node_at_once_and_the_writer_waits_alone(kernel: SimulatedKernel) -> None:
    make(kernel)
    held = kernel.hold_open(NODE)
    writer = Caller(lambda: driver_binding.unbind(kernel.sysfs(), "vdpa", "vd0", "vhost_vdpa"))
    until(lambda: unbound(kernel))
    until(lambda: not (kernel.root / "dev" / NODE).exists())
    until(lambda: kernel.sysfs().resolve(f"bus/vdpa/devices/vd0/{NODE}") is None)
    assert WholeVdpa(asking(kernel)).config("vd0") is not None
    assert len(WholeDevlink(asking(kernel)).instances()) == 5  # two cards, their Ethernet, and the function
    # A writer to the device's own attributes waits for its lock.
    other = Caller(lambda: driver_binding.override(kernel.sysfs(), "vdpa", "vd0", "virtio_vdpa"))
    assert writer.waits
    assert other.waits
    held.close()
    assert writer.answered()
    assert other.answered()


def test_the_number_of_a_node_is_free_only_when_its_user_is_gone(kernel: SimulatedKernel) -> None:
    make(kernel)
    with kernel.hold_open(NODE):
        kernel.unbind_vdpa("vd0")
        make(kernel, "vd1", 89)
        assert (kernel.root / "dev" / "vhost-vdpa-1").exists()
    driver_binding.probe(kernel.sysfs(), "vdpa", "vd0")
    assert (kernel.root / "dev" / NODE).exists()


def test_a_deletion_that_waits_stops_vdpa_and_every_look_up_of_a_family_but_not_devlink(
    kernel: SimulatedKernel,
) -> None:
    make(kernel)
    make(kernel, "vd1", 89)
    devlink = WholeDevlink(asking(kernel))
    devlink.instances()  # the family's number is known from now on
    held = kernel.hold_open(NODE)
    deleting = Caller(lambda: WholeVdpa(asking(kernel)).delete("vd0"))
    until(lambda: unbound(kernel))
    showing = Caller(lambda: WholeVdpa(asking(kernel)).config("vd1"))
    starting = Caller(lambda: asking(kernel).family("devlink"))
    assert deleting.waits
    assert showing.waits
    assert starting.waits
    assert len(devlink.all_ports()) > 2
    held.close()
    assert deleting.answered()
    assert showing.answered()
    assert starting.answered()
    assert find_vdpa(kernel.sysfs(), "vd0") is None


def test_a_device_that_is_deleted_while_open_is_off_its_bus_at_once_and_stands_until_it_is_closed(
    kernel: SimulatedKernel,
) -> None:
    make(kernel)
    device = find_vdpa(kernel.sysfs(), "vd0")
    assert device is not None
    with kernel.hold_open(NODE):
        deleting = Caller(lambda: WholeVdpa(asking(kernel)).delete("vd0"))
        until(lambda: kernel.sysfs().resolve("bus/vdpa/devices/vd0") is None)
        assert deleting.waits
        assert kernel.sysfs().inode(device.path) == device.inode
        assert kernel.sysfs().target(f"{device.path}/driver") is None
        with pytest.raises(KernelError, match="No such device"):
            driver_binding.probe(kernel.sysfs(), "vdpa", "vd0")
    assert deleting.answered()
    assert kernel.sysfs().resolve(device.path) is None


def test_a_device_whose_function_goes_while_it_is_open_is_off_its_bus_at_once(kernel: SimulatedKernel) -> None:
    make(kernel)
    device = find_vdpa(kernel.sysfs(), "vd0")
    assert device is not None
    (port,) = [port for port in WholeDevlink(asking(kernel)).ports(FIRST) if port.is_sub_function]
    with kernel.hold_open(NODE):
        WholeDevlink(asking(kernel)).set_active(FIRST, port.index, active=False)
        kernel.settle()
        assert find_vdpa(kernel.sysfs(), "vd0") is None
        assert kernel.sysfs().inode(device.path) == device.inode
    assert kernel.sysfs().resolve(device.path) is None


def test_a_function_whose_device_is_open_stays_attached_until_it_is_closed(kernel: SimulatedKernel) -> None:
    instance = make(kernel)
    devlink = WholeDevlink(asking(kernel))
    devlink.create_port(SECOND, pf=0, number=89)
    (port,) = [port for port in devlink.ports(FIRST) if port.is_sub_function]
    held = kernel.hold_open(NODE)
    devlink.set_active(FIRST, port.index, active=False)  # is answered: the worker waits
    kernel.settle()
    seen = devlink.port(FIRST, port.index)
    assert seen is not None
    assert seen.function is not None
    assert (seen.function.active, seen.function.attached) == (False, True)
    # The worker holds the instance, and the lock of vDPA.
    everything = Caller(lambda: WholeDevlink(asking(kernel)).instances())
    vdpa = Caller(lambda: WholeVdpa(asking(kernel)).management_devices())
    assert everything.waits
    assert vdpa.waits
    assert [port.number for port in devlink.ports(SECOND)] == [89]
    held.close()
    assert everything.answered()
    assert vdpa.answered()
    assert instance not in devlink.instances()
    seen = devlink.port(FIRST, port.index)
    assert seen is not None
    assert seen.function is not None
    assert not seen.function.attached


def test_a_function_that_cannot_go_holds_up_those_whose_slot_is_equal_modulo_8(kernel: SimulatedKernel) -> None:
    make(kernel)
    held = kernel.hold_open(NODE)
    devlink = WholeDevlink(asking(kernel))
    (held_up,) = [port for port in devlink.ports(FIRST) if port.is_sub_function]
    devlink.set_active(FIRST, held_up.index, active=False)
    kernel.settle()
    ports = [devlink.create_port(FIRST, pf=0, number=number) for number in range(1, 10)]
    for port in ports:
        devlink.set_active(FIRST, port.index, active=True)
    kernel.settle()
    assert [number for number in range(1, 10) if not kernel.sub_function(FIRST, number).attached] == [8]
    held.close()
    assert kernel.sub_function(FIRST, 8).attached


@pytest.mark.parametrize("how", ["deactivated", "deleted"])
def test_a_dump_of_everything_waits_while_a_function_cannot_go_and_whoever_asks_for_one_thing_does_not(
    kernel: SimulatedKernel, how: str
) -> None:
    instance = make(kernel)
    devlink = WholeDevlink(asking(kernel))
    (port,) = devlink.ports(FIRST)
    other = devlink.create_port(FIRST, pf=0, number=89)
    held = kernel.hold_open(NODE)
    if how == "deleted":
        devlink.delete_port(FIRST, port.index)
    else:
        devlink.set_active(FIRST, port.index, active=False)
    kernel.settle()
    everything = [Caller(devlink_of(kernel).all_ports), Caller(devlink_of(kernel).instances)]
    dying = [Caller(lambda: devlink_of(kernel).ports(instance))]
    dying.append(Caller(lambda: devlink_of(kernel).parameter(instance, "enable_eth")))
    assert all(caller.waits for caller in (*everything, *dying))
    assert other.index in [port.index for port in devlink.ports(FIRST)]
    assert [port.netdev for port in devlink.ports(UPLINK)] == ["enp3s0np0"]
    assert devlink.port(FIRST, other.index) == other
    assert (devlink.port(FIRST, port.index) is None) is (how == "deleted")
    if how == "deactivated":
        with pytest.raises(StillAttached):
            devlink.set_active(FIRST, port.index, active=True)
    else:
        with pytest.raises(NumberTaken):
            devlink.create_port(FIRST, pf=0, number=88)
    held.close()
    assert all(caller.answered() for caller in (*everything, *dying))


def devlink_of(kernel: SimulatedKernel) -> WholeDevlink:
    """Give devlink by sockets of one's own."""
    return WholeDevlink(asking(kernel))


def test_before_6_5_a_dump_of_one_instance_waits_too(tmp_path: Path) -> None:
    kernel = SimulatedKernel(tmp_path, Topology(filters_dumps=False))
    make(kernel)
    devlink = WholeDevlink(asking(kernel))
    (port,) = devlink.ports(FIRST)  # the rest of what comes is left out here
    held = kernel.hold_open(NODE)
    devlink.set_active(FIRST, port.index, active=False)
    kernel.settle()
    showing = Caller(lambda: devlink_of(kernel).ports(SECOND))
    assert showing.waits
    assert devlink.port(FIRST, port.index) is not None
    held.close()
    assert showing.answered()


def test_a_reload_waits_and_holds_its_instance(kernel: SimulatedKernel) -> None:
    instance = make(kernel)
    held = kernel.hold_open(NODE)
    reloading = Caller(lambda: WholeDevlink(asking(kernel)).reload(instance))
    until(lambda: unbound(kernel))
    reading = Caller(lambda: WholeDevlink(asking(kernel)).parameter(instance, "enable_vnet"))
    assert reloading.waits
    assert reading.waits
    held.close()
    assert reloading.answered()
    assert reading.answered()
    assert find_vdpa(kernel.sysfs(), "vd0") is None
    assert [device.handle for device in WholeVdpa(asking(kernel)).management_devices()] == [instance]


def test_legacy_mode_waits_and_holds_the_parent(kernel: SimulatedKernel) -> None:
    make(kernel)
    WholeDevlink(asking(kernel)).create_port(SECOND, pf=0, number=89)
    held = kernel.hold_open(NODE)
    changing = Caller(lambda: kernel.set_eswitch_mode(FIRST, EswitchMode.LEGACY))
    until(lambda: unbound(kernel))
    showing = Caller(lambda: WholeDevlink(asking(kernel)).ports(FIRST))
    assert changing.waits
    assert showing.waits
    assert [port.number for port in WholeDevlink(asking(kernel)).ports(SECOND)] == [89]
    held.close()
    assert changing.answered()
    assert showing.answered()
    assert kernel.nic(FIRST).mode is EswitchMode.LEGACY


def test_a_card_taken_out_is_gone_when_the_device_is_closed(kernel: SimulatedKernel) -> None:
    make(kernel)
    with kernel.hold_open(NODE):
        removal = kernel.remove_parent(FIRST)
        waiting = not removal.over
        assert kernel.sysfs().resolve(FIRST.path)
    assert (waiting, removal.over) == (True, True)
    assert kernel.sysfs().resolve(FIRST.path) is None


def test_a_module_whose_device_is_open_stays(kernel: SimulatedKernel) -> None:
    make(kernel)
    with kernel.hold_open(NODE), pytest.raises(OSError, match="busy"):
        kernel.unload_module("vhost_vdpa")
    kernel.unload_module("vhost_vdpa")
    assert unbound(kernel)


def test_a_mediated_device_that_is_open_is_forgotten_by_its_bus_at_once_and_goes_later(tmp_path: Path) -> None:
    card = Parent(bdf="0000:03:00.0", netdev="p0", mediated_types=(MediatedType("mlx5_core-sf"),))
    kernel = SimulatedKernel(tmp_path, Topology(parents=(card,)))
    sysfs = kernel.sysfs()
    create_mediated(sysfs, FIRST, "mlx5_core-sf", UUID)
    device = find_mediated(sysfs, UUID)
    assert device is not None
    assert device.vfio is not None
    with kernel.hold_open(device.vfio.group.name):
        removing = Caller(lambda: remove_mediated(sysfs, UUID))
        until(lambda: sysfs.resolve(f"bus/mdev/devices/{UUID}") is None)
        assert removing.waits
        assert sysfs.resolve(device.path)
        assert sysfs.read(f"{device.path}/remove") is None
        with pytest.raises(KernelError, match="File exists"):
            create_mediated(sysfs, FIRST, "mlx5_core-sf", UUID)
    assert removing.answered()
    assert sysfs.resolve(device.path) is None
    assert not (kernel.root / "dev" / device.vfio.group.name).exists()


def test_a_virtual_function_that_is_driven_is_given_back_when_its_user_is_gone(tmp_path: Path) -> None:
    card = Parent(bdf="0000:03:00.0", netdev="p0", virtual_functions=1)
    kernel = SimulatedKernel(tmp_path, Topology(parents=(card,)))
    sysfs, address = kernel.sysfs(), card.virtual_function(0)
    driver_binding.override(sysfs, "pci", address, "vfio-pci")
    kernel.unbind_pci(address)
    driver_binding.probe(sysfs, "pci", address)
    group = (sysfs.target(f"bus/pci/devices/{address}/iommu_group") or "").rpartition("/")[2]
    with kernel.hold_open(f"vfio/{group}"), pytest.raises(OSError, match="busy"):
        kernel.unload_module("vfio-pci")
    held = kernel.hold_open(f"vfio/{group}")
    unbinding = Caller(lambda: driver_binding.unbind(sysfs, "pci", address, "vfio-pci"))
    until(lambda: sysfs.target(f"bus/pci/devices/{address}/driver") is None)
    assert unbinding.waits
    held.close()
    assert unbinding.answered()


def test_a_reboot_ends_every_user_and_whatever_waited_for_him(kernel: SimulatedKernel) -> None:
    make(kernel)
    held = kernel.hold_open(NODE)
    deleting = Caller(lambda: WholeVdpa(asking(kernel)).delete("vd0"))
    until(lambda: unbound(kernel))
    kernel.reboot()
    assert deleting.answered()
    assert not (kernel.root / "dev" / NODE).exists()
    held.close()  # is closed already


async def test_a_served_kernel_lets_go_when_the_device_is_closed_though_nobody_waits_at_the_file(
    tmp_path: Path,
) -> None:
    kernel = SimulatedKernel(tmp_path, timing=Timing(attach=0.001, detach=0.001, in_seconds=True))
    make(kernel)
    async with running(kernel) as path:
        held = kernel.hold_open(NODE)
        sysfs = SysfsTree(kernel.root / "sys")
        driver_binding.unbind(sysfs, "vdpa", "vd0", "vhost_vdpa")  # is back at once, as no writer of the real kernel is
        await asyncio.to_thread(until, lambda: unbound(kernel))
        netlink = Netlink(UnixTransport(path))
        deleting = Caller(lambda: WholeVdpa(netlink).delete("vd0"))
        assert deleting.waits
        held.close()
        assert await asyncio.to_thread(deleting.answered)
        netlink.close()
        assert find_vdpa(sysfs, "vd0") is None
