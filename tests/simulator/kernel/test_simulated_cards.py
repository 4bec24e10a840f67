"""Cards of the simulated kernel: virtual functions, IOMMU groups, mediated devices, modules, and an Intel one."""

import dataclasses
import errno
import struct
from pathlib import Path

import pytest
from tests.contract.instruments import find_mediated, find_vdpa
from tests.simulator.kernel.box import CARD, FIRST, MAC, Box

from subfunction.errors import Gone, KernelError, Unsupported
from subfunction.kernel import uapi
from subfunction.kernel.address import Handle
from subfunction.kernel.bus import driver_binding
from subfunction.kernel.bus.mdev import create as create_mediated
from subfunction.kernel.bus.vdpa import VdpaSettings
from subfunction.kernel.bus.vfio import VfioNodes
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.port import FunctionSettings
from subfunction.kernel.uapi import EswitchMode, PortFlavour
from subfunction_simulator.kernel import MediatedType, Operation, Topology
from subfunction_simulator.kernel.cards.ice_eswitch import UseAfterFreeError
from subfunction_simulator.kernel.netlink import wire
from subfunction_simulator.kernel.netlink.uapi import Attribute, Command

UUID = "83b8f4f2-509f-482f-a1e9-b7a1b7e3a7d5"


# Virtual functions and their groups.


def test_a_virtual_function_is_a_devlink_instance_and_a_port_of_its_parents_switch(tmp_path: Path) -> None:
    box = Box(tmp_path, dataclasses.replace(CARD, virtual_functions=2))
    address = CARD.virtual_function(1)
    assert Handle("pci", address) in box.devlink.instances()
    (own,) = box.devlink.ports(Handle("auxiliary", "mlx5_core.eth.2"))
    assert own.flavour is PortFlavour.VIRTUAL
    assert box.sysfs.resolve(f"class/net/{own.netdev}/device") == box.sysfs.resolve(f"bus/pci/devices/{address}")
    assert [port.vf for port in box.devlink.ports(FIRST) if port.flavour is PortFlavour.PCI_VF] == [0, 1]
    box.kernel.set_eswitch_mode(FIRST, EswitchMode.LEGACY)
    assert box.devlink.ports(FIRST) == []
    assert Handle("pci", address) in box.devlink.instances()
    box.kernel.set_eswitch_mode(FIRST, EswitchMode.SWITCHDEV)
    assert [port.vf for port in box.devlink.ports(FIRST) if port.flavour is PortFlavour.PCI_VF] == [0, 1]


def test_a_virtual_function_can_be_made_migratable_and_a_sub_function_cannot(tmp_path: Path) -> None:
    box = Box(tmp_path, dataclasses.replace(CARD, virtual_functions=1))
    (virtual,) = [port for port in box.devlink.ports(FIRST) if port.flavour is PortFlavour.PCI_VF]
    box.devlink.set_function(FIRST, virtual.index, FunctionSettings(mac=MAC, migratable=True, roce=False))
    function = box.find(virtual.index).function
    assert function is not None
    assert (function.mac, function.migratable, function.roce, function.ipsec_crypto) == (MAC, True, False, False)
    sub_function = box.devlink.create_port(FIRST, pf=0, number=88)
    with pytest.raises(Unsupported, match="Port doesn't support migratable function attribute"):
        box.devlink.set_function(FIRST, sub_function.index, FunctionSettings(migratable=True))
    with pytest.raises(Unsupported, match="Function does not support state setting"):
        box.devlink.set_active(FIRST, virtual.index, active=True)


def test_functions_of_one_group_share_its_node(tmp_path: Path) -> None:
    box = Box(tmp_path, dataclasses.replace(CARD, virtual_functions=3, functions_per_group=2))
    links = [box.sysfs.target(f"bus/pci/devices/{CARD.virtual_function(i)}/iommu_group") for i in range(3)]
    assert links[0] == links[1] != links[2]
    first, second = (CARD.virtual_function(index) for index in (0, 1))
    box.to("vfio-pci", first)
    box.to("vfio-pci", second)
    group = (links[0] or "").rpartition("/")[2]
    node = box.kernel.root / "dev" / "vfio" / group
    box.kernel.unbind_pci(first)
    assert node.exists()
    box.kernel.unbind_pci(second)
    assert not node.exists()


