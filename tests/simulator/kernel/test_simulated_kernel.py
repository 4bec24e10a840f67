"""The simulated kernel as a kernel: its bytes on the wire, and what can be made to go wrong in it."""

import asyncio
import errno
import os
import re
import select
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.instruments import WholeDevlink

from subfunction.errors import (
    FamilyMissing,
    Full,
    Invalid,
    KernelBusy,
    KernelError,
    KernelWithoutSubFunctions,
    NotPermitted,
    SubFunctionsUnsupported,
    Unsupported,
)
from subfunction.kernel import uapi
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.bus.auxiliary import AuxiliaryDevice
from subfunction.kernel.bus.pci import PciFunction
from subfunction.kernel.monitor.devlink import Event, Overrun, monitor_devlink
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import Socket
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import Command, EswitchMode
from subfunction.kernel.worker import KernelWorker
from subfunction_simulator.kernel import Kind, Operation, Parent, SimulatedKernel, Timing, Topology
from subfunction_simulator.kernel.netlink import wire
from subfunction_simulator.kernel.netlink.uapi import Attribute
from subfunction_simulator.kernel.netlink.wire import Refusal
from subfunction_simulator.kernel.topology import TWO_CARDS

FIRST, SECOND = (parent.handle for parent in TWO_CARDS)
UPLINKS = [Handle("auxiliary", f"mlx5_core.eth.{number}") for number in (0, 1)]
"""The instances that the physical ports of the two cards are on."""
MAC = Mac.parse("02:00:00:00:88:88")


@pytest.fixture
def kernel(tmp_path: Path) -> SimulatedKernel:
    return SimulatedKernel(tmp_path)


@pytest.fixture
def devlink(kernel: SimulatedKernel) -> WholeDevlink:
    return WholeDevlink(Netlink(kernel.transport()))


@pytest.fixture
def sysfs(kernel: SimulatedKernel) -> Sysfs:
    return kernel.sysfs()


def attach(kernel: SimulatedKernel, devlink: WholeDevlink, number: int = 88, handle: Handle = FIRST) -> Port:
    """Create a function and let it attach."""
    index = devlink.create_port(handle, pf=0, number=number).index
    devlink.set_active(handle, index, active=True)
    kernel.settle()
    return find(devlink, handle, index)


def find(devlink: WholeDevlink, handle: Handle, index: int) -> Port:
    port = devlink.port(handle, index)
    assert port is not None
    assert port.function is not None
    return port


def instance_of(port: Port) -> Handle:
    assert port.function is not None
    assert port.function.instance is not None
    return port.function.instance


def load(kernel: SimulatedKernel, devlink: WholeDevlink) -> tuple[Port, str]:
    """Bring up a function's netdev, and give its port and the netdev's name."""
    port = attach(kernel, devlink)
    instance = instance_of(port)
    devlink.set_parameter(instance, "enable_eth", value=True)
    devlink.reload(instance)
    virtual = virtual_port(kernel, devlink, instance)
    assert virtual is not None
    assert virtual.netdev is not None
    return port, virtual.netdev


def virtual_port(kernel: SimulatedKernel, devlink: WholeDevlink, instance: Handle) -> Port | None:
    """Find the port of a function's netdev, on whichever instance it is."""
    device = AuxiliaryDevice.named(kernel.sysfs(), instance.device)
    assert device is not None
    ports = [port for handle in device.instances(kernel.sysfs()) for port in devlink.ports(handle)]
    return ports[0] if ports else None


# Its bytes.


@given(st.binary(max_size=300))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_request_or_ignored(kernel: SimulatedKernel, datagram: bytes) -> None:
    for reply in kernel.answer(datagram):
        assert struct.unpack_from("=I", reply)[0] >= 16


@given(command=st.integers(0, 90), flags=st.sampled_from([0x5, 0x1, 0x301, 0x305]), body=st.binary(max_size=120))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_attributes_are_answered_or_refused(kernel: SimulatedKernel, command: int, flags: int, body: bytes) -> None:
    handle = wire.text(1, "pci") + wire.text(2, FIRST.device)
    kernel.answer(wire.message(26, flags, 1, 0, wire.generic(command, handle, body)))


