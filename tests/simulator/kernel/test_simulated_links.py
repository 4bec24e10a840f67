"""Links of the simulated kernel: what rtnetlink changes, refuses and tells, and in which order uevents come."""

import errno
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subfunction.errors import KernelBusy
from subfunction.kernel import uapi
from subfunction.kernel.address import Mac
from subfunction.kernel.bus import driver_binding
from subfunction.kernel.bus.vdpa import Vdpa, VdpaSettings
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.monitor.uevent import parse_events
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import Socket
from subfunction.kernel.uapi import NetlinkProtocol
from subfunction_simulator.kernel import Operation, Parent, SimulatedKernel, Topology
from subfunction_simulator.kernel.families.vdpa import VDPA_ID
from subfunction_simulator.kernel.netlink import wire
from subfunction_simulator.kernel.netlink.uapi import LinkAttribute, RouteMessage
from subfunction_simulator.kernel.network.link import INTERFACE

CARD = Parent(bdf="0000:03:00.0", netdev="p0")
FIRST = CARD.handle
UP = uapi.IFF_UP
ACK = uapi.NLM_F_REQUEST | uapi.NLM_F_ACK


@pytest.fixture
def kernel(tmp_path: Path) -> SimulatedKernel:
    return SimulatedKernel(tmp_path, Topology(parents=(CARD,), bridges=("br0",)))


@pytest.fixture
def representor(kernel: SimulatedKernel) -> str:
    """Make a function, and name its representor."""
    return str(Devlink(Netlink(kernel.transport())).create_port(FIRST, pf=0, number=88).netdev)


@pytest.fixture
def name(kernel: SimulatedKernel, representor: str) -> str:
    """Name the netdev of a function."""
    devlink, sysfs = Devlink(Netlink(kernel.transport())), kernel.sysfs()
    (port,) = devlink.ports(FIRST)
    assert port.netdev == representor
    devlink.set_active(FIRST, port.index, active=True)
    kernel.settle()
    seen = devlink.port(FIRST, port.index)
    assert seen is not None
    assert seen.function is not None
    assert seen.function.instance is not None
    devlink.set_parameter(seen.function.instance, "enable_eth", value=True)
    devlink.reload(seen.function.instance)
    (netdev,) = Netdev.under(sysfs, str(sysfs.resolve(seen.function.instance.path)))
    return netdev.name


def ask(kernel: SimulatedKernel, ifindex: int, *attributes: bytes, flags: int = 0, mask: int = 0) -> tuple[int, bytes]:
    """Send a RTM_SETLINK, and give errno and extended ack."""
    body = INTERFACE.pack(0, 0, ifindex, flags, mask) + b"".join(attributes)
    (reply,) = kernel.answer(wire.message(RouteMessage.SETLINK, ACK, 1, 0, body), NetlinkProtocol.ROUTE)
    return -int(struct.unpack_from("=i", reply, 16)[0]), reply


def drain(socket: Socket) -> list[bytes]:
    datagrams = []
    while True:
        try:
            datagrams.append(socket.receive(0))
        except KernelBusy:
            return datagrams


@given(st.binary(max_size=300))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_request_or_ignored(kernel: SimulatedKernel, datagram: bytes) -> None:
    for protocol in NetlinkProtocol:
        for reply in kernel.answer(datagram, protocol):
            assert struct.unpack_from("=I", reply)[0] >= 16


@given(
    kind=st.integers(16, 20),
    flags=st.sampled_from([0x5, 0x1, 0x301]),
    interface=st.tuples(st.integers(-1, 6), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF)),
    attributes=st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=20))),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_change_of_a_link_is_made_or_refused(
    kernel: SimulatedKernel, kind: int, flags: int, interface: tuple[int, int, int], attributes: list[tuple[int, bytes]]
) -> None:
    body = INTERFACE.pack(0, 0, *interface) + b"".join(wire.attribute(*each) for each in attributes)
    kernel.answer(wire.message(kind, flags, 1, 0, body), NetlinkProtocol.ROUTE)
    assert len(list(kernel.hardware.netdevs)) == 2


