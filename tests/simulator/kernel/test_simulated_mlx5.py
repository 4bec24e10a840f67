"""What the real mlx5 driver was seen to do (Linux 6.12), said by the simulated one."""

import dataclasses
import errno
import select
from pathlib import Path

import pytest
from tests.contract.instruments import WholeDevlink
from tests.simulator.kernel.box import CARD, FIRST, MAC, UNSET, UPLINK, Box

from subfunction.errors import Invalid, KernelError, Unsupported
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import Socket
from subfunction.kernel.port import FunctionSettings
from subfunction.kernel.rdma import RdmaDevice
from subfunction.kernel.uapi import Command, EswitchMode, PortFlavour
from subfunction.kernel.uplink import find_uplink
from subfunction_simulator.kernel import Parent, SimulatedKernel, Topology
from subfunction_simulator.kernel.netlink import wire
from subfunction_simulator.kernel.netlink.uapi import Attribute
from subfunction_simulator.kernel.topology import TWO_CARDS


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def read_announced(listener: Socket) -> list[tuple[int, str | None]]:
    """Give what was announced so far: commands, and of which instance."""
    told = []
    while select.select([listener], [], [], 0)[0]:
        datagram = listener.receive(0)
        told.append((datagram[16], wire.Attributes(datagram[20:]).text(2)))
    return told


# The physical port.


@pytest.mark.parametrize("mode", [EswitchMode.SWITCHDEV, EswitchMode.LEGACY])
def test_a_physical_port_is_on_the_instance_of_an_auxiliary_device(box: Box, mode: EswitchMode) -> None:
    box.kernel.set_eswitch_mode(FIRST, mode)
    assert box.devlink.ports(FIRST) == []
    (port,) = box.devlink.all_ports()
    assert (port.handle, port.index, port.flavour, port.netdev) == (UPLINK, 65535, PortFlavour.PHYSICAL, "p0")
    assert box.devlink.ports(UPLINK) == [port]
    assert find_uplink(box.devlink, box.sysfs, FIRST) == port
    assert box.sysfs.resolve("class/net/p0/device") == box.sysfs.resolve(FIRST.path)


def test_the_second_card_has_the_next_number_and_index(tmp_path: Path) -> None:
    devlink = WholeDevlink(Netlink(SimulatedKernel(tmp_path).transport()))
    assert [(port.handle.device, port.index) for port in devlink.all_ports()] == [
        ("mlx5_core.eth.0", 65535),
        ("mlx5_core.eth.1", 131071),
    ]


def test_an_instance_says_which_one_is_nested_in_it(box: Box) -> None:
    listener = box.kernel.transport().subscribe(5)
    box.kernel.crash_driver(FIRST)
    datagrams = []
    while select.select([listener], [], [], 0)[0]:
        datagrams.append(listener.receive(0))
    told = [wire.Attributes(datagram[20:]) for datagram in datagrams if datagram[16] == Command.NEW]
    nests = [each.nest(Attribute.NESTED_DEVLINK) for each in told if each.text(2) == FIRST.device]
    assert [nest and nest.text(2) for nest in nests] == [None, UPLINK.device, UPLINK.device]
    listener.close()


def test_a_physical_port_is_announced_when_it_goes_and_comes(box: Box) -> None:
    listener = box.kernel.transport().subscribe(5)
    box.kernel.crash_driver(FIRST)
    assert read_announced(listener) == [
        *[(Command.PORT_NEW, UPLINK.device)] * 2,
        (Command.PORT_DEL, UPLINK.device),
        (Command.DEL, UPLINK.device),
        (Command.DEL, FIRST.device),
        (Command.NEW, FIRST.device),
        (Command.NEW, UPLINK.device),
        *[(Command.PORT_NEW, UPLINK.device)] * 3,
        *[(Command.NEW, FIRST.device)] * 2,
    ]
    listener.close()