def test_an_unknown_family_number_is_enoent_and_an_unknown_command_eopnotsupp(kernel: SimulatedKernel) -> None:
    def refusal_of(kind: int, command: int) -> int:
        (reply,) = kernel.answer(wire.message(kind, uapi.NLM_F_REQUEST, 1, 0, wire.generic(command)))
        return -int(struct.unpack_from("=i", reply, 16)[0])

    assert refusal_of(4711, 1) == errno.ENOENT
    assert refusal_of(26, 200) == errno.EOPNOTSUPP


def test_a_function_attribute_without_the_nested_flag_is_refused_as_the_kernel_does(
    kernel: SimulatedKernel, devlink: WholeDevlink
) -> None:
    index = devlink.create_port(FIRST, pf=0, number=88).index
    handle = wire.text(1, "pci") + wire.text(2, FIRST.device) + wire.u32(3, index)
    for number, text in ((145, b"Fail to parse"), (145 | uapi.NLA_F_NESTED, b"")):
        body = wire.generic(uapi.Command.PORT_SET, handle, wire.attribute(number, wire.u8(2, 0)))
        (reply,) = kernel.answer(wire.message(26, uapi.NLM_F_REQUEST | uapi.NLM_F_ACK, 1, 0, body))
        assert text in reply
        assert (struct.unpack_from("=i", reply, 16)[0] == -errno.EINVAL) is bool(text)


# Its age and its cards.


def test_a_kernel_without_devlink_has_no_such_family(tmp_path: Path) -> None:
    kernel = SimulatedKernel(tmp_path, Topology(devlink=False))
    with pytest.raises(FamilyMissing, match="devlink"):
        WholeDevlink(Netlink(kernel.transport())).instances()


def test_an_older_kernel_names_no_instance_and_sysfs_does(tmp_path: Path) -> None:
    kernel = SimulatedKernel(tmp_path, Topology(nested_handles=False))
    devlink = WholeDevlink(Netlink(kernel.transport()))
    port = attach(kernel, devlink)
    assert port.function is not None
    assert (port.function.attached, port.function.instance) == (True, None)
    device = AuxiliaryDevice.of_sub_function(kernel.sysfs(), FIRST, 88)
    assert device is not None
    assert device.handle in devlink.instances()


def test_the_port_of_a_netdev_is_on_an_instance_that_is_nested_in_the_functions(
    kernel: SimulatedKernel, devlink: WholeDevlink
) -> None:
    port, _ = load(kernel, devlink)
    instance = instance_of(port)
    child = Handle("auxiliary", instance.device.replace(".sf.", ".eth."))
    assert devlink.ports(instance) == []
    (virtual,) = devlink.ports(child)
    assert (virtual.handle, virtual.flavour) == (child, uapi.PortFlavour.VIRTUAL)
    assert devlink.instances()[-2:] == [instance, child]
    assert find_nested(kernel, instance) == child.device
    with pytest.raises(Unsupported):
        devlink.reload(child)
    devlink.set_active(FIRST, port.index, active=False)
    kernel.settle()
    assert devlink.instances() == [FIRST, UPLINKS[0], SECOND, UPLINKS[1]]


def find_nested(kernel: SimulatedKernel, instance: Handle) -> str | None:
    """Give the instance that one says is nested in it."""
    handle = wire.text(1, instance.bus) + wire.text(2, instance.device)
    (reply,) = kernel.answer(wire.message(26, uapi.NLM_F_REQUEST, 1, 0, wire.generic(1, handle)))
    nest = wire.Attributes(reply[20:]).nest(Attribute.NESTED_DEVLINK)
    return None if nest is None else nest.text(2)


def test_an_instance_that_is_nested_is_announced_as_6_12_does(kernel: SimulatedKernel, devlink: WholeDevlink) -> None:
    instance = instance_of(attach(kernel, devlink))
    child = Handle("auxiliary", instance.device.replace(".sf.", ".eth."))
    listener = kernel.transport().subscribe(5)
    devlink.set_parameter(instance, "enable_eth", value=True)
    devlink.reload(instance)
    devlink.set_parameter(instance, "enable_eth", value=False)
    devlink.reload(instance)
    new, gone, port, no_port = Command.NEW, Command.DEL, Command.PORT_NEW, Command.PORT_DEL
    assert read_announced(listener) == [
        (Command.PARAM_NEW, instance.device),
        (new, child.device),
        *[(port, child.device)] * 3,
        *[(new, instance.device)] * 2,
        (Command.PARAM_NEW, instance.device),
        *[(port, child.device)] * 2,
        (no_port, child.device),
        (gone, child.device),
        (new, instance.device),
    ]
    listener.close()