def test_a_function_without_group_is_taken_by_no_vfio_driver(tmp_path: Path) -> None:
    box = Box(tmp_path, dataclasses.replace(CARD, virtual_functions=1), Topology(iommu=False))
    address = CARD.virtual_function(0)
    box.to("vfio-pci", address)
    assert box.driver("pci", address) is None  # and drivers_probe says nothing of it
    with pytest.raises(KernelError, match="Invalid argument"):
        box.sysfs.write("bus/pci/drivers/vfio-pci/bind", address)
    with pytest.raises(Gone):
        box.sysfs.write("bus/pci/drivers/mlx5_core/bind", address)  # the override names another


def test_without_an_iommu_the_node_says_so(tmp_path: Path) -> None:
    box = Box(tmp_path, dataclasses.replace(CARD, virtual_functions=1), Topology(iommu=False, noiommu=True))
    address = CARD.virtual_function(0)
    box.to("vfio-pci", address)
    assert (box.kernel.root / "dev" / "vfio" / "noiommu-0").exists()
    assert box.sysfs.read("class/vfio/noiommu-0/dev") == "243:0"
    box.kernel.unbind_pci(address)
    assert box.sysfs.target(f"bus/pci/devices/{address}/iommu_group") is None


def test_a_kernel_that_has_them_gives_each_device_a_node(tmp_path: Path) -> None:
    box = Box(tmp_path, dataclasses.replace(CARD, virtual_functions=1), Topology(vfio_cdev=True))
    address = CARD.virtual_function(0)
    box.to("vfio-pci", address)
    nodes = VfioNodes.of(box.sysfs, str(box.sysfs.resolve(f"bus/pci/devices/{address}")))
    assert nodes is not None
    assert nodes.device is not None
    assert nodes.device.name == "vfio/devices/vfio0"
    assert (box.kernel.root / "dev" / nodes.device.name).exists()
    with box.kernel.hold_open(nodes.device.name):
        work = box.kernel.unbind_pci(address)
        assert not work.over
    assert work.over


def test_a_vfio_driver_that_fails_leaves_the_function_without_one(tmp_path: Path) -> None:
    box = Box(tmp_path, dataclasses.replace(CARD, virtual_functions=1))
    address = CARD.virtual_function(0)
    box.kernel.faults.fail_next(Operation.VFIO_PROBE, errno.EIO)
    box.to("vfio-pci", address)
    assert box.driver("pci", address) is None
    box.kernel.probe_pci(address)
    assert box.driver("pci", address) == "vfio-pci"


# Mediated devices.


def test_what_user_space_writes_to_create_is_checked(tmp_path: Path) -> None:
    box = Box(tmp_path, dataclasses.replace(CARD, mediated_types=(MediatedType("mlx5_core-sf"),)))
    create = f"class/mdev_bus/{FIRST.device}/mdev_supported_types/mlx5_core-sf/create"
    for text, refusal in (("no uuid", errno.EINVAL), (UUID.replace("-", ""), errno.EINVAL), (UUID, None)):
        if refusal is None:
            box.sysfs.write(create, text)
        else:
            with pytest.raises(KernelError) as refused:
                box.sysfs.write(create, text)
            assert refused.value.errno == refusal
    for uuid, refusal in ((UUID, errno.EEXIST), (UUID.replace("8", "9"), errno.EUSERS)):
        with pytest.raises(KernelError) as refused:
            box.sysfs.write(create, uuid)
        assert refused.value.errno == refusal


