"""vDPA devices: created and deleted by netlink, observed only through sysfs.

The family `vdpa` runs one request at a time, under a mutex. `vdpa dev del` of a device that a process has open keeps
that mutex until the process closes it. So the agent observes nothing through the family, and unbinds a device from its
driver (`driver_binding.py`) before it deletes the device.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from subfunction.errors import KernelError
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.bus.character_device import CharacterDevice
from subfunction.kernel.error_table import error_for
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.netlink.codec import Kind, Pairs, Schema
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi.vdpa import VDPA_FAMILY, VdpaAttribute, VdpaCommand, VirtioFeature

BUS: Final = "vdpa"
FEATURES: Final[Mapping[str, int]] = MappingProxyType({feature.name: feature.value for feature in VirtioFeature})
"""The number of each feature's bit, by the name that `vdpa mgmtdev show` prints."""

VDPA: Final = Schema(
    {
        VdpaAttribute.MGMTDEV_BUS_NAME: Kind.TEXT,
        VdpaAttribute.MGMTDEV_DEV_NAME: Kind.TEXT,
        VdpaAttribute.DEV_NAME: Kind.TEXT,
        VdpaAttribute.DEV_NET_CFG_MACADDR: Kind.BYTES,
        VdpaAttribute.DEV_NET_CFG_MAX_VQP: Kind.U16,
        VdpaAttribute.DEV_NET_CFG_MTU: Kind.U16,
        VdpaAttribute.DEV_FEATURES: Kind.U64,
    }
)
"""The attributes that we send."""


@dataclasses.dataclass(frozen=True, slots=True)
class VdpaSettings:
    """The settings of a new device; None leaves one to the driver. `mtu` is in bytes, `features` a mask of bits."""

    mac: Mac | None = None
    mtu: int | None = None
    queue_pairs: int | None = None
    features: int | None = None

    def pairs(self) -> Pairs:
        """Return the attributes to send."""
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
class VdpaDevice:
    """One device on the vDPA bus; `vhost` is None unless `vhost_vdpa` is its driver."""

    name: str
    path: str
    inode: int
    driver_link: str | None
    vhost: CharacterDevice | None

    @property
    def driver(self) -> str | None:
        """Return the name of its driver, None while none is bound."""
        return self.driver_link.rpartition("/")[2] if self.driver_link else None

    @classmethod
    def under(cls, sysfs: Sysfs, device: str) -> "tuple[VdpaDevice, ...]":
        """List the vDPA devices that were made on a device; `device` is its directory, resolved."""
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


def list_virtio_netdevs(sysfs: Sysfs, parent: str) -> tuple[Netdev, ...]:
    """List the netdevs of `virtio_vdpa` devices, which are below the PF (`ls /sys/bus/pci/devices/*/virtio*/net`).

    No link leads from such a netdev to its vDPA device; only the MAC tells to which device it belongs.
    """
    virtio = (name for name in sysfs.names(parent) if name.startswith("virtio"))
    return tuple(netdev for name in virtio for netdev in Netdev.under(sysfs, f"{parent}/{name}"))


def derive_vdpa_name(uid: str) -> str:
    """Derive the name of an object's device from its uid, unique on the node's one bus; up to 15 characters fit."""
    return f"sf{hashlib.sha256(uid.encode()).hexdigest()[:12]}"


class Vdpa:
    """Creates and deletes vDPA devices by netlink; each request waits for any other one of this family."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink

    def add(self, name: str, management: Handle, settings: VdpaSettings) -> None:
        """Create a device (`vdpa dev add name sf0123456789ab mgmtdev auxiliary/mlx5_core.sf.4`).

        Raises:
            Full: the function has its device already; mlx5 makes only one.
            Gone: there is no such management device: vDPA is not enabled on the function, or the driver is not loaded.
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
        """Delete a device that no driver is bound to (`vdpa dev del sf0123456789ab`).

        Raises:
            Gone: there is no such device (any more).
        """
        self._request(f"vdpa dev del {name}", VdpaCommand.DEV_DEL, [(VdpaAttribute.DEV_NAME, name)])

    def _request(self, operation: str, command: VdpaCommand, attributes: Pairs) -> None:
        try:
            self._netlink.request(self._netlink.family(VDPA_FAMILY), VDPA, command, attributes)
        except KernelError as error:
            raise error_for(operation, command, error) from error


def _basename(link: str | None) -> str | None:
    return link.rpartition("/")[2] if link else None