def test_before_6_3_a_physical_port_is_on_the_cards_own_instance(tmp_path: Path) -> None:
    box = Box(tmp_path, topology=Topology(ethernet_instances=False, nested_handles=False))
    (port,) = box.devlink.ports(FIRST)
    assert (port.flavour, port.index) == (PortFlavour.PHYSICAL, 65535)
    assert find_uplink(box.devlink, box.sysfs, FIRST) == port
    assert box.devlink.instances() == [FIRST]
    assert UPLINK.device in box.sysfs.names("bus/auxiliary/devices")


def test_a_card_whose_ethernet_is_off_has_no_physical_port_and_makes_sub_functions(tmp_path: Path) -> None:
    box = Box(tmp_path, dataclasses.replace(CARD, ethernet=False))
    assert (box.devlink.instances(), box.devlink.all_ports()) == ([FIRST], [])
    assert find_uplink(box.devlink, box.sysfs, FIRST) is None
    assert box.sysfs.names("class/net") == ()
    assert UPLINK.device not in box.sysfs.names("bus/auxiliary/devices")
    assert box.attach().device == "mlx5_core.sf.1"


# The auxiliary bus.


def test_a_card_has_devices_on_the_auxiliary_bus_and_more_of_them_as_a_switch(box: Box) -> None:
    def drivers() -> dict[str, str | None]:
        names = [name for name in box.sysfs.names(CARD.path) if name.startswith("mlx5_core.")]
        return {name: box.driver("auxiliary", name) for name in names}

    always = {"mlx5_core.eth.0": "mlx5_core.eth", "mlx5_core.rdma.0": "mlx5_ib.rdma"}
    as_a_switch = {"mlx5_core.eth-rep.0": "mlx5_core.eth-rep", "mlx5_core.rdma-rep.0": "mlx5_ib.rep"}
    assert drivers() == always | as_a_switch
    box.kernel.set_eswitch_mode(FIRST, EswitchMode.LEGACY)
    assert drivers() == always
    box.kernel.set_eswitch_mode(FIRST, EswitchMode.SWITCHDEV)
    assert drivers() == always | as_a_switch


@pytest.mark.parametrize(("cards", "first"), [(TWO_CARDS[:1], 1), (TWO_CARDS, 2)])
def test_the_devices_of_sub_functions_are_numbered_after_those_of_the_cards(
    tmp_path: Path, cards: tuple[Parent, ...], first: int
) -> None:
    kernel = SimulatedKernel(tmp_path, Topology(parents=cards))
    devlink = WholeDevlink(Netlink(kernel.transport()))
    for number in (88, 89):
        devlink.set_active(FIRST, devlink.create_port(FIRST, pf=0, number=number).index, active=True)
        kernel.settle()
    functions = [port.function for port in devlink.ports(FIRST)]
    assert [function and str(function.instance) for function in functions] == [
        f"auxiliary/mlx5_core.sf.{first}",
        f"auxiliary/mlx5_core.sf.{first + 1}",
    ]


def test_a_card_taken_out_leaves_its_number_to_the_next_sub_function(tmp_path: Path) -> None:
    kernel = SimulatedKernel(tmp_path)
    kernel.remove_parent(FIRST)
    devlink, second = WholeDevlink(Netlink(kernel.transport())), TWO_CARDS[1].handle
    devlink.set_active(second, devlink.create_port(second, pf=0, number=88).index, active=True)
    kernel.settle()
    kernel.rescan()
    assert {handle.device for handle in devlink.instances()} == {
        second.device,
        "mlx5_core.eth.1",
        "mlx5_core.sf.0",
        FIRST.device,
        "mlx5_core.eth.2",
    }


# The pfnum.


@pytest.mark.parametrize(("newer", "driver", "right"), [(0, "mlx5_core", 0), (1, "mlx5_core", 1), (0, "ice", 1)])
def test_which_pfnum_is_right_where_the_ports_number_is_not_the_functions(
    tmp_path: Path, newer: int, driver: str, right: int
) -> None:
    parent = Parent(bdf="0000:03:00.1", netdev="p0", port_number=0, driver=driver)
    kernel = SimulatedKernel(tmp_path, Topology(parents=(parent,), pfnum_is_function=bool(newer)))
    devlink = WholeDevlink(Netlink(kernel.transport()))
    with pytest.raises(KernelError, match=r"(Invalid|Incorrect) pfnum supplied"):
        devlink.create_port(parent.handle, pf=1 - right, number=88)
    port = devlink.create_port(parent.handle, pf=right, number=88)
    assert port.pf == right
    assert kernel.sysfs().read(f"class/net/{port.netdev}/phys_port_name") == f"pf{right}sf88"
    physical = find_uplink(devlink, kernel.sysfs(), parent.handle)
    assert physical is not None
    assert physical.port_number == 0