def test_mediated_devices_go_with_their_parents_driver(tmp_path: Path) -> None:
    box = Box(tmp_path, dataclasses.replace(CARD, mediated_types=(MediatedType("mlx5_core-sf"),)))
    create_mediated(box.sysfs, FIRST, "mlx5_core-sf", UUID)
    box.kernel.crash_driver(FIRST)
    assert find_mediated(box.sysfs, UUID) is None
    create_mediated(box.sysfs, FIRST, "mlx5_core-sf", UUID)
    box.kernel.delete_mediated(UUID)
    assert find_mediated(box.sysfs, UUID) is None
    assert box.sysfs.names("kernel/iommu_groups") == ("0",)


# Modules.


def test_without_its_module_a_function_has_no_management_device_until_it_is_loaded(tmp_path: Path) -> None:
    box = Box(tmp_path, topology=Topology(modules=("vhost_vdpa",)))
    instance = box.attach()
    box.load(instance, "enable_vnet")
    assert box.vdpa.management_devices() == []
    box.kernel.load_module("mlx5_vdpa")
    assert [device.handle for device in box.vdpa.management_devices()] == [instance]
    box.kernel.unload_module("mlx5_vdpa")
    assert box.vdpa.management_devices() == []


def test_without_any_module_of_vdpa_there_is_no_such_family(tmp_path: Path) -> None:
    box = Box(tmp_path, topology=Topology(modules=()))
    (reply,) = box.kernel.answer(wire.message(27, uapi.NLM_F_REQUEST, 1, 0, wire.generic(2)))
    assert -int(struct.unpack_from("=i", reply, 16)[0]) == errno.ENOENT
    box.kernel.load_module("virtio-vdpa")
    assert box.vdpa.management_devices() == []


def test_the_driver_loaded_first_takes_a_device_and_the_next_one_when_it_is_gone(tmp_path: Path) -> None:
    box = Box(tmp_path, topology=Topology(modules=("mlx5_vdpa", "virtio_vdpa", "vhost_vdpa")))
    instance = box.attach()
    box.load(instance, "enable_vnet")
    box.vdpa.add("vd0", instance, VdpaSettings(mac=MAC))
    assert box.driver("vdpa", "vd0") == "virtio_vdpa"
    box.kernel.unload_module("virtio_vdpa")
    assert box.driver("vdpa", "vd0") is None
    assert driver_binding.list_drivers(box.sysfs, "vdpa") == {"vhost_vdpa"}
    driver_binding.probe(box.sysfs, "vdpa", "vd0")
    assert box.driver("vdpa", "vd0") == "vhost_vdpa"
    box.kernel.load_module("virtio_vdpa")
    assert box.driver("vdpa", "vd0") == "vhost_vdpa"


def test_without_autoprobe_a_device_has_no_driver_until_it_is_probed(tmp_path: Path) -> None:
    box = Box(tmp_path)
    instance = box.attach()
    box.load(instance, "enable_vnet")
    box.sysfs.write("bus/vdpa/drivers_autoprobe", "0")
    box.vdpa.add("vd0", instance, VdpaSettings(mac=MAC))
    assert box.driver("vdpa", "vd0") is None
    box.kernel.faults.fail_next(Operation.VDPA_PROBE, errno.EIO, times=2)
    driver_binding.probe(box.sysfs, "vdpa", "vd0")  # both drivers fail, and nobody says so
    assert box.driver("vdpa", "vd0") is None
    driver_binding.override(box.sysfs, "vdpa", "vd0", "virtio_vdpa")
    driver_binding.probe(box.sysfs, "vdpa", "vd0")
    assert box.driver("vdpa", "vd0") == "virtio_vdpa"
    assert box.sysfs.read("bus/vdpa/devices/vd0/driver_override") == "virtio_vdpa"
    driver_binding.override(box.sysfs, "vdpa", "vd0", None)
    assert box.sysfs.read("bus/vdpa/devices/vd0/driver_override") == "(null)"
    with pytest.raises(KernelError, match="busy"):
        box.sysfs.write("bus/vdpa/drivers/vhost_vdpa/bind", "vd0")


