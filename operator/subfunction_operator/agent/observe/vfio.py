"""Observes what VFIO passes through as a whole: a virtual function with its IOMMU group, or a mediated device."""

import dataclasses

from subfunction.api.subfunction import Spec, Vfio
from subfunction.errors import FamilyMissing
from subfunction.kernel.address import Handle
from subfunction.kernel.bus import driver_binding, mdev
from subfunction.kernel.bus.mdev import MediatedDevice, derive_uuid
from subfunction.kernel.bus.pci import VirtualFunction
from subfunction.kernel.bus.vfio import VfioNodes, list_group_members
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.port import Port
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import PortFlavour
from subfunction.state.claims import MediatedDeviceClaim, VirtualFunctionClaim
from subfunction.state.records import Record
from subfunction.state.store import FileStore
from subfunction_operator.agent.flavours.vf_settings import is_vfio
from subfunction_operator.agent.model.observation import Observation


def vfio_target(spec: Spec | None, record: Record | None) -> Vfio | None:
    """Return the virtual function or mediated device that record or spec names; None where it is a sub-function."""
    claim = record.claim if record else None
    if isinstance(claim, VirtualFunctionClaim):
        return Vfio(virtual_function=claim.index)
    if isinstance(claim, MediatedDeviceClaim):
        return Vfio(mediated_device=claim.type)
    return spec.vfio if spec is not None and record is None and spec.vfio != Vfio() else None


def observe_mediated_device(sysfs: Sysfs, parent: Handle, uid: str, seen: Observation) -> Observation:
    """Return `seen` with the object's mediated device, and the types that its parent offers."""
    return dataclasses.replace(
        seen, mediated=MediatedDevice.of(sysfs, parent, derive_uuid(uid)), types=mdev.list_types(sysfs, parent)
    )


@dataclasses.dataclass(frozen=True, slots=True)
class VirtualFunctionFinder:
    """Finds the virtual functions of one node."""

    sysfs: Sysfs
    records: FileStore[Record]

    def observe(self, devlink: Devlink, parent: Handle, index: int | None, seen: Observation) -> Observation:
        """Return `seen` with a virtual function, its port, its IOMMU group, and the other record that names it."""
        function = VirtualFunction.at(self.sysfs, parent, index) if index is not None else None
        if function is None or index is None:
            return seen
        port = _port(devlink, parent, index)
        vfio = VfioNodes.of(self.sysfs, function.path) if is_vfio(function.driver) else None
        claim = seen.record.claim if seen.record else None
        former = claim.previous.representor_master if isinstance(claim, VirtualFunctionClaim) else None
        return dataclasses.replace(
            seen,
            virtual_function=function,
            port=port,
            netdev_away=_is_away(self.sysfs, devlink, function),
            representor=Netdev.named(self.sysfs, port.netdev) if port and port.netdev else None,
            former_bridge=Netdev.named(self.sysfs, former) if former else None,
            group=list_group_members(self.sysfs, function.group) if function.group is not None else (),
            vfio=vfio,
            drivers=driver_binding.list_drivers(self.sysfs, "pci"),
            owner=_owner(function, self.records, seen.record),
        )


def _port(devlink: Devlink, parent: Handle, index: int) -> Port | None:
    """Return the port of a virtual function; it exists in switchdev mode alone."""
    # Not compared by pfnum, which differs between kernels: a PF's instance has the ports of its own functions alone.
    mine = (port for port in _ports(devlink, parent) if port.flavour is PortFlavour.PCI_VF and port.controller == 0)
    return next((port for port in mine if port.vf == index), None)


def _is_away(sysfs: Sysfs, devlink: Devlink, function: VirtualFunction) -> bool:
    """Return whether its netdev is in another network namespace: its driver has one, and this namespace has none."""
    if function.driver is None or is_vfio(function.driver) or Netdev.under(sysfs, function.path):
        return False
    if "net" in sysfs.names(function.path):
        return True  # the directory exists while there is a netdev, in whatever namespace
    ports = _ports(devlink, Handle("pci", function.address))
    return any(port.flavour is PortFlavour.VIRTUAL and port.ethernet and port.netdev is None for port in ports)


def _ports(devlink: Devlink, instance: Handle) -> list[Port]:
    try:
        return devlink.ports(instance)
    except FamilyMissing:
        return []  # VFIO needs no devlink


def _owner(function: VirtualFunction, records: FileStore[Record], own: Record | None) -> str:
    claims = {
        record.uid: record for record in records.read_all().items.values() if own is None or record.uid != own.uid
    }
    named = (
        record.name
        for record in claims.values()
        if isinstance(record.claim, VirtualFunctionClaim) and record.claim.address == function.address
    )
    return next(named, "")