def read_announced(listener: Socket) -> list[tuple[int, str | None]]:
    """Give what was announced so far: commands, and of which instance."""
    told = []
    while select.select([listener], [], [], 0)[0]:
        datagram = listener.receive(0)
        told.append((datagram[16], wire.Attributes(datagram[20:]).text(2)))
    return told


def test_before_6_3_the_port_of_a_netdev_is_on_the_functions_own_instance(tmp_path: Path) -> None:
    kernel = SimulatedKernel(tmp_path, Topology(ethernet_instances=False, nested_handles=False))
    devlink = WholeDevlink(Netlink(kernel.transport()))
    port = attach(kernel, devlink)
    device = AuxiliaryDevice.of_sub_function(kernel.sysfs(), FIRST, 88)
    assert device is not None
    devlink.set_parameter(device.handle, "enable_eth", value=True)
    devlink.reload(device.handle)
    (virtual,) = devlink.ports(device.handle)
    assert virtual.flavour is uapi.PortFlavour.VIRTUAL
    assert devlink.instances() == [FIRST, SECOND, device.handle]
    devlink.delete_port(FIRST, port.index)


def test_a_child_unbound_by_hand_takes_netdev_port_and_instance_and_brings_them_back(
    kernel: SimulatedKernel, devlink: WholeDevlink, sysfs: Sysfs
) -> None:
    port, _ = load(kernel, devlink)
    instance = instance_of(port)
    child = instance.device.replace(".sf.", ".eth.")
    for attribute, present in (("unbind", False), ("bind", True)):
        sysfs.write(f"bus/auxiliary/drivers/mlx5_core.eth/{attribute}", child)
        assert (Handle("auxiliary", child) in devlink.instances()) is present
        assert find_nested(kernel, instance) == (child if present else None)


def test_an_answer_about_a_port_says_port_new(kernel: SimulatedKernel) -> None:
    handle = wire.text(1, "pci") + wire.text(2, FIRST.device)
    index = WholeDevlink(Netlink(kernel.transport())).create_port(FIRST, pf=0, number=88).index
    for flags in (uapi.NLM_F_REQUEST | uapi.NLM_F_DUMP, uapi.NLM_F_REQUEST):
        asked = handle + (b"" if flags & uapi.NLM_F_DUMP else wire.u32(3, index))
        reply, *_ = kernel.answer(wire.message(26, flags, 1, 0, wire.generic(uapi.Command.PORT_GET, asked)))
        assert reply[16] == uapi.Command.PORT_NEW


def test_an_uplink_says_of_which_switch_it_is_while_there_is_one(kernel: SimulatedKernel, sysfs: Sysfs) -> None:
    path = "class/net/enp3s0np0/phys_switch_id"
    assert sysfs.read(path) == TWO_CARDS[0].switch_id
    kernel.set_eswitch_mode(FIRST, uapi.EswitchMode.LEGACY)
    assert sysfs.read(path) is None
    kernel.move_netdev("enp3s0np0")
    kernel.set_eswitch_mode(FIRST, uapi.EswitchMode.SWITCHDEV)
    assert kernel.namespace_ends() == ["enp3s0np0"]
    assert sysfs.read(path) == TWO_CARDS[0].switch_id


def test_an_older_kernel_does_not_know_event_queues(tmp_path: Path) -> None:
    devlink = WholeDevlink(Netlink(SimulatedKernel(tmp_path, Topology(max_io_eqs=False)).transport()))
    port = devlink.create_port(FIRST, pf=0, number=88)
    assert port.function is not None
    assert port.function.max_io_eqs is None
    with pytest.raises(Invalid, match="Fail to parse port function attributes"):
        devlink.set_function(FIRST, port.index, FunctionSettings(max_io_eqs=4))


def test_an_older_kernel_brings_a_function_up_whole(tmp_path: Path) -> None:
    kernel = SimulatedKernel(tmp_path, Topology(light_probe=False))
    devlink = WholeDevlink(Netlink(kernel.transport()))
    instance = instance_of(attach(kernel, devlink))
    assert devlink.parameter(instance, "enable_eth") is True
    assert len(Netdev.under(kernel.sysfs(), str(kernel.sysfs().resolve(instance.path)))) == 1


