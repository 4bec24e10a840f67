"""What tests ask a kernel and the product never does: all instances at once, vDPA by netlink, a device by its name.

Each of these questions waits for whatever one user of one device keeps waiting; that is what some tests are about.
"""

import dataclasses
import enum
import errno
from typing import Final

from subfunction.errors import KernelError
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.bus import mdev, vdpa
from subfunction.kernel.bus.mdev import MediatedDevice
from subfunction.kernel.bus.vdpa import Vdpa, VdpaDevice
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netlink.codec import Kind, Message, Schema
from subfunction.kernel.port import Port, parse_handle
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import DEVLINK_FAMILY, Attribute, Command, EswitchMode, PortFlavour
from subfunction.kernel.uapi.vdpa import VDPA_FAMILY


# From include/uapi/linux/devlink.h, Linux 6.12.
class InfoCommand(enum.IntEnum):
    """The command that asks for an instance's driver."""

    INFO_GET = 51


class InfoAttribute(enum.IntEnum):
    """The attributes of its answer."""

    BUS_NAME = 1
    DEV_NAME = 2
    PORT_FLAVOUR = 77
    INFO_DRIVER_NAME = 98
    PORT_PCI_PF_NUMBER = 127
    NESTED_DEVLINK = 175


INFO: Final = Schema(
    {
        InfoAttribute.BUS_NAME: Kind.TEXT,
        InfoAttribute.DEV_NAME: Kind.TEXT,
        InfoAttribute.PORT_FLAVOUR: Kind.U16,
        InfoAttribute.INFO_DRIVER_NAME: Kind.TEXT,
        InfoAttribute.PORT_PCI_PF_NUMBER: Kind.U16,
        InfoAttribute.NESTED_DEVLINK: Schema({InfoAttribute.BUS_NAME: Kind.TEXT, InfoAttribute.DEV_NAME: Kind.TEXT}),
    },
    repeated=(InfoAttribute.NESTED_DEVLINK,),
)


# From include/uapi/linux/vdpa.h, Linux 6.12.
class ShowCommand(enum.IntEnum):
    """The commands of the family `vdpa` that change nothing."""

    MGMTDEV_GET = 2
    DEV_CONFIG_GET = 6


class ShowAttribute(enum.IntEnum):
    """The attributes of their answers."""

    MGMTDEV_BUS_NAME = 1
    MGMTDEV_DEV_NAME = 2
    MGMTDEV_SUPPORTED_CLASSES = 3
    DEV_NAME = 4
    DEV_NET_CFG_MACADDR = 10
    DEV_NET_CFG_MAX_VQP = 12
    DEV_NET_CFG_MTU = 13
    DEV_MGMTDEV_MAX_VQS = 15
    DEV_SUPPORTED_FEATURES = 16
    DEV_FEATURES = 20


SHOWN: Final = Schema(
    {
        ShowAttribute.MGMTDEV_BUS_NAME: Kind.TEXT,
        ShowAttribute.MGMTDEV_DEV_NAME: Kind.TEXT,
        ShowAttribute.MGMTDEV_SUPPORTED_CLASSES: Kind.U64,
        ShowAttribute.DEV_NAME: Kind.TEXT,
        ShowAttribute.DEV_NET_CFG_MACADDR: Kind.BYTES,
        ShowAttribute.DEV_NET_CFG_MAX_VQP: Kind.U16,
        ShowAttribute.DEV_NET_CFG_MTU: Kind.U16,
        ShowAttribute.DEV_MGMTDEV_MAX_VQS: Kind.U32,
        ShowAttribute.DEV_SUPPORTED_FEATURES: Kind.U64,
        ShowAttribute.DEV_FEATURES: Kind.U64,
    }
)
VIRTIO_ID_NET: Final = 1


