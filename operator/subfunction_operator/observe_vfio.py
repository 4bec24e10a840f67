"""One look at what VFIO gives away whole: a virtual function with its IOMMU group, or a mediated device. Reads only."""

import dataclasses

from subfunction.api import Spec, Vfio
from subfunction.claims import MediatedDeviceClaim, VirtualFunctionClaim
from subfunction.errors import FamilyMissing
from subfunction.folder import Folder
from subfunction.kernel import binding, mdev
from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.mdev import MediatedDevice, mediated_uuid
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.pci import VirtualFunction
from subfunction.kernel.port import Port
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import PortFlavour
from subfunction.kernel.vfio import VfioNodes, group_members
from subfunction.records import Record
from subfunction_operator.functionrules import is_vfio
from subfunction_operator.observation import Observation


def of_vfio(spec: Spec | None, record: Record | None) -> Vfio | None:
    """Say which function of VFIO it is about, by its record or its spec; None where it is about a sub-function."""
    claim = record.claim if record else None
    if isinstance(claim, VirtualFunctionClaim):
        return Vfio(virtual_function=claim.index)
    if isinstance(claim, MediatedDeviceClaim):
        return Vfio(mediated_device=claim.type)
    return spec.vfio if spec is not None and record is None and spec.vfio != Vfio() else None


def look_at_mediated_device(sysfs: Sysfs, parent: Handle, uid: str, seen: Observation) -> Observation:
    """Look at the mediated device of an object, and at what its parent offers."""
    return dataclasses.replace(
        seen, mediated=MediatedDevice.of(sysfs, parent, mediated_uuid(uid)), types=mdev.types(sysfs, parent)
    )


def look_at_virtual_function(  # noqa: PLR0913, PLR0917  # what identifies a function, and the places to look at
    sysfs: Sysfs, devlink: Devlink, parent: Handle, index: int | None, records: Folder[Record], seen: Observation
) -> Observation:
    """Look at a virtual function, its port, its IOMMU group, who uses it, and which other record names it."""
    function = VirtualFunction.at(sysfs, parent, index) if index is not None else None
    if function is None or index is None:
        return seen
    port = _port(devlink, parent, index)
    vfio = VfioNodes.of(sysfs, function.path) if is_vfio(function.driver) else None
    claim = seen.record.claim if seen.record else None
    former = claim.previous.representor_master if isinstance(claim, VirtualFunctionClaim) else None
    return dataclasses.replace(
        seen,
        virtual_function=function,
        port=port,
        away=_away(sysfs, devlink, function),
        representor=Netdev.named(sysfs, port.netdev) if port and port.netdev else None,
        former_bridge=Netdev.named(sysfs, former) if former else None,
        group=group_members(sysfs, function.group) if function.group is not None else (),
        vfio=vfio,
        drivers=binding.drivers(sysfs, "pci"),
        owner=_owner(function, records, seen.record),
    )


def _port(devlink: Devlink, parent: Handle, index: int) -> Port | None:
    """Find the port of a virtual function: there in switchdev mode alone."""
    ports = _ports(devlink, parent)
    pf = next((port.port_number for port in ports if port.flavour is PortFlavour.PHYSICAL), None)
    mine = (port for port in ports if port.flavour is PortFlavour.PCI_VF and port.controller == 0)
    return next((port for port in mine if port.vf == index and port.pf in {None, pf}), None)


def _away(sysfs: Sysfs, devlink: Devlink, function: VirtualFunction) -> bool:
    """Say whether its netdev is in another network namespace: its driver knows of one, and this namespace has none."""
    if function.driver is None or is_vfio(function.driver) or Netdev.under(sysfs, function.path):
        return False
    if "net" in sysfs.names(function.path):
        return True  # the directory goes with the last netdev, wherever that is
    ports = _ports(devlink, Handle("pci", function.address))
    return any(port.flavour is PortFlavour.VIRTUAL and port.ethernet and port.netdev is None for port in ports)


def _ports(devlink: Devlink, instance: Handle) -> list[Port]:
    try:
        return devlink.ports(instance)
    except FamilyMissing:
        return []  # VFIO needs no devlink


def _owner(function: VirtualFunction, records: Folder[Record], own: Record | None) -> str:
    claims = {
        record.uid: record for record in records.read_all().items.values() if own is None or record.uid != own.uid
    }
    named = (
        record.name
        for record in claims.values()
        if isinstance(record.claim, VirtualFunctionClaim) and record.claim.address == function.address
    )
    return next(named, "")