def card(**changes: bool | int) -> Topology:
    return Topology(parents=(Parent(bdf="0000:03:00.0", netdev="p0", **changes),))  # type: ignore[arg-type]  # by field


def test_a_card_without_sub_functions_says_so(tmp_path: Path) -> None:
    devlink = WholeDevlink(Netlink(SimulatedKernel(tmp_path, card(sub_functions=False)).transport()))
    with pytest.raises(SubFunctionsUnsupported, match="SF ports are not supported"):
        devlink.create_port(FIRST, pf=0, number=88)
    assert devlink.capacity(FIRST) == 0
    assert devlink.supports_port_add(FIRST)


def test_a_driver_without_sub_functions_says_nothing(tmp_path: Path) -> None:
    devlink = WholeDevlink(Netlink(SimulatedKernel(tmp_path, card(built_with_sub_functions=False)).transport()))
    with pytest.raises(KernelWithoutSubFunctions) as refused:
        devlink.create_port(FIRST, pf=0, number=88)
    assert refused.value.text == ""
    assert devlink.capacity(FIRST) is None
    assert not devlink.supports_port_add(FIRST)


def test_the_host_of_a_dpu_shows_room_and_no_e_switch(tmp_path: Path) -> None:
    kernel = SimulatedKernel(tmp_path, card(manages_eswitch=False))
    devlink = WholeDevlink(Netlink(kernel.transport()))
    assert devlink.capacity(FIRST)
    assert devlink.eswitch_mode(FIRST) is None
    with pytest.raises(SubFunctionsUnsupported, match="SF ports are not supported"):
        devlink.create_port(FIRST, pf=0, number=88)
    with pytest.raises(Refusal):
        kernel.set_eswitch_mode(FIRST, EswitchMode.SWITCHDEV)


def test_a_card_without_vhca_management_refuses_roce(tmp_path: Path) -> None:
    devlink = WholeDevlink(Netlink(SimulatedKernel(tmp_path, card(vhca_management=False)).transport()))
    port = devlink.create_port(FIRST, pf=0, number=88)
    assert port.function is not None
    assert (port.function.roce, port.function.max_io_eqs) == (None, None)
    with pytest.raises(Unsupported, match="Device doesn't support VHCA management"):
        devlink.set_function(FIRST, port.index, FunctionSettings(roce=False))


def test_a_card_that_is_full_has_room_again_after_a_deletion(tmp_path: Path) -> None:
    devlink = WholeDevlink(Netlink(SimulatedKernel(tmp_path, card(capacity=2)).transport()))
    ports = [devlink.create_port(FIRST, pf=0, number=number) for number in (1, 2)]
    with pytest.raises(Full, match="No space left on device"):
        devlink.create_port(FIRST, pf=0, number=3)
    devlink.delete_port(FIRST, ports[0].index)
    assert devlink.create_port(FIRST, pf=0, number=3).index == ports[0].index


def test_the_verbs_device_is_a_character_device_where_mknod_is_allowed(kernel: SimulatedKernel) -> None:
    node = (kernel.root / "dev" / "infiniband" / "uverbs0").stat()
    if os.geteuid() == 0:
        assert stat.S_ISCHR(node.st_mode)
        assert (os.major(node.st_rdev), os.minor(node.st_rdev)) == (231, 192)
    else:
        assert stat.S_ISREG(node.st_mode)


def test_a_folder_that_is_somebody_elses_is_not_cleared(tmp_path: Path) -> None:
    (tmp_path / "sys" / "precious").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="not a simulated kernel's folder"):
        SimulatedKernel(tmp_path)
    assert (tmp_path / "sys" / "precious").is_dir()


# Time.


def test_a_function_attaches_after_as_many_requests_as_was_said(tmp_path: Path) -> None:
    devlink = WholeDevlink(Netlink(SimulatedKernel(tmp_path, timing=Timing(attach=3)).transport()))
    index = devlink.create_port(FIRST, pf=0, number=88).index
    devlink.set_active(FIRST, index, active=True)
    functions = [find(devlink, FIRST, index).function for _ in range(4)]
    assert [function.attached for function in functions if function] == [False, False, True, True]


