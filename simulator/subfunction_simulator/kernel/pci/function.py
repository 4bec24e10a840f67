"""The PCI bus has physical and virtual functions, and drivers that hand one to user space."""

import errno
from typing import Final, TypeAlias

from subfunction_simulator.kernel.driver_core.bus import Bus, Device
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork
from subfunction_simulator.kernel.faults import Faults, Operation
from subfunction_simulator.kernel.netlink.wire import Refusal
from subfunction_simulator.kernel.pci.iommu import IommuGroups
from subfunction_simulator.kernel.pci.vfio import NOIOMMU, VfioDevice, VfioDevices
from subfunction_simulator.kernel.topology import Parent

NETWORK: Final = "0x020000"


class PciFunction(Device):
    """A function is physical where `index` is None; the driver `native` lists its ids."""

    def __init__(self, parent: Parent, native: str, index: int | None = None) -> None:
        name = parent.bdf if index is None else parent.virtual_function(index)
        super().__init__(name, f"{parent.bridge}/{name}")
        self.parent = parent
        self.native = native
        self.index = index


PciBus: TypeAlias = Bus[PciFunction]


class VfioPci:
    """`vfio-pci`, or a variant of it, takes what an override names it for, and only what has an IOMMU group."""

    def __init__(self, name: str, vfio: VfioDevices, iommu: IommuGroups, faults: Faults) -> None:
        self.name = name
        self._vfio = vfio
        self._iommu = iommu
        self._faults = faults
        self._taken: dict[PciFunction, VfioDevice] = {}

    @property
    def in_use(self) -> bool:
        """Say whether a user drives one of its devices, which keeps the module."""
        return bool(self._taken) and self._vfio.in_use

    def matches(self, _device: PciFunction, /) -> bool:
        """Take nothing unasked."""
        return False

    def probe(self, device: PciFunction, /) -> None:
        """Hand a function to user space."""
        self._faults.strike(Operation.VFIO_PROBE)
        group = self._iommu.group_of(device.path)
        if group is None and not self._vfio.noiommu:
            raise Refusal(errno.EINVAL)
        unsafe = group is None
        if group is None:
            group = self._iommu.join(device.path, name=NOIOMMU)
        self._taken[device] = self._vfio.register(device.path, group, unsafe=unsafe)

    def remove(self, device: PciFunction, /) -> PendingWork:
        """Take it back, once its user is gone."""
        vfio = self._taken.pop(device)
        work = self._vfio.unregister(vfio)
        if vfio.unsafe:
            work.then(lambda: self._iommu.leave(device.path, vfio.group))
        return work