class WholeDevlink(Devlink):
    """Devlink, and what it shows of all instances together."""

    def instances(self) -> list[Handle]:
        """List the instances (`devlink dev show`)."""
        return [parse_handle(reply) for reply in self._request("dev show", Command.GET, dump=True)]

    def all_ports(self) -> list[Port]:
        """List the ports of all instances (`devlink port show`)."""
        return [Port.of(reply) for reply in self._request("port show", Command.PORT_GET, dump=True)]

    def nested(self, handle: Handle) -> list[Handle]:
        """List the instances that are nested in one (`devlink dev show pci/0000:05:00.0`)."""
        (answer,) = self._ask(Command.GET, handle)
        return [parse_handle(each) for each in answer.nests(InfoAttribute.NESTED_DEVLINK)]

    def set_mode(self, handle: Handle, mode: EswitchMode) -> None:
        """Change an e-switch mode (`devlink dev eswitch set`); our code never does."""
        self._request(
            f"devlink dev eswitch set {handle}",
            Command.ESWITCH_SET,
            [(Attribute.BUS_NAME, handle.bus), (Attribute.DEV_NAME, handle.device), (Attribute.ESWITCH_MODE, mode)],
        )

    def create_unnumbered(self, handle: Handle, pf: int) -> None:
        """Create a port without a number (`devlink port add pci/0000:05:00.0 flavour pcisf pfnum 0`)."""
        numbers = [(InfoAttribute.PORT_FLAVOUR, PortFlavour.PCI_SF.value), (InfoAttribute.PORT_PCI_PF_NUMBER, pf)]
        self._ask(Command.PORT_NEW, handle, *numbers)

    def _ask(self, command: Command, handle: Handle, *more: tuple[InfoAttribute, int]) -> list[Message]:
        asked: list[tuple[enum.IntEnum, int | str]] = [
            (InfoAttribute.BUS_NAME, handle.bus),
            (InfoAttribute.DEV_NAME, handle.device),
            *more,
        ]
        return self._netlink.request(self._netlink.family(DEVLINK_FAMILY), INFO, command, asked)

    def driver_name(self, handle: Handle) -> str | None:
        """Read the driver of an instance (`devlink dev info pci/0000:05:00.0`)."""
        asked = [(Attribute.BUS_NAME, handle.bus), (Attribute.DEV_NAME, handle.device)]
        family = self._netlink.family(DEVLINK_FAMILY)
        (answer,) = self._netlink.request(family, INFO, InfoCommand.INFO_GET, asked)
        return answer.text(InfoAttribute.INFO_DRIVER_NAME)


@dataclasses.dataclass(frozen=True, slots=True)
class VdpaConfig:
    """What a device shows to its user; None where its features leave the field out."""

    mac: Mac | None
    mtu: int | None
    queue_pairs: int | None
    features: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class ManagementDevice:
    """A device on which network vDPA devices can be made; features and queue pairs are what they can have."""

    handle: Handle
    features: int
    max_queue_pairs: int | None


class WholeVdpa(Vdpa):
    """The family `vdpa`, and what it shows; each request waits for any other one."""

    def management_devices(self) -> list[ManagementDevice]:
        """List the devices on which network devices can be made (`vdpa mgmtdev show`)."""
        family = self._netlink.family(VDPA_FAMILY)
        return [
            _management(answer)
            for answer in self._netlink.request(family, SHOWN, ShowCommand.MGMTDEV_GET, dump=True)
            if (answer.number(ShowAttribute.MGMTDEV_SUPPORTED_CLASSES) or 0) >> VIRTIO_ID_NET & 1
        ]

    def config(self, name: str) -> VdpaConfig | None:
        """Read what a device shows (`vdpa dev config show sf0123456789ab`); None where there is none."""
        family, asked = self._netlink.family(VDPA_FAMILY), [(ShowAttribute.DEV_NAME, name)]
        try:
            (answer,) = self._netlink.request(family, SHOWN, ShowCommand.DEV_CONFIG_GET, asked)
        except KernelError as error:
            if error.errno != errno.ENODEV:
                raise
            return None
        octets = answer.octets(ShowAttribute.DEV_NET_CFG_MACADDR)
        return VdpaConfig(
            mac=None if octets is None else Mac(octets),
            mtu=answer.number(ShowAttribute.DEV_NET_CFG_MTU),
            queue_pairs=answer.number(ShowAttribute.DEV_NET_CFG_MAX_VQP),
            features=answer.number(ShowAttribute.DEV_FEATURES),
        )


def _management(answer: Message) -> ManagementDevice:
    queues = answer.number(ShowAttribute.DEV_MGMTDEV_MAX_VQS)
    return ManagementDevice(
        # A software device has no bus.
        Handle(answer.text(ShowAttribute.MGMTDEV_BUS_NAME) or "", answer.text(ShowAttribute.MGMTDEV_DEV_NAME) or ""),
        answer.number(ShowAttribute.DEV_SUPPORTED_FEATURES) or 0,
        # An odd one is the control queue.
        None if queues is None else queues // 2,
    )


def find_vdpa(sysfs: Sysfs, name: str) -> VdpaDevice | None:
    """Read a device of the vDPA bus by name (`ls -l /sys/bus/vdpa/devices/sf0123456789ab`)."""
    path = sysfs.resolve(f"bus/{vdpa.BUS}/devices/{name}")
    return None if path is None else VdpaDevice._at(sysfs, path)


def find_mediated(sysfs: Sysfs, uuid: str) -> MediatedDevice | None:
    """Read a mediated device by UUID (`ls -l /sys/bus/mdev/devices`): its bus drops it before its parent does."""
    return MediatedDevice._at(sysfs, f"bus/{mdev.BUS}/devices/{uuid}", uuid)