def test_what_is_held_never_happens_until_it_is_let_go(kernel: SimulatedKernel, devlink: WholeDevlink) -> None:
    kernel.hold(Kind.ATTACH)
    port = attach(kernel, devlink)
    assert port.function is not None
    assert (port.function.active, port.function.attached) == (True, False)
    kernel.let_go(Kind.ATTACH)
    assert instance_of(find(devlink, FIRST, port.index))


def test_a_function_asked_to_go_before_it_came_never_comes(kernel: SimulatedKernel, devlink: WholeDevlink) -> None:
    index = devlink.create_port(FIRST, pf=0, number=88).index
    devlink.set_active(FIRST, index, active=True)
    devlink.set_active(FIRST, index, active=False)
    kernel.settle()
    function = find(devlink, FIRST, index).function
    assert function is not None
    assert (function.active, function.attached, function.instance) == (False, False, None)


# What can be ordered to go wrong.


def test_an_ordered_failure_comes_once_with_its_own_words(kernel: SimulatedKernel, devlink: WholeDevlink) -> None:
    kernel.faults.fail_next(Operation.PORT_NEW, errno.EPERM)
    kernel.faults.fail_next(Operation.ACTIVATE, errno.EIO, "mlx5_core: firmware is on fire")
    with pytest.raises(NotPermitted):
        devlink.create_port(FIRST, pf=0, number=88)
    index = devlink.create_port(FIRST, pf=0, number=88).index
    with pytest.raises(KernelError, match="firmware is on fire"):
        devlink.set_active(FIRST, index, active=True)
    devlink.set_active(FIRST, index, active=True)


def test_a_port_set_that_fails_half_way_leaves_what_came_before(kernel: SimulatedKernel, devlink: WholeDevlink) -> None:
    index = devlink.create_port(FIRST, pf=0, number=88).index
    kernel.faults.fail_next(Operation.SET_EVENT_QUEUES, errno.EIO)
    with pytest.raises(KernelError):
        devlink.set_function(FIRST, index, FunctionSettings(mac=MAC, roce=False, max_io_eqs=4))
    function = find(devlink, FIRST, index).function
    assert function is not None
    assert (function.mac, function.roce, function.max_io_eqs) == (MAC, False, 60)


def test_a_failed_probe_leaves_a_device_without_driver(
    kernel: SimulatedKernel, devlink: WholeDevlink, sysfs: Sysfs
) -> None:
    kernel.faults.fail_next(Operation.PROBE, errno.EIO)
    port = attach(kernel, devlink)
    assert port.function is not None
    assert (port.function.active, port.function.attached, port.function.instance) == (True, False, None)
    device = AuxiliaryDevice.of_sub_function(sysfs, FIRST, 88)
    assert device is not None
    assert device.driver is None
    devlink.set_active(FIRST, port.index, active=False)
    kernel.settle()
    devlink.set_active(FIRST, port.index, active=True)
    kernel.settle()
    assert instance_of(find(devlink, FIRST, port.index))


def test_a_reload_that_fails_half_way_leaves_nothing_until_the_next(
    kernel: SimulatedKernel, devlink: WholeDevlink, sysfs: Sysfs
) -> None:
    port, name = load(kernel, devlink)
    kernel.faults.fail_next(Operation.RELOAD, errno.EIO)
    with pytest.raises(KernelError):
        devlink.reload(instance_of(port))
    assert Netdev.named(sysfs, name) is None
    function = find(devlink, FIRST, port.index).function
    assert function is not None
    assert (function.active, function.attached, function.instance) == (True, False, instance_of(port))
    devlink.reload(instance_of(port))
    assert Netdev.named(sysfs, name) is not None
    assert find(devlink, FIRST, port.index) == port


def test_a_torn_dump_is_asked_for_again(kernel: SimulatedKernel, devlink: WholeDevlink) -> None:
    kernel.faults.tear_next_dump(times=2)
    assert len(devlink.all_ports()) == 2


def test_a_request_never_answered_was_run_all_the_same(kernel: SimulatedKernel, devlink: WholeDevlink) -> None:
    devlink.instances()
    kernel.faults.swallow_next()
    with pytest.raises(KernelBusy):
        devlink.create_port(FIRST, pf=0, number=88)
    assert [port.number for port in devlink.ports(FIRST) if port.is_sub_function] == [88]