@given(command=st.integers(0, 10), flags=st.sampled_from([0x5, 0x1, 0x301]), body=st.binary(max_size=60))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_any_request_of_vdpa_is_answered_or_refused(
    kernel: SimulatedKernel, command: int, flags: int, body: bytes
) -> None:
    kernel.answer(wire.message(VDPA_ID, flags, 1, 0, wire.generic(command, body)))


# What is refused.


@pytest.mark.parametrize(
    ("attribute", "refusal", "text"),
    [
        (wire.u32(LinkAttribute.MTU, 67), errno.EINVAL, b"mtu less than device minimum"),
        (wire.u32(LinkAttribute.MTU, 20000), errno.EINVAL, b"mtu greater than device maximum"),
        (wire.attribute(LinkAttribute.ADDRESS, bytes(5)), errno.EINVAL, b""),
        (wire.attribute(LinkAttribute.ADDRESS, bytes.fromhex("01005e000001")), errno.EADDRNOTAVAIL, b""),
        (wire.text(LinkAttribute.IFNAME, "p0"), errno.EEXIST, b""),
        (wire.text(LinkAttribute.IFNAME, "a/b"), errno.EINVAL, b""),
        (wire.text(LinkAttribute.IFNAME, "sixteen-letters-"), errno.EINVAL, b""),
        (wire.u32(LinkAttribute.MASTER, 4711), errno.EINVAL, b""),
        (wire.u32(LinkAttribute.MASTER, 2), errno.EOPNOTSUPP, b""),
    ],
)
def test_what_a_link_cannot_be_is_refused_as_the_kernel_does(
    kernel: SimulatedKernel, name: str, attribute: bytes, refusal: int, text: bytes
) -> None:
    before = kernel.sysfs().read(f"class/net/{name}/address"), kernel.sysfs().read(f"class/net/{name}/mtu")
    number, reply = ask(kernel, kernel.hardware.netdevs.find(name).ifindex, attribute)
    assert (number, text in reply) == (refusal, True)
    assert (kernel.sysfs().read(f"class/net/{name}/address"), kernel.sysfs().read(f"class/net/{name}/mtu")) == before


def test_a_link_that_is_not_there_or_is_in_a_pod_is_enodev(kernel: SimulatedKernel, name: str) -> None:
    ifindex = kernel.hardware.netdevs.find(name).ifindex
    kernel.move_netdev(name)
    assert ask(kernel, ifindex, flags=UP, mask=UP)[0] == errno.ENODEV
    assert ask(kernel, 4711, flags=UP, mask=UP)[0] == errno.ENODEV
    assert ask(kernel, 0, flags=UP, mask=UP)[0] == errno.EINVAL


def test_what_came_before_a_refusal_stays(kernel: SimulatedKernel, name: str) -> None:
    ifindex = kernel.hardware.netdevs.find(name).ifindex
    ask(kernel, ifindex, wire.u32(LinkAttribute.MTU, 9000), wire.text(LinkAttribute.IFNAME, "p0"), flags=UP, mask=UP)
    assert kernel.sysfs().read(f"class/net/{name}/mtu") == "9000"
    assert kernel.sysfs().read(f"class/net/{name}/operstate") == "down"


def test_an_ordered_failure_comes_once(kernel: SimulatedKernel, name: str) -> None:
    ifindex = kernel.hardware.netdevs.find(name).ifindex
    kernel.faults.fail_next(Operation.SET_LINK, errno.EBUSY)
    assert ask(kernel, ifindex, flags=UP, mask=UP)[0] == errno.EBUSY
    assert ask(kernel, ifindex, flags=UP, mask=UP)[0] == 0


def test_a_representor_of_mlx5_takes_no_address_and_stays_in_its_namespace(
    kernel: SimulatedKernel, representor: str
) -> None:
    address = wire.attribute(LinkAttribute.ADDRESS, bytes.fromhex("020000008888"))
    before = kernel.sysfs().read(f"class/net/{representor}/address")
    assert ask(kernel, kernel.hardware.netdevs.find(representor).ifindex, address)[0] == errno.EOPNOTSUPP
    assert kernel.sysfs().read(f"class/net/{representor}/address") == before
    with pytest.raises(OSError, match="Invalid argument"):
        kernel.move_netdev(representor)
    assert ask(kernel, kernel.hardware.netdevs.find("p0").ifindex, address)[0] == 0


