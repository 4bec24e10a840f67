"""vDPA devices: made and deleted by netlink, looked at through sysfs alone.

The family `vdpa` runs one request at a time, under a mutex that `vdpa dev del` of a device that somebody has open keeps
until they close it. So nothing is ever observed through it, and a device is unbound from its driver (`binding.py`)
before it is deleted.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from subfunction.errors import Gone, KernelError, MalformedReply
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.chardev import CharacterDevice
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.netlink import Kind, Message, Pairs, Schema
from subfunction.kernel.refusals import refusal
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi.vdpa import VDPA_FAMILY, VIRTIO_ID_NET, VdpaAttribute, VdpaCommand, VirtioFeature

BUS: Final = "vdpa"
FEATURES: Final[Mapping[str, int]] = MappingProxyType({feature.name: feature.value for feature in VirtioFeature})
"""The number of each feature's bit, by the name that `vdpa mgmtdev show` prints."""

VDPA: Final = Schema(
    {
        VdpaAttribute.MGMTDEV_BUS_NAME: Kind.TEXT,
        VdpaAttribute.MGMTDEV_DEV_NAME: Kind.TEXT,
        VdpaAttribute.MGMTDEV_SUPPORTED_CLASSES: Kind.U64,
        VdpaAttribute.DEV_NAME: Kind.TEXT,
        VdpaAttribute.DEV_NET_CFG_MACADDR: Kind.BYTES,
        VdpaAttribute.DEV_NET_CFG_MAX_VQP: Kind.U16,
        VdpaAttribute.DEV_NET_CFG_MTU: Kind.U16,
        VdpaAttribute.DEV_MGMTDEV_MAX_VQS: Kind.U32,
        VdpaAttribute.DEV_SUPPORTED_FEATURES: Kind.U64,
        VdpaAttribute.DEV_FEATURES: Kind.U64,
    }
)
"""The attributes we send or look at."""


@dataclasses.dataclass(frozen=True, slots=True)
class VdpaSettings:
    """What a new device is to have; None leaves it to the driver. `mtu` is in bytes, `features` a mask of bits."""

    mac: Mac | None = None
    mtu: int | None = None
    queue_pairs: int | None = None
    features: int | None = None

    def pairs(self) -> Pairs:
        """Give the attributes to send."""
        pairs: list[tuple[VdpaAttribute, int | bytes]] = []
        if self.mac is not None:
            pairs.append((VdpaAttribute.DEV_NET_CFG_MACADDR, self.mac.octets))
        if self.mtu is not None:
            pairs.append((VdpaAttribute.DEV_NET_CFG_MTU, self.mtu))
        if self.queue_pairs is not None:
            pairs.append((VdpaAttribute.DEV_NET_CFG_MAX_VQP, self.queue_pairs))
        if self.features is not None:
            pairs.append((VdpaAttribute.DEV_FEATURES, self.features))
        return pairs


@dataclasses.dataclass(frozen=True, slots=True)
class VdpaConfig:
    """What a device offers to its user; None where its features leave the field out."""

    mac: Mac | None
    mtu: int | None
    queue_pairs: int | None
    features: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class ManagementDevice:
    """What network vDPA devices can be made on, and what they can have."""

    handle: Handle
    features: int
    max_queue_pairs: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class VdpaDevice:
    """One device on the vDPA bus; `vhost` is there while `vhost_vdpa` drives it."""

    name: str
    path: str
    inode: int
    driver_link: str | None
    vhost: CharacterDevice | None

    @property
    def driver(self) -> str | None:
        """The name of its driver."""
        return self.driver_link.rpartition("/")[2] if self.driver_link else None

    @classmethod
    def named(cls, sysfs: Sysfs, name: str) -> "VdpaDevice | None":
        """Look at a device by name (`ls -l /sys/bus/vdpa/devices/sf0123456789ab`)."""
        path = sysfs.resolve(f"bus/{BUS}/devices/{name}")
        return None if path is None else cls._at(sysfs, path)

    @classmethod
    def under(cls, sysfs: Sysfs, device: str) -> "tuple[VdpaDevice, ...]":
        """List the devices that were made on a device; `device` is its directory, resolved."""
        paths = (f"{device}/{name}" for name in sysfs.names(device))
        on_the_bus = (path for path in paths if _basename(sysfs.target(f"{path}/subsystem")) == BUS)
        return tuple(found for path in on_the_bus if (found := cls._at(sysfs, path)))

    @classmethod
    def _at(cls, sysfs: Sysfs, path: str) -> "VdpaDevice | None":
        inode = sysfs.inode(path)
        if inode is None:
            return None
        vhost = next((name for name in sysfs.names(path) if name.startswith("vhost-vdpa-")), None)
        return cls(
            name=path.rpartition("/")[2],
            path=path,
            inode=inode,
            driver_link=sysfs.target(f"{path}/driver"),
            vhost=CharacterDevice.at(sysfs, f"{path}/{vhost}", vhost) if vhost else None,
        )