@pytest.mark.parametrize(("newer", "text"), [(0, "Invalid pfnum"), (1, "only supported in eswitch switchdev mode")])
def test_a_wrong_request_in_legacy_mode_is_refused_for_its_mode_since_7_2(
    tmp_path: Path, newer: int, text: str
) -> None:
    box = Box(tmp_path, topology=Topology(pfnum_is_function=bool(newer)))
    box.kernel.set_eswitch_mode(FIRST, EswitchMode.LEGACY)
    with pytest.raises(KernelError, match=text):
        box.devlink.create_port(FIRST, pf=7, number=88)


# The address of a slot.


def test_a_new_port_has_the_address_of_its_slots_last_owner_and_programs_it(box: Box) -> None:
    first = box.devlink.create_port(FIRST, pf=0, number=1)
    box.devlink.set_function(FIRST, first.index, FunctionSettings(mac=MAC))
    box.devlink.delete_port(FIRST, first.index)
    second = box.devlink.create_port(FIRST, pf=0, number=2)
    assert second.index == first.index
    assert second.function is not None
    assert second.function.mac == MAC
    box.devlink.set_active(FIRST, second.index, active=True)
    box.kernel.settle()
    instance = box.function(second.index).instance
    assert instance is not None
    box.load(instance, "enable_eth")
    (netdev,) = Netdev.under(box.sysfs, str(box.sysfs.resolve(instance.path)))
    assert netdev.mac == MAC


def test_a_slot_nobody_set_an_address_in_has_none_and_the_netdev_a_random_one(box: Box) -> None:
    instance = box.attach()
    (port,) = box.devlink.ports(FIRST)
    assert box.function(port.index).mac == UNSET
    box.load(instance, "enable_eth")
    (netdev,) = Netdev.under(box.sysfs, str(box.sysfs.resolve(instance.path)))
    assert netdev.mac is not None
    assert netdev.mac.unicast
    assert netdev.mac.octets[0] & 2  # locally administered, and so not from a vendor's range


def test_slots_are_dealt_out_anew_after_a_reload_with_the_neighbours_addresses(box: Box) -> None:
    others = {1: MAC, 2: Mac.parse("02:00:00:00:00:02")}
    for number, mac in others.items():
        index = box.devlink.create_port(FIRST, pf=0, number=number).index
        box.devlink.set_function(FIRST, index, FunctionSettings(mac=mac))
    box.devlink.reload(FIRST)
    box.kernel.set_eswitch_mode(FIRST, EswitchMode.LEGACY)
    box.kernel.set_eswitch_mode(FIRST, EswitchMode.SWITCHDEV)
    ports = [box.devlink.create_port(FIRST, pf=0, number=number) for number in (2, 1, 3)]
    assert [port.function and port.function.mac for port in ports] == [*others.values(), UNSET]


def test_an_address_is_cleared_by_setting_zero_and_by_unbinding_the_cards_driver(box: Box) -> None:
    index = box.devlink.create_port(FIRST, pf=0, number=1).index
    box.devlink.set_function(FIRST, index, FunctionSettings(mac=MAC))
    box.devlink.set_function(FIRST, index, FunctionSettings(mac=UNSET))
    box.devlink.delete_port(FIRST, index)
    assert box.function(box.devlink.create_port(FIRST, pf=0, number=2).index).mac == UNSET
    box.devlink.set_function(FIRST, index, FunctionSettings(mac=MAC))
    box.kernel.crash_driver(FIRST)
    assert box.function(box.devlink.create_port(FIRST, pf=0, number=2).index).mac == UNSET


# RoCE.


