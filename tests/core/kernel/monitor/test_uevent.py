"""Reading what the kernel announces of its devices and links, datagram by datagram."""

import struct

import pytest

from subfunction.errors import MalformedReply
from subfunction.kernel.monitor import link as link_monitor
from subfunction.kernel.monitor import uevent as uevent_monitor
from subfunction.kernel.monitor.link import LinkChanged, LinkDeleted
from subfunction.kernel.monitor.uevent import Uevent
from subfunction.kernel.uapi.link import LinkAttribute, RouteMessage
from subfunction_simulator.kernel.netlink import wire

PATH = "/devices/pci0000:00/0000:05:00.0/mlx5_core.sf.1"
AF_BRIDGE = 7


def uevent(action: str, path: str, *lines: str) -> bytes:
    return "\0".join((f"{action}@{path}", f"ACTION={action}", f"DEVPATH={path}", *lines, "SEQNUM=4711", "")).encode()


def test_a_device_is_known_by_its_path_in_sysfs_its_bus_and_its_driver() -> None:
    (event,) = uevent_monitor.parse_events(uevent("bind", PATH, "SUBSYSTEM=auxiliary", "DRIVER=mlx5_core.sf"))
    assert event == Uevent("bind", PATH.strip("/"), "auxiliary", "mlx5_core.sf")
    assert event.name == "mlx5_core.sf.1"


def test_a_device_without_a_driver_has_none() -> None:
    (event,) = uevent_monitor.parse_events(uevent("unbind", PATH, "SUBSYSTEM=vdpa"))
    assert event.driver is None


def test_a_value_may_hold_what_stands_between_names_and_values() -> None:
    (event,) = uevent_monitor.parse_events(
        uevent("add", PATH, "SUBSYSTEM=auxiliary", "MODALIAS=auxiliary:a=b", "DRIVER=a=b")
    )
    assert event.driver == "a=b"


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"libudev\0\xfe\xed\xca\xfe",
        b"add",
        b"@/devices/x\0ACTION=\0DEVPATH=/devices/x\0",
        b"add@devices/x\0ACTION=add\0DEVPATH=devices/x\0",
        b"add@/\0ACTION=add\0DEVPATH=/\0",
        uevent("add", PATH)[:-40],
        uevent("add", PATH).replace(b"ACTION=add", b"ACTION=remove"),
        uevent("add", PATH).replace(b"DEVPATH=/devices", b"DEVPATH=/other"),
        b"\xff\xfe@/devices/x\0",
    ],
)
def test_what_is_no_uevent_of_the_kernel_is_malformed(datagram: bytes) -> None:
    with pytest.raises(MalformedReply):
        uevent_monitor.parse_events(datagram)


def link(kind: int, *attributes: bytes, index: int = 7, flags: int = 0, family: int = 0) -> bytes:
    return wire.message(kind, 0, 0, 0, struct.pack("=BxHiII", family, 1, index, flags, 0) + b"".join(attributes))


NAME = wire.text(LinkAttribute.IFNAME, "eth3")


def test_a_link_is_announced_with_its_name_and_state() -> None:
    changed = link(RouteMessage.NEWLINK, NAME, flags=0x1003)
    assert link_monitor.parse_events(changed) == [LinkChanged(7, "eth3", up=True)]
    assert link_monitor.parse_events(link(RouteMessage.DELLINK, NAME)) == [LinkDeleted(7, "eth3")]


def test_all_links_of_one_datagram_are_announced() -> None:
    both = link(RouteMessage.NEWLINK, NAME) + link(RouteMessage.DELLINK, NAME)
    assert link_monitor.parse_events(both) == [LinkChanged(7, "eth3", up=False), LinkDeleted(7, "eth3")]


def test_a_port_that_leaves_its_bridge_is_not_deleted() -> None:
    assert link_monitor.parse_events(link(RouteMessage.DELLINK, NAME, family=AF_BRIDGE)) == []


@pytest.mark.parametrize(
    "datagram",
    [
        link(RouteMessage.NEWLINK),
        link(RouteMessage.NEWLINK, wire.text(LinkAttribute.IFNAME, "")),
        link(RouteMessage.NEWLINK, NAME, index=0),
        link(RouteMessage.NEWLINK, NAME, index=-1),
        link(RouteMessage.DELLINK, wire.attribute(LinkAttribute.IFNAME, b"eth3")),
        wire.message(RouteMessage.NEWLINK, 0, 0, 0, bytes(8)),
        wire.message(RouteMessage.NEWLINK, 0, 0, 0, b""),
        bytes(5),
    ],
)
def test_what_is_no_message_about_a_link_is_malformed(datagram: bytes) -> None:
    with pytest.raises(MalformedReply):
        link_monitor.parse_events(datagram)