def test_without_mlx5_ib_nothing_has_an_rdma_device(tmp_path: Path) -> None:
    box = Box(tmp_path)
    instance = box.attach()
    box.load(instance, "enable_eth", "enable_rdma")
    assert len(box.sysfs.names("class/infiniband")) == 2
    box.kernel.unload_module("mlx5_ib")
    assert box.sysfs.names("class/infiniband") == ()
    assert len(Netdev.under(box.sysfs, str(box.sysfs.resolve(instance.path)))) == 1
    box.kernel.load_module("mlx5_ib")
    assert len(box.sysfs.names("class/infiniband")) == 2


# vDPA.


def test_ordered_failures_of_vdpa_come_once(tmp_path: Path) -> None:
    box = Box(tmp_path)
    instance = box.attach()
    box.load(instance, "enable_vnet")
    box.kernel.faults.fail_next(Operation.VDPA_ADD, errno.ENOMEM)
    with pytest.raises(KernelError, match="Cannot allocate memory"):
        box.vdpa.add("vd0", instance, VdpaSettings())
    box.vdpa.add("vd0", instance, VdpaSettings())
    box.kernel.faults.fail_next(Operation.VDPA_DELETE, errno.EIO)
    with pytest.raises(KernelError):
        box.vdpa.delete("vd0")
    box.kernel.delete_vdpa("vd0")
    assert find_vdpa(box.sysfs, "vd0") is None


def test_a_device_of_which_nothing_is_asked_has_one_pair_of_queues_and_merges_no_buffers(tmp_path: Path) -> None:
    box = Box(tmp_path)
    instance = box.attach()
    box.load(instance, "enable_vnet")
    (management,) = box.vdpa.management_devices()
    box.vdpa.add("vd0", instance, VdpaSettings())
    config = box.vdpa.config("vd0")
    assert config is not None
    assert (config.queue_pairs, management.max_queue_pairs) == (1, 2)
    assert config.features == management.features & ~(1 << 15)


def test_a_device_without_a_feature_shows_no_value_of_it(tmp_path: Path) -> None:
    box = Box(tmp_path)
    instance = box.attach()
    box.load(instance, "enable_vnet")
    box.vdpa.add("vd0", instance, VdpaSettings(mac=MAC, mtu=9000, features=1 << 32 | 1 << 33 | 1 << 5))
    config = box.vdpa.config("vd0")
    assert config is not None
    assert (config.mac, config.mtu, config.queue_pairs) == (MAC, None, None)


@pytest.mark.parametrize(
    ("settings", "refusal", "text"),
    [
        (wire.u16(13, 67), errno.ERANGE, b"integer out of range"),
        (wire.u16(12, 0), errno.EINVAL, b"At least one pair of VQs is required"),
        (wire.u16(12, 3), errno.EINVAL, b""),
        (wire.u64(20, 1 << 60), errno.EINVAL, b""),
        (wire.u64(20, 1 << 5), errno.EOPNOTSUPP, b""),
        (wire.attribute(10, bytes(5)), errno.EINVAL, b""),
    ],
)
def test_what_a_device_cannot_be_is_refused(tmp_path: Path, settings: bytes, refusal: int, text: bytes) -> None:
    box = Box(tmp_path)
    instance = box.attach()
    box.load(instance, "enable_vnet")
    asked = wire.text(4, "vd0") + wire.text(1, instance.bus) + wire.text(2, instance.device) + settings
    flags = uapi.NLM_F_REQUEST | uapi.NLM_F_ACK
    (reply,) = box.kernel.answer(wire.message(27, flags, 1, 0, wire.generic(3, asked)))
    assert (-int(struct.unpack_from("=i", reply, 16)[0]), text in reply) == (refusal, True)


# Rates.


