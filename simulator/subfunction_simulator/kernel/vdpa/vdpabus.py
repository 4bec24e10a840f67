"""vDPA has management devices, the devices made on them, and the bus that these are on."""

import dataclasses
import errno
from functools import partial
from typing import Final

from subfunction.kernel.address import Handle, Mac
from subfunction_simulator.kernel.driver_core.bus import Bus, Device
from subfunction_simulator.kernel.driver_core.devices import Devices
from subfunction_simulator.kernel.driver_core.pending_work import Gate, PendingWork, one_after_another
from subfunction_simulator.kernel.netlink import uapi
from subfunction_simulator.kernel.netlink.wire import Refusal

_UNASKED: Final = 1 << uapi.VIRTIO_NET_F_MRG_RXBUF
_REQUIRED: Final = 1 << uapi.VIRTIO_F_VERSION_1 | 1 << uapi.VIRTIO_F_ACCESS_PLATFORM
FEATURES: Final = _REQUIRED | sum(
    1 << bit
    for bit in (
        uapi.VIRTIO_NET_F_CSUM,
        uapi.VIRTIO_NET_F_GUEST_CSUM,
        uapi.VIRTIO_NET_F_MTU,
        uapi.VIRTIO_NET_F_MAC,
        uapi.VIRTIO_NET_F_HOST_TSO4,
        uapi.VIRTIO_NET_F_HOST_TSO6,
        uapi.VIRTIO_NET_F_MRG_RXBUF,
        uapi.VIRTIO_NET_F_STATUS,
        uapi.VIRTIO_NET_F_CTRL_VQ,
        uapi.VIRTIO_NET_F_CTRL_VLAN,
        uapi.VIRTIO_NET_F_MQ,
        uapi.VIRTIO_NET_F_CTRL_MAC_ADDR,
    )
)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ManagementDevice:
    """A management device, a sub-function's, has room for one vDPA device."""

    handle: Handle
    path: str
    """The directory of its device, below which its vDPA devices are."""
    parent_path: str
    """The directory of the PCI function that does the DMA; a virtio device hangs under that."""
    mac: Mac
    queue_pairs: int
    features: int = FEATURES


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A user asks for a device in this way; None leaves it to the driver."""

    mac: Mac | None = None
    mtu: int | None = None
    queue_pairs: int | None = None
    features: int | None = None


class VdpaDevice(Device):
    """A vDPA device stands on the bus `vdpa`."""

    def __init__(self, name: str, management: ManagementDevice, wish: Wish) -> None:
        super().__init__(name, f"{management.path}/{name}")
        self.management = management
        self.mac = wish.mac or management.mac
        self.mtu = wish.mtu or 1500
        # What mlx5_vdpa does unasked: one pair of queues, and no merging of receive buffers.
        self.queue_pairs = wish.queue_pairs or 1
        self.features = management.features & ~_UNASKED if wish.features is None else wish.features


class VdpaDevices:
    """The node has these vDPA devices; `gate` is the lock that every request of the family takes."""

    def __init__(self, devices: Devices) -> None:
        self.bus: Bus[VdpaDevice] = Bus("vdpa", devices, overridable=True)
        self.gate = Gate()
        self.management: dict[Handle, ManagementDevice] = {}

    def register(self, management: ManagementDevice) -> None:
        """Offer a management device."""
        self.management[management.handle] = management

    def unregister(self, management: ManagementDevice) -> PendingWork:
        """Take a management device away, its devices first; a user that has one open keeps the lock held."""
        del self.management[management.handle]
        mine = [device for device in self.bus if device.management is management]
        work = one_after_another(partial(self.bus.remove, device) for device in mine)
        self.gate.shut_during(work)
        return work

    def add(self, name: str, management: ManagementDevice, wish: Wish) -> None:
        """Make a device, or refuse it in the order of mlx5_vdpa."""
        if any(device.management is management for device in self.bus):
            raise Refusal(errno.ENOSPC)
        if wish.features is not None and wish.features & ~management.features:
            raise Refusal(errno.EINVAL)
        if wish.features is not None and wish.features & _REQUIRED != _REQUIRED:
            raise Refusal(errno.EOPNOTSUPP)
        if wish.queue_pairs is not None and wish.queue_pairs > management.queue_pairs:
            raise Refusal(errno.EINVAL)
        if self.bus.find(name) is not None:
            raise Refusal(errno.EEXIST)
        self.bus.add(VdpaDevice(name, management, wish))

    def delete(self, device: VdpaDevice) -> PendingWork:
        """Delete a device; a user that has it open keeps the lock held."""
        work = self.bus.remove(device)
        self.gate.shut_during(work)
        return work