def virtio_netdevs(sysfs: Sysfs, parent: str) -> tuple[Netdev, ...]:
    """List the netdevs of `virtio_vdpa` devices: they hang under the PF (`ls /sys/bus/pci/devices/*/virtio*/net`).

    No link leads from one to its vDPA device; only the MAC tells which is whose.
    """
    virtio = (name for name in sysfs.names(parent) if name.startswith("virtio"))
    return tuple(netdev for name in virtio for netdev in Netdev.under(sysfs, f"{parent}/{name}"))


def vdpa_name(uid: str) -> str:
    """Derive the name of an object's device from its uid: the bus is one for the whole node, 15 characters fit."""
    return f"sf{hashlib.sha256(uid.encode()).hexdigest()[:12]}"


class Vdpa:
    """The vDPA devices of a kernel, by netlink; any of these may wait while another request does."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink

    def management_devices(self) -> list[ManagementDevice]:
        """List what network devices can be made on (`vdpa mgmtdev show`).

        Raises:
            FamilyMissing: the kernel has no vDPA.
        """
        replies = self._request("vdpa mgmtdev show", VdpaCommand.MGMTDEV_GET, dump=True)
        return [
            _management(reply)
            for reply in replies
            if (reply.number(VdpaAttribute.MGMTDEV_SUPPORTED_CLASSES) or 0) >> VIRTIO_ID_NET & 1
        ]

    def add(self, name: str, management: Handle, settings: VdpaSettings) -> None:
        """Make a device (`vdpa dev add name sf0123456789ab mgmtdev auxiliary/mlx5_core.sf.4`).

        Raises:
            Full: the function has its device already; mlx5 makes one.
            Gone: there is no such management device: vDPA is not enabled on the function, or the driver not loaded.
            Unsupported: a setting is not offered.
            Invalid: a value is refused.
            KernelError: any other refusal; EEXIST where the node has a device of that name.
        """
        attributes: Pairs = [
            (VdpaAttribute.DEV_NAME, name),
            (VdpaAttribute.MGMTDEV_BUS_NAME, management.bus),
            (VdpaAttribute.MGMTDEV_DEV_NAME, management.device),
            *settings.pairs(),
        ]
        self._request(f"vdpa dev add name {name} mgmtdev {management}", VdpaCommand.DEV_NEW, attributes)

    def delete(self, name: str) -> None:
        """Delete a device that no driver holds any more (`vdpa dev del sf0123456789ab`).

        Raises:
            Gone: there is no such device (any more).
        """
        self._request(f"vdpa dev del {name}", VdpaCommand.DEV_DEL, [(VdpaAttribute.DEV_NAME, name)])

    def config(self, name: str) -> VdpaConfig | None:
        """Read what a device offers (`vdpa dev config show sf0123456789ab`); None where there is none."""
        asked = [(VdpaAttribute.DEV_NAME, name)]
        try:
            replies = self._request(f"vdpa dev config show {name}", VdpaCommand.DEV_CONFIG_GET, asked)
        except Gone:
            return None
        if len(replies) != 1:
            raise MalformedReply(f"{len(replies)} answers to a question that has one")
        octets = replies[0].octets(VdpaAttribute.DEV_NET_CFG_MACADDR)
        if octets is not None and len(octets) != 6:
            raise MalformedReply(f"the address of {name} has {len(octets)} bytes")
        return VdpaConfig(
            mac=None if octets is None else Mac(octets),
            mtu=replies[0].number(VdpaAttribute.DEV_NET_CFG_MTU),
            queue_pairs=replies[0].number(VdpaAttribute.DEV_NET_CFG_MAX_VQP),
            features=replies[0].number(VdpaAttribute.DEV_FEATURES),
        )

    def _request(
        self, operation: str, command: VdpaCommand, attributes: Pairs = (), *, dump: bool = False
    ) -> list[Message]:
        try:
            return self._netlink.request(self._netlink.family(VDPA_FAMILY), VDPA, command, attributes, dump=dump)
        except KernelError as error:
            raise refusal(operation, command, error) from error


def _management(reply: Message) -> ManagementDevice:
    device = reply.text(VdpaAttribute.MGMTDEV_DEV_NAME)
    if not device:
        raise MalformedReply("a management device without a name")
    queues = reply.number(VdpaAttribute.DEV_MGMTDEV_MAX_VQS)
    return ManagementDevice(
        # A software device has no bus.
        handle=Handle(reply.text(VdpaAttribute.MGMTDEV_BUS_NAME) or "", device),
        features=reply.number(VdpaAttribute.DEV_SUPPORTED_FEATURES) or 0,
        # An odd one is the control queue.
        max_queue_pairs=None if queues is None else queues // 2,
    )


def _basename(link: str | None) -> str | None:
    return link.rpartition("/")[2] if link else None
