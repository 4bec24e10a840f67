"""The driver `virtio_vdpa` makes a vDPA device a virtio device of this kernel, with a netdev."""

from typing import Final

from subfunction_simulator.kernel.driver_core.devices import Devices
from subfunction_simulator.kernel.driver_core.nodes import lowest_free
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, no_work
from subfunction_simulator.kernel.faults import Faults, Operation
from subfunction_simulator.kernel.netlink import uapi
from subfunction_simulator.kernel.network.netdev import Looks, Netdev
from subfunction_simulator.kernel.network.netdevs import Netdevs
from subfunction_simulator.kernel.vdpa.vdpabus import VdpaDevice

_VIRTIO_NET: Final = "bus/virtio/drivers/virtio_net"


class VirtioVdpa:
    """The driver makes `virtioN` under the PCI function that does the DMA; nothing links it to the vDPA device."""

    name = "virtio_vdpa"

    def __init__(self, devices: Devices, netdevs: Netdevs, faults: Faults) -> None:
        self._devices = devices
        self._netdevs = netdevs
        self._faults = faults
        self._taken: dict[VdpaDevice, tuple[int, Netdev]] = {}
        devices.tree.directory(_VIRTIO_NET)

    @property
    def in_use(self) -> bool:
        """Say whether something keeps the module; a netdev does not."""
        return False

    def matches(self, _device: VdpaDevice, /) -> bool:
        """Take any device, as every driver of this bus does."""
        return True

    def probe(self, device: VdpaDevice, /) -> None:
        """Make the virtio device, which virtio_net takes."""
        self._faults.strike(Operation.VDPA_PROBE)
        number = lowest_free({taken for taken, _ in self._taken.values()})
        path = f"{device.management.parent_path}/virtio{number}"
        self._devices.add(path, "bus/virtio", {"device": "0x0001", "vendor": "0x15b3", "status": "0x0000000f"})
        self._devices.tree.link(f"{path}/driver", _VIRTIO_NET)
        self._taken[device] = number, self._netdevs.add(path, None, _looks(device))
        self._devices.tell("bind", path, "bus/virtio", "DRIVER=virtio_net")

    def remove(self, device: VdpaDevice, /) -> PendingWork:
        """Take it away, wherever its netdev is."""
        _, netdev = self._taken.pop(device)
        path = netdev.parent
        self._netdevs.remove(netdev)
        self._devices.tell("unbind", path, "bus/virtio")
        self._devices.remove(path, "bus/virtio")
        return no_work()


def _looks(device: VdpaDevice) -> Looks:
    has_mac = device.features >> uapi.VIRTIO_NET_F_MAC & 1
    has_mtu = device.features >> uapi.VIRTIO_NET_F_MTU & 1
    return Looks(mac=device.mac if has_mac else None, mtu=device.mtu if has_mtu else 1500)