def gids(box: Box, instance: Handle) -> int:
    device = RdmaDevice.under(box.sysfs, str(box.sysfs.resolve(instance.path)))
    assert device is not None
    assert device.verbs is not None
    return len(box.sysfs.names(f"{device.path}/ports/1/gids"))


PARAMETERS = ("enable_roce", "enable_eth", "enable_rdma", "enable_vnet")


def test_a_light_function_has_every_parameter_off_and_all_are_off_again_after_a_deactivation(box: Box) -> None:
    instance = box.attach()
    (port,) = box.devlink.ports(FIRST)
    for _ in range(2):
        assert [box.devlink.parameter(instance, name) for name in PARAMETERS] == [False] * 4
        box.load(instance, *PARAMETERS)
        assert [box.devlink.parameter(instance, name) for name in PARAMETERS] == [True] * 4
        for active in (False, True):
            box.devlink.set_active(FIRST, port.index, active=active)
            box.kernel.settle()


def test_an_rdma_device_has_gids_if_roce_was_on_at_the_reload(box: Box) -> None:
    instance = box.attach()
    box.load(instance, "enable_eth", "enable_rdma")
    assert gids(box, instance) == 0
    box.devlink.set_parameter(instance, "enable_roce", value=True)
    assert gids(box, instance) == 0
    box.devlink.reload(instance)
    assert gids(box, instance) == 64


def test_a_function_without_roce_has_rdma_and_refuses_roce(box: Box) -> None:
    index = box.devlink.create_port(FIRST, pf=0, number=88).index
    box.devlink.set_function(FIRST, index, FunctionSettings(roce=False))
    box.devlink.set_active(FIRST, index, active=True)
    box.kernel.settle()
    instance = box.function(index).instance
    assert instance is not None
    with pytest.raises(Unsupported, match="Device doesn't support RoCE"):
        box.devlink.set_parameter(instance, "enable_roce", value=True)
    box.devlink.set_parameter(instance, "enable_roce", value=False)
    box.load(instance, "enable_rdma")
    assert gids(box, instance) == 0


def test_before_the_light_probe_a_function_comes_up_with_roce(tmp_path: Path) -> None:
    box = Box(tmp_path, topology=Topology(light_probe=False))
    instance = box.attach()
    assert [box.devlink.parameter(instance, name) for name in PARAMETERS] == [True] * 4
    assert gids(box, instance) == 64


# Sizes.


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "greater than 0"), (3, "Only power of 2 values"), (256, "out of the supported range")],
)
def test_room_for_addresses_is_a_power_of_two_that_the_card_has(box: Box, value: int, words: str) -> None:
    instance = box.attach()
    assert box.devlink.parameter(instance, "max_macs") == 128
    with pytest.raises(Invalid, match=words):
        box.devlink.set_parameter(instance, "max_macs", value=value)
    box.devlink.set_parameter(instance, "max_macs", value=1)
    assert box.devlink.parameter(instance, "max_macs") == 1


def test_a_firmware_without_a_choice_of_that_room_has_no_such_parameter(tmp_path: Path) -> None:
    box = Box(tmp_path, dataclasses.replace(CARD, max_macs=False))
    instance = box.attach()
    assert box.devlink.parameter(instance, "max_macs") is None
    assert box.devlink.parameter(instance, "io_eq_size") == 1024


# Event queues.


def test_event_queues_are_the_firmwares_until_the_activation_and_eight_from_then_on(box: Box) -> None:
    index = box.devlink.create_port(FIRST, pf=0, number=88).index
    assert box.function(index).max_io_eqs == 60
    for active in (True, False):
        box.devlink.set_active(FIRST, index, active=active)
        box.kernel.settle()
        assert box.function(index).max_io_eqs == 8


@pytest.mark.parametrize("number", [4, 60])
def test_event_queues_that_were_set_stay_as_they_are(box: Box, number: int) -> None:
    index = box.devlink.create_port(FIRST, pf=0, number=88).index
    box.devlink.set_function(FIRST, index, FunctionSettings(max_io_eqs=number))
    box.devlink.set_active(FIRST, index, active=True)
    box.kernel.settle()
    assert box.function(index).max_io_eqs == number