async def back(worker: KernelWorker, job: Callable[[], list[Port]]) -> list[Port]:
    """Run a job as soon as the worker's thread has come back."""
    while True:
        try:
            return await worker.run("show", job, 5)
        except KernelBusy:
            await asyncio.sleep(0.001)


async def test_a_parent_that_hangs_is_busy_and_the_other_answers(kernel: SimulatedKernel) -> None:
    stuck, free = KernelWorker(str(FIRST)), KernelWorker(str(SECOND))
    first, second = (WholeDevlink(Netlink(kernel.transport())) for _ in range(2))
    for handle in (FIRST, SECOND):
        first.create_port(handle, pf=0, number=88)
    with kernel.faults.hang(FIRST) as hang:
        with pytest.raises(KernelBusy, match="did not answer within"):
            await stuck.run("show", lambda: first.ports(FIRST), 0.05)
        assert hang.wait_for_victim(5)
        with pytest.raises(KernelBusy, match="has not finished an earlier request of"):
            await stuck.run("show", lambda: first.ports(FIRST), 0.05)
        assert len(await free.run("show", lambda: second.ports(SECOND), 5)) == 1
    # What was left behind is answered now, and the thread is back.
    async with asyncio.timeout(5):
        assert len(await back(stuck, lambda: first.ports(FIRST))) == 1
    stuck.stop()
    free.stop()


# What happens behind everybody's back.


def test_a_lost_port_is_gone_and_its_function_with_it(kernel: SimulatedKernel, devlink: WholeDevlink) -> None:
    port = attach(kernel, devlink)
    kernel.lose_port(FIRST, 88)
    kernel.settle()
    assert devlink.port(FIRST, port.index) is None
    assert instance_of(port) not in devlink.instances()


def test_an_unbound_function_is_active_and_detached_until_it_is_bound(
    kernel: SimulatedKernel, devlink: WholeDevlink, sysfs: Sysfs
) -> None:
    port = attach(kernel, devlink)
    name = instance_of(port).device
    inode = sysfs.inode(instance_of(port).path)
    sysfs.write("bus/auxiliary/drivers/mlx5_core.sf/unbind", name)
    function = find(devlink, FIRST, port.index).function
    assert function is not None
    assert (function.active, function.attached, function.instance) == (True, False, None)
    assert sysfs.target(f"bus/auxiliary/devices/{name}/driver") is None
    sysfs.write("bus/auxiliary/drivers/mlx5_core.sf/bind", name)
    assert instance_of(find(devlink, FIRST, port.index)).device == name
    assert sysfs.inode(f"bus/auxiliary/devices/{name}") == inode


def test_a_card_taken_out_is_gone_and_found_again_by_a_rescan(
    kernel: SimulatedKernel, devlink: WholeDevlink, sysfs: Sysfs
) -> None:
    attach(kernel, devlink)
    kernel.remove_parent(FIRST)
    assert devlink.instances() == [SECOND, UPLINKS[1]]
    assert PciFunction.at(sysfs, FIRST) is None
    kernel.rescan()
    assert set(devlink.instances()) == {FIRST, SECOND, *UPLINKS}
    assert devlink.ports(FIRST) == []
    assert [port.netdev for port in devlink.ports(UPLINKS[0])] == ["enp3s0np0"]


def test_a_driver_that_recovers_has_lost_every_sub_function(kernel: SimulatedKernel, devlink: WholeDevlink) -> None:
    port = attach(kernel, devlink)
    other = attach(kernel, devlink, handle=SECOND)
    kernel.crash_driver(FIRST)
    assert devlink.port(FIRST, port.index) is None
    assert devlink.port(SECOND, other.index) == other


def test_a_netdev_comes_back_from_a_dead_namespace_down_renamed_and_with_the_pods_mtu(
    kernel: SimulatedKernel, devlink: WholeDevlink, sysfs: Sysfs
) -> None:
    _, name = load(kernel, devlink)
    netdev = Netdev.named(sysfs, name)
    assert netdev is not None
    sysfs.write(f"{netdev.path}/flags", "0x1003")  # broadcast, multicast, up
    inode = sysfs.inode(netdev.path)
    kernel.move_netdev(name)
    representor = devlink.create_port(FIRST, pf=0, number=89).netdev
    assert representor == name  # the name was free
    (back,) = kernel.namespace_ends(mtu=9000)
    assert back == f"dev{netdev.ifindex}"
    seen_again = Netdev.named(sysfs, back)
    assert seen_again is not None
    assert (seen_again.up, seen_again.mtu, seen_again.ifindex) == (False, 9000, netdev.ifindex)
    assert sysfs.inode(seen_again.path) == inode