def test_rates_are_limited_by_unit_link_and_groups(tmp_path: Path) -> None:
    box = Box(tmp_path, dataclasses.replace(CARD, link_speed=10_000))
    index = wire.u32(3, box.devlink.create_port(FIRST, pf=0, number=88).index)
    maximum = Attribute.RATE_TX_MAX
    number, reply = box.ask(Command.RATE_SET, index, wire.u64(maximum, 125_000 * 10_001))
    assert (number, b"TX rate value exceed link maximum speed" in reply) == (errno.EINVAL, True)
    number, reply = box.ask(Command.RATE_SET, index, wire.u64(maximum, 125_001))
    assert (number, b"TX rate value not in link speed units of 1Mbps" in reply) == (errno.EINVAL, True)
    number, reply = box.ask(Command.RATE_SET, index, wire.u32(Attribute.RATE_TX_PRIORITY, 1))
    assert (number, b"TX priority set isn't supported for the leaf" in reply) == (errno.EOPNOTSUPP, True)
    box.kernel.faults.fail_next(Operation.RATE_SET, errno.EIO)
    assert box.ask(Command.RATE_SET, index, wire.u64(maximum, 125_000))[0] == errno.EIO
    assert box.ask(Command.RATE_SET, index, wire.u64(maximum, 125_000))[0] == 0


def test_a_group_is_kept_by_its_members_and_keeps_the_mode(tmp_path: Path) -> None:
    box = Box(tmp_path)
    index = wire.u32(3, box.devlink.create_port(FIRST, pf=0, number=88).index)
    node = wire.text(Attribute.RATE_NODE_NAME, "gold")
    parent = Attribute.RATE_PARENT_NODE_NAME
    assert box.ask(Command.RATE_SET, index, wire.text(parent, "gold"))[0] == errno.ENODEV
    assert box.ask(Command.RATE_NEW, wire.text(Attribute.RATE_NODE_NAME, "42"))[0] == errno.EINVAL
    assert box.ask(Command.RATE_NEW, node)[0] == 0
    assert box.ask(Command.RATE_NEW, node)[0] == errno.EEXIST
    assert box.ask(Command.RATE_SET, index, wire.text(parent, "gold"))[0] == 0
    number, reply = box.ask(Command.RATE_DEL, node)
    assert (number, b"Node has children. Cannot delete node." in reply) == (errno.EBUSY, True)
    number, reply = box.ask(uapi.Command.ESWITCH_SET, wire.u16(25, 0))
    assert (number, b"Rate node(s) exists." in reply) == (errno.EBUSY, True)
    assert box.ask(Command.RATE_SET, index, wire.text(parent, ""))[0] == 0
    assert box.ask(Command.RATE_DEL, node)[0] == 0
    assert box.ask(Command.RATE_DEL, node)[0] == errno.ENODEV


# Behind the agent's back.


def test_an_ice_function_that_is_lost_is_detached_and_its_port_inactive(tmp_path: Path) -> None:
    box = intel(tmp_path)
    instance = box.attach()
    box.kernel.lose_function(FIRST, 88)
    box.kernel.settle()
    (port,) = [port for port in box.devlink.ports(FIRST) if port.is_sub_function]
    assert port.function is not None
    assert (port.function.active, port.function.attached, port.function.instance) == (False, False, None)
    assert instance not in box.devlink.instances()