# What is shown.


def test_a_link_is_renamed_while_it_is_up_and_keeps_its_bridge(kernel: SimulatedKernel, name: str) -> None:
    sysfs, ifindex = kernel.sysfs(), kernel.hardware.netdevs.find(name).ifindex
    bridge = int(sysfs.read("class/net/br0/ifindex") or 0)
    inode = sysfs.inode(f"class/net/{name}")
    assert ask(kernel, ifindex, wire.u32(LinkAttribute.MASTER, bridge), flags=UP, mask=UP)[0] == 0
    assert sysfs.names("class/net/br0/brif") == (name,)
    assert ask(kernel, ifindex, wire.text(LinkAttribute.IFNAME, "sf88"))[0] == 0
    assert sysfs.names("class/net/br0/brif") == ("sf88",)
    assert sysfs.resolve("class/net/sf88/master") == "devices/virtual/net/br0"
    assert (sysfs.inode("class/net/sf88"), sysfs.read("class/net/sf88/operstate")) == (inode, "up")
    kernel.move_netdev("sf88")
    assert sysfs.names("class/net/br0/brif") == ()


def test_a_dump_shows_every_link_of_this_namespace(kernel: SimulatedKernel, name: str) -> None:
    body = INTERFACE.pack(0, 0, 0, 0, 0)
    request = wire.message(RouteMessage.GETLINK, uapi.NLM_F_REQUEST | uapi.NLM_F_DUMP, 7, 0, body)
    (datagram,) = kernel.answer(request, NetlinkProtocol.ROUTE)
    for link in ("p0", "br0", name):
        assert link.encode() + b"\0" in datagram
    kernel.move_netdev(name)
    (datagram,) = kernel.answer(request, NetlinkProtocol.ROUTE)
    assert name.encode() + b"\0" not in datagram


# What is told.


def types(datagrams: list[bytes]) -> list[RouteMessage]:
    return [RouteMessage(struct.unpack_from("=IH", datagram)[1]) for datagram in datagrams]


def test_a_link_is_told_of_once_for_each_change_and_when_it_leaves(kernel: SimulatedKernel, name: str) -> None:
    listener = kernel.transport().subscribe(1, NetlinkProtocol.ROUTE)
    ifindex = kernel.hardware.netdevs.find(name).ifindex
    ask(kernel, ifindex, wire.u32(LinkAttribute.MTU, 9000), flags=UP, mask=UP)
    assert types(drain(listener)) == [RouteMessage.NEWLINK, RouteMessage.NEWLINK]
    ask(kernel, ifindex, wire.u32(LinkAttribute.MTU, 9000), flags=UP, mask=UP)
    assert drain(listener) == []  # nothing changed
    kernel.set_netdev_up(name, up=False)
    kernel.rename_netdev(name, "renamed")
    assert types(drain(listener)) == [RouteMessage.NEWLINK, RouteMessage.NEWLINK]
    kernel.move_netdev("renamed")
    assert types(drain(listener)) == [RouteMessage.DELLINK]
    kernel.namespace_ends(mtu=1400)
    assert types(drain(listener)) == [RouteMessage.NEWLINK]
    listener.close()


def read_events(listener: Socket) -> list[str]:
    """Give what uevents said, as `action name` or `bind name driver`."""
    events = [event for datagram in drain(listener) for event in parse_events(datagram)]
    return [
        " ".join(filter(None, (event.action, event.name, event.driver if event.action == "bind" else None)))
        for event in events
    ]