def test_a_renamed_netdev_keeps_its_inode_and_its_port_knows_the_new_name(
    kernel: SimulatedKernel, devlink: WholeDevlink, sysfs: Sysfs
) -> None:
    port, name = load(kernel, devlink)
    inode = sysfs.inode(f"class/net/{name}")
    kernel.rename_netdev(name, "enp3s0sf88")
    virtual = virtual_port(kernel, devlink, instance_of(port))
    assert virtual is not None
    assert virtual.netdev == "enp3s0sf88"
    assert sysfs.inode("class/net/enp3s0sf88") == inode


def test_a_netdev_set_up_is_operational(kernel: SimulatedKernel, devlink: WholeDevlink, sysfs: Sysfs) -> None:
    _, name = load(kernel, devlink)
    netdev = Netdev.named(sysfs, name)
    assert netdev is not None
    assert sysfs.read(f"{netdev.path}/operstate") == "down"
    sysfs.write(f"{netdev.path}/flags", "0x1003")  # broadcast, multicast, up
    assert sysfs.read(f"{netdev.path}/operstate") == "up"


def test_a_reboot_leaves_no_sub_function_and_another_boot_id(kernel: SimulatedKernel, devlink: WholeDevlink) -> None:
    attach(kernel, devlink)
    before = (kernel.root / "boot_id").read_text(encoding="ascii")
    kernel.reboot()
    assert (kernel.root / "boot_id").read_text(encoding="ascii") != before
    assert [port.is_sub_function for port in devlink.all_ports()] == [False, False]
    left = kernel.sysfs().names("bus/auxiliary/devices")
    assert left == tuple(
        f"mlx5_core.{kind}.{number}" for kind in ("eth-rep", "eth", "rdma-rep", "rdma") for number in (0, 1)
    )


async def next_event(events: "asyncio.Queue[Event]") -> Event:
    async with asyncio.timeout(5):
        return await events.get()


async def test_an_overrun_and_a_reboot_are_heard_as_lost(kernel: SimulatedKernel, devlink: WholeDevlink) -> None:
    events: asyncio.Queue[Event] = asyncio.Queue()

    async def listen() -> None:
        async for event in monitor_devlink(Netlink(kernel.transport()), reopen_after=0):
            events.put_nowait(event)

    task = asyncio.create_task(listen())
    assert isinstance(await next_event(events), Overrun)
    kernel.overrun()
    assert await next_event(events) == Overrun("events overran the socket")
    assert isinstance(await next_event(events), Overrun)
    kernel.reboot()
    assert isinstance(await next_event(events), Overrun)
    assert isinstance(await next_event(events), Overrun)
    devlink.create_port(FIRST, pf=0, number=88)
    assert not isinstance(await next_event(events), Overrun)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_deaf_listener_hears_nothing_and_is_not_told(kernel: SimulatedKernel, devlink: WholeDevlink) -> None:
    subscriber = kernel.transport().subscribe(5)
    kernel.deafen()
    devlink.create_port(FIRST, pf=0, number=88)
    kernel.deafen(deaf=False)
    assert select.select([subscriber], [], [], 0)[0] == []
    devlink.create_port(FIRST, pf=0, number=89)
    assert subscriber.receive(0)
    subscriber.close()


def test_a_person_sees_the_lines_of_devlink_port_show(kernel: SimulatedKernel, devlink: WholeDevlink) -> None:
    port = attach(kernel, devlink)
    lines = kernel.describe()
    assert re.fullmatch(
        rf"pci/0000:03:00.0/{port.index}: type eth netdev {port.netdev} flavour pcisf controller 0 pfnum 0 sfnum 88 .*",
        lines[0],
    )
    assert "state active opstate attached roce enable max_io_eqs 8 nested_devlink auxiliary/mlx5_core.sf.2" in lines[1]