def test_a_pci_driver_can_be_taken_off_and_comes_back(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.attach()
    box.sysfs.write("bus/pci/drivers/mlx5_core/unbind", FIRST.device)
    assert box.devlink.instances() == []
    box.kernel.probe_pci(FIRST.device)
    child = Handle("auxiliary", "mlx5_core.eth.0")
    assert box.devlink.instances() == [FIRST, child]
    assert [(port.handle, port.flavour) for port in box.devlink.all_ports()] == [(child, PortFlavour.PHYSICAL)]


# Intel.


def intel(root: Path) -> Box:
    return Box(root, dataclasses.replace(CARD, driver="ice"))


def test_a_port_that_legacy_mode_left_behind_on_ice_is_the_end_if_it_is_deleted(tmp_path: Path) -> None:
    box = intel(tmp_path)
    port = box.devlink.create_port(FIRST, pf=0, number=88)
    for mode in (EswitchMode.LEGACY, EswitchMode.SWITCHDEV):
        box.kernel.set_eswitch_mode(FIRST, mode)
    # Forgotten by the e-switch, it is in nobody's way.
    assert box.devlink.create_port(FIRST, pf=0, number=89).number == 89
    with pytest.raises(UseAfterFreeError):
        box.devlink.delete_port(FIRST, port.index)


def test_ice_says_that_the_mode_was_changed(tmp_path: Path) -> None:
    number, reply = intel(tmp_path).ask(uapi.Command.ESWITCH_SET, wire.u16(25, EswitchMode.LEGACY))
    assert (number, b"ice: Changed eswitch mode to legacy" in reply) == (0, True)


def test_ice_changes_no_mode_and_reloads_nothing_while_it_has_virtual_functions(tmp_path: Path) -> None:
    for mode, words in (
        (EswitchMode.SWITCHDEV, "Go to legacy mode before doing reinit"),
        (EswitchMode.LEGACY, "Remove all VFs before doing reinit"),
    ):
        card = dataclasses.replace(CARD, driver="ice", virtual_functions=2, mode=mode)
        box = Box(tmp_path / mode.name, card)
        other = EswitchMode.LEGACY if mode is EswitchMode.SWITCHDEV else EswitchMode.SWITCHDEV
        number, reply = box.ask(uapi.Command.ESWITCH_SET, wire.u16(25, other))
        assert (number, b"allowed only if there is no VFs created" in reply) == (errno.EOPNOTSUPP, True)
        with pytest.raises(Unsupported, match=words):
            box.devlink.reload(FIRST)


def test_ice_refuses_the_mere_presence_of_a_controller(tmp_path: Path) -> None:
    asked = wire.u16(77, PortFlavour.PCI_SF) + wire.u16(127, 0) + wire.u32(164, 88) + wire.u32(150, 0)
    number, reply = intel(tmp_path).ask(uapi.Command.PORT_NEW, asked)
    assert (number, b"ice: Setting controller is not supported" in reply) == (errno.EOPNOTSUPP, True)


def test_an_ice_function_is_attached_when_the_request_is_answered_and_its_netdev_is_under_the_parent(
    tmp_path: Path,
) -> None:
    box = intel(tmp_path)
    port = box.devlink.create_port(FIRST, pf=0, number=88)
    assert port.function is not None
    assert port.function.mac is not None
    assert not port.function.mac.unset
    box.devlink.set_active(FIRST, port.index, active=True)
    function = box.find(port.index).function
    assert function is not None
    assert (function.attached, str(function.instance)) == (True, "auxiliary/ice.sf.1")
    assert function.instance is not None
    (virtual,) = box.devlink.ports(function.instance)
    netdev = Netdev.named(box.sysfs, str(virtual.netdev))
    assert netdev is not None
    assert netdev.path == f"{CARD.path}/net/{virtual.netdev}"
    assert netdev.mac == port.function.mac
    assert box.sysfs.read(f"{function.instance.path}/sfnum") is None
    with pytest.raises(KernelError, match="Ethernet address can be change only in detached state"):
        box.devlink.set_function(FIRST, port.index, FunctionSettings(mac=MAC))
    box.devlink.set_active(FIRST, port.index, active=False)
    assert box.sysfs.names("bus/auxiliary/devices") == ()
    box.devlink.set_function(FIRST, port.index, FunctionSettings(mac=MAC))


@pytest.mark.parametrize("settings", [FunctionSettings(roce=False), FunctionSettings(max_io_eqs=4)])
def test_an_ice_function_has_neither_roce_nor_event_queues_nor_rates(
    tmp_path: Path, settings: FunctionSettings
) -> None:
    box = intel(tmp_path)
    port = box.devlink.create_port(FIRST, pf=0, number=88)
    with pytest.raises(Unsupported, match=r"oes(n't| not) support"):
        box.devlink.set_function(FIRST, port.index, settings)
    assert box.devlink.rate(FIRST, port.index) is None
    assert box.devlink.capacity(FIRST) is None
    assert box.sysfs.names("class/infiniband") == ()