# A port that the firmware says nothing of.


def test_a_dump_ends_with_success_at_a_port_whose_query_is_refused(tmp_path: Path) -> None:
    kernel = SimulatedKernel(tmp_path)
    devlink, second = WholeDevlink(Netlink(kernel.transport())), TWO_CARDS[1].handle
    first, refused, third = (devlink.create_port(FIRST, pf=0, number=number) for number in (1, 2, 3))
    other = devlink.create_port(second, pf=0, number=4)
    kernel.refuse_query(FIRST, refused.index)
    assert devlink.all_ports() == [first]
    assert devlink.ports(FIRST) == [first]
    assert devlink.ports(second) == [other]
    assert devlink.port(FIRST, third.index) == third
    with pytest.raises(KernelError, match="Failed getting HCA caps") as error:
        devlink.port(FIRST, refused.index)
    assert error.value.errno == errno.EMSGSIZE
    kernel.refuse_query(FIRST, first.index)
    assert (devlink.all_ports(), devlink.ports(FIRST)) == ([], [])
    assert len(devlink.instances()) == 4
    for port in (first, refused):
        kernel.refuse_query(FIRST, port.index, refuse=False)
    assert [port.number for port in devlink.ports(FIRST)] == [1, 2, 3]


def test_a_port_whose_query_is_refused_is_deleted_without_an_announcement(box: Box) -> None:
    index = box.devlink.create_port(FIRST, pf=0, number=88).index
    box.kernel.refuse_query(FIRST, index)
    listener = box.kernel.transport().subscribe(5)
    box.devlink.delete_port(FIRST, index)
    assert [each for each in read_announced(listener) if each[0] in {Command.PORT_NEW, Command.PORT_DEL}] == []
    assert box.devlink.ports(FIRST) == []
    listener.close()


# A function that the firmware takes away.


def test_a_lost_function_goes_and_its_port_stays_active_attached_until_it_is_deleted(box: Box) -> None:
    instance = box.attach()
    (port,) = box.devlink.ports(FIRST)
    box.kernel.lose_function(FIRST, 88)
    box.kernel.settle()
    function = box.function(port.index)
    assert (function.active, function.attached, function.instance) == (True, True, None)
    assert instance not in box.devlink.instances()
    assert instance.device not in box.sysfs.names("bus/auxiliary/devices")
    box.devlink.set_active(FIRST, port.index, active=True)
    assert box.function(port.index) == function
    with pytest.raises(KernelError, match="Invalid argument"):
        box.devlink.set_active(FIRST, port.index, active=False)
    box.devlink.delete_port(FIRST, port.index)
    assert box.devlink.ports(FIRST) == []
    assert box.attach().device == instance.device


# What ends every sub-function.


def test_a_reload_of_the_card_ends_in_legacy_mode_without_a_port(box: Box) -> None:
    box.attach()
    box.devlink.reload(FIRST)
    assert box.devlink.ports(FIRST) == []
    assert box.devlink.eswitch_mode(FIRST) is EswitchMode.LEGACY
    assert box.devlink.instances() == [FIRST, UPLINK]
    assert box.sysfs.names("bus/auxiliary/devices") == ("mlx5_core.eth.0", "mlx5_core.rdma.0")
    box.kernel.set_eswitch_mode(FIRST, EswitchMode.SWITCHDEV)
    assert box.attach().device == "mlx5_core.sf.1"


def test_legacy_mode_deletes_active_and_inactive_ports(box: Box) -> None:
    instance = box.attach()
    box.load(instance, "enable_eth")
    inactive = box.devlink.create_port(FIRST, pf=0, number=89)
    listener = box.kernel.transport().subscribe(5)
    box.kernel.set_eswitch_mode(FIRST, EswitchMode.LEGACY)
    assert [each for each in read_announced(listener) if each == (Command.PORT_DEL, FIRST.device)] == [
        (Command.PORT_DEL, FIRST.device)
    ] * 2
    assert box.devlink.port(FIRST, inactive.index) is None
    assert box.devlink.instances() == [FIRST, UPLINK]
    listener.close()
