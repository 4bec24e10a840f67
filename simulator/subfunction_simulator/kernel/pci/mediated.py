"""A parent offers types of mediated devices, and users make devices of them by UUID."""

import errno
import uuid as uuids
from functools import partial

from subfunction_simulator.kernel.driver_core.bus import Bus, Device
from subfunction_simulator.kernel.driver_core.devices import Devices
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, one_after_another
from subfunction_simulator.kernel.faults import Faults, Operation
from subfunction_simulator.kernel.netlink.wire import EINVAL, Refusal
from subfunction_simulator.kernel.pci.iommu import IommuGroups
from subfunction_simulator.kernel.pci.vfio import NOIOMMU, VfioDevice, VfioDevices
from subfunction_simulator.kernel.topology import MediatedType

_EUSERS = 87


class Offer:
    """A parent offers a type in its own directory."""

    def __init__(self, parent: str, driver: str, kind: MediatedType) -> None:
        self.parent = parent
        self.driver = f"{driver}_mdev"
        self.kind = kind
        self.path = f"{parent}/mdev_supported_types/{kind.id}"


class MediatedDevice(Device):
    """A mediated device is named by its UUID."""

    def __init__(self, uuid: str, offer: Offer) -> None:
        super().__init__(uuid, f"{offer.parent}/{uuid}")
        self.offer = offer


class MediatedDriver:
    """A parent has its own driver of its mediated devices, which the core binds to what was made."""

    def __init__(self, name: str, vfio: VfioDevices, iommu: IommuGroups) -> None:
        self.name = name
        self._vfio = vfio
        self._iommu = iommu
        self._taken: dict[MediatedDevice, VfioDevice] = {}

    def matches(self, device: MediatedDevice, /) -> bool:
        """Take the devices of this driver's parents."""
        return device.offer.driver == self.name

    def probe(self, device: MediatedDevice, /) -> None:
        """Let user space drive it, in an emulated group of its own."""
        group = self._iommu.join(device.path, name=NOIOMMU)
        self._taken[device] = self._vfio.register(device.path, group)

    def remove(self, device: MediatedDevice, /) -> PendingWork:
        """End that, once its users are gone."""
        vfio = self._taken.pop(device)
        work = self._vfio.unregister(vfio)
        work.then(lambda: self._iommu.leave(device.path, vfio.group))
        return work


class MediatedDevices:
    """The bus `mdev` has devices, and parents that offer types."""

    def __init__(self, devices: Devices, vfio: VfioDevices, iommu: IommuGroups, faults: Faults) -> None:
        self.bus: Bus[MediatedDevice] = Bus("mdev", devices)
        self._devices = devices
        self._tree = devices.tree
        self._vfio = vfio
        self._iommu = iommu
        self._faults = faults

    def register(self, parent: str, driver: str, kinds: tuple[MediatedType, ...]) -> None:
        """Let a parent offer its types; one without any is no parent."""
        if not kinds:
            return
        self._vfio.load()
        offers = [Offer(parent, driver, kind) for kind in kinds]
        if not self.bus.has_driver(offers[0].driver):
            self.bus.register(MediatedDriver(offers[0].driver, self._vfio, self._iommu))
        for offer in offers:
            about = {"device_api": offer.kind.api, "name": offer.kind.name, "description": offer.kind.description}
            self._tree.directory(offer.path, {**about, "available_instances": offer.kind.available})
            self._tree.directory(f"{offer.path}/devices")
            self._tree.trigger(f"{offer.path}/create", partial(self._create, offer))
        self._tree.link(f"class/mdev_bus/{parent.rpartition('/')[2]}", parent)
        self._devices.tell("change", parent, "bus/pci", "MDEV_STATE=registered")

    def unregister(self, parent: str) -> PendingWork:
        """Let a parent offer nothing any more: its devices go first."""
        mine = [device for device in self.bus if device.offer.parent == parent]
        work = one_after_another(partial(self.remove, device) for device in mine)
        work.then(lambda: self._withdraw(parent))
        return work

    def remove(self, device: MediatedDevice) -> PendingWork:
        """Remove a device (`echo 1 > .../remove`); that attribute goes at once, so that no user removes it twice."""
        self._tree.unlink(f"{device.path}/remove")
        work = self.bus.remove(device)
        work.then(lambda: self._forget_removed(device))
        return work

    def _create(self, offer: Offer, text: str) -> None:
        uuid = _uuid(text)
        self._faults.strike(Operation.MEDIATED_CREATE)
        if self.bus.find(uuid) is not None:
            raise Refusal(errno.EEXIST)
        if not self._available(offer):
            raise Refusal(_EUSERS)
        device = MediatedDevice(uuid, offer)
        self._tree.trigger(f"{device.path}/remove", lambda word: self._take_removal(device, word))
        self._tree.link(f"{device.path}/mdev_type", offer.path)
        self._tree.link(f"{offer.path}/devices/{uuid}", device.path)
        self.bus.add(device)
        self._count(offer)

    def _take_removal(self, device: MediatedDevice, text: str) -> PendingWork | None:
        if text == "0":
            return None
        self._faults.strike(Operation.MEDIATED_REMOVE)
        return self.remove(device)

    def _forget_removed(self, device: MediatedDevice) -> None:
        self._tree.unlink(f"{device.offer.path}/devices/{device.name}")
        self._count(device.offer)

    def _available(self, offer: Offer) -> int:
        return offer.kind.available - sum(device.offer is offer for device in self.bus)

    def _count(self, offer: Offer) -> None:
        if (self._tree.root / offer.path).exists():
            self._tree.directory(offer.path, {"available_instances": self._available(offer)})

    def _withdraw(self, parent: str) -> None:
        if (self._tree.root / parent / "mdev_supported_types").exists():
            self._devices.tell("change", parent, "bus/pci", "MDEV_STATE=unregistered")
            self._tree.unlink(f"class/mdev_bus/{parent.rpartition('/')[2]}")
            self._tree.bury(f"{parent}/mdev_supported_types")


def _uuid(text: str) -> str:
    try:
        parsed = str(uuids.UUID(text))
    except ValueError as error:
        raise Refusal(EINVAL) from error
    if parsed != text.lower():
        raise Refusal(EINVAL)
    return parsed