def test_uevents_come_in_the_order_of_the_real_kernel(kernel: SimulatedKernel) -> None:
    devlink, sysfs = Devlink(Netlink(kernel.transport())), kernel.sysfs()
    listener = kernel.transport().subscribe(1, NetlinkProtocol.UEVENT)
    port = devlink.create_port(FIRST, pf=0, number=88)
    assert read_events(listener) == ["add eth0"]
    devlink.set_active(FIRST, port.index, active=True)
    kernel.settle()
    assert read_events(listener) == ["add mlx5_core.sf.1", "bind mlx5_core.sf.1 mlx5_core.sf"]
    seen = devlink.port(FIRST, port.index)
    assert seen is not None
    assert seen.function is not None
    instance = seen.function.instance
    assert instance is not None
    for parameter in ("enable_eth", "enable_rdma", "enable_vnet"):
        devlink.set_parameter(instance, parameter, value=True)
    devlink.reload(instance)
    devices = [word for word in read_events(listener) if "core." not in word]
    assert devices == ["add eth1", "add uverbs1", "add mlx5_1"]
    Vdpa(Netlink(kernel.transport())).add("vd0", instance, VdpaSettings(mac=Mac.parse("02:00:00:00:88:88")))
    assert read_events(listener) == ["add vd0", "bind vd0 vhost_vdpa"]  # nothing tells of the character device
    driver_binding.override(sysfs, "vdpa", "vd0", "virtio_vdpa")
    driver_binding.unbind(sysfs, "vdpa", "vd0", "vhost_vdpa")
    driver_binding.probe(sysfs, "vdpa", "vd0")
    assert read_events(listener) == [
        "unbind vd0",
        "add virtio0",
        "add eth2",
        "bind virtio0 virtio_net",
        "bind vd0 virtio_vdpa",
    ]
    kernel.rename_netdev("eth1", "renamed")
    assert read_events(listener) == ["move renamed"]
    devlink.set_active(FIRST, port.index, active=False)
    kernel.settle()
    left = [word for word in read_events(listener) if "core.eth" not in word and "core.rdma" not in word]
    assert [word for word in left if "vnet" not in word] == [
        "remove eth2",
        "unbind virtio0",
        "remove virtio0",
        "unbind vd0",
        "remove vd0",
        "remove uverbs1",
        "remove mlx5_1",
        "remove renamed",
        "unbind mlx5_core.sf.1",
        "remove mlx5_core.sf.1",
    ]
    listener.close()


def test_a_driver_that_comes_or_goes_is_told_after_the_devices_it_takes_and_before_its_module(
    kernel: SimulatedKernel,
) -> None:
    kernel.unload_module("vhost_vdpa")
    listener = kernel.transport().subscribe(1, NetlinkProtocol.UEVENT)
    kernel.load_module("vhost_vdpa")
    kernel.unload_module("vhost_vdpa")
    told = [parse_events(datagram) for datagram in drain(listener)]
    assert [(event.action, event.subsystem, event.path) for events in told for event in events] == [
        ("add", "drivers", "bus/vdpa/drivers/vhost_vdpa"),
        ("add", "module", "module/vhost_vdpa"),
        ("remove", "drivers", "bus/vdpa/drivers/vhost_vdpa"),
        ("remove", "module", "module/vhost_vdpa"),
    ]
    listener.close()


def test_what_a_bus_says_of_a_device_stands_in_each_of_its_uevents(kernel: SimulatedKernel) -> None:
    listener = kernel.transport().subscribe(1, NetlinkProtocol.UEVENT)
    kernel.crash_driver(FIRST)
    of_the_function = [datagram for datagram in drain(listener) if b"SUBSYSTEM=pci" in datagram]
    assert [datagram.partition(b"@")[0] for datagram in of_the_function] == [b"unbind", b"bind"]
    assert all(b"PCI_SLOT_NAME=" in datagram for datagram in of_the_function)
    assert b"DRIVER=mlx5_core\0PCI_SLOT_NAME=" in of_the_function[1]
    listener.close()


def test_an_uevent_says_where_what_and_which(kernel: SimulatedKernel) -> None:
    listener = kernel.transport().subscribe(1, NetlinkProtocol.UEVENT)
    Devlink(Netlink(kernel.transport())).create_port(FIRST, pf=0, number=88)
    (datagram,) = drain(listener)
    head, *words = datagram.decode().rstrip("\0").split("\0")
    path = f"/{CARD.path}/net/eth0"
    assert head == f"add@{path}"
    assert words[:4] == ["ACTION=add", f"DEVPATH={path}", "SUBSYSTEM=net", "INTERFACE=eth0"]
    assert words[-1].startswith("SEQNUM=")
    listener.close()
