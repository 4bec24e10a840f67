"""One look at a sub-function: its record, its port, what hangs under its device, who holds it.

Reads only, by devlink and sysfs; vDPA netlink is never asked, as one held device can stop it for the whole node. Runs
in the parent's own thread, since netlink blocks.
"""

import dataclasses
from typing import Protocol

from subfunction.api import Flavour, Rate, Spec, VirtioDriver
from subfunction.errors import Gone
from subfunction.folder import Folder
from subfunction.kernel import binding
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.auxiliary import AuxiliaryDevice
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.pci import PciFunction
from subfunction.kernel.port import Port
from subfunction.kernel.rdma import RdmaDevice, connection_manager, namespaces_shared
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import EswitchMode, PortFlavour
from subfunction.kernel.vdpa import VdpaDevice, virtio_netdevs
from subfunction.records import Record, mismatch
from subfunction_operator.census import Census
from subfunction_operator.flavours import KINDS
from subfunction_operator.look import Look
from subfunction_operator.observation import Desired, Observation, Parent, Usage
from subfunction_operator.observe_vfio import look_at_mediated_device, look_at_virtual_function, of_vfio
from subfunction_operator.paperfolders import PaperFolders


class Holders(Protocol):
    """Who knows which device is held; holders.py asks plugin and kubelet."""

    def usage(self, record: Record | None, *, ask: bool) -> Usage:
        """Say who holds a record's device; with `ask`, whatever that costs."""


@dataclasses.dataclass(frozen=True, slots=True)
class Observer:
    """The places to look at, for one node."""

    sysfs: Sysfs
    records: Folder[Record]
    papers: PaperFolders
    holders: Holders
    boot_id: str
    census: Census = dataclasses.field(default_factory=Census)

    def look(self, devlink: Devlink, look: Look) -> Observation:
        """Look once."""
        record = self.records.read(look.desired.uid)
        offered = record is not None and bool(record.witness.inodes)
        seen = Observation(
            witnessed=offered and record is not None and mismatch(record.witness, self.sysfs) is None,
            boot_id=self.boot_id,
            handle=str(look.parent),
            record=record,
            papers=self.papers.look(look.desired.uid, record),
            usage=self.holders.usage(record, ask=look.ask),
        )
        wanted = of_vfio(look.spec, record)
        if wanted is None:
            return self._sub_function(devlink, look, seen)
        function, bridge = PciFunction.at(self.sysfs, look.parent), look.bridge
        seen = dataclasses.replace(
            seen, parent=Parent(function) if function else None, bridge=self._bridge(bridge) if bridge else None
        )
        if wanted.mediated_device is not None:
            return look_at_mediated_device(self.sysfs, look.parent, look.desired.uid, seen)
        seen = look_at_virtual_function(self.sysfs, devlink, look.parent, wanted.virtual_function, self.records, seen)
        if seen.virtual_function is None or seen.owner or look.shows(seen.virtual_function.address):
            return seen
        return dataclasses.replace(seen, owner=look.reserved.devices.get(seen.virtual_function.address, ""))

    def _sub_function(self, devlink: Devlink, look: Look, seen: Observation) -> Observation:
        parent, port = self._parent(devlink, look, seen)
        auxiliary = self._auxiliary(port, seen.record)
        spec, bridge = look.spec, look.bridge
        seen = dataclasses.replace(
            seen,
            parent=parent,
            port=port,
            auxiliary=auxiliary,
            children=_children(self.sysfs, auxiliary) if auxiliary else (),
            vdpas=VdpaDevice.under(self.sysfs, auxiliary.path) if auxiliary else (),
            representor=Netdev.named(self.sysfs, port.netdev) if port and port.netdev else None,
            bridge=self._bridge(bridge) if bridge else None,
        )
        if auxiliary is None or auxiliary.driver is None or port is None:
            return seen
        native, away = self._netdev(devlink, auxiliary)
        seen = dataclasses.replace(
            seen,
            netdev=native,
            native=native,
            native_away=away,
            away=away,
            name_taken=native is not None and self._taken(native, seen.record),
            rdma=RdmaDevice.under(self.sysfs, auxiliary.path),
            connection_manager=connection_manager(self.sysfs),
        )
        if seen.rdma is not None:
            seen = dataclasses.replace(seen, rdma_exclusive=namespaces_shared(self.sysfs) is False)
        if spec is None or (kind := KINDS.get(spec.flavour)) is None:
            return seen
        if spec.rate != Rate() or (seen.claim is not None and seen.claim.rated):
            seen = dataclasses.replace(seen, rate=devlink.rate(port.handle, port.index))
        if spec.flavour is Flavour.VIRTIO:
            seen = self._virtio(spec, seen)
        if kind.as_asked(spec, seen):
            return seen  # the class devices say all that the parameters would
        parameters = tuple((name, devlink.parameter(auxiliary.handle, name)) for name in kind.parameters(spec))
        return dataclasses.replace(seen, parameters=parameters)

    def _netdev(self, devlink: Devlink, auxiliary: AuxiliaryDevice) -> tuple[Netdev | None, bool]:
        """Find the function's own netdev, and say whether it is in another network namespace."""
        netdev = next(iter(Netdev.under(self.sysfs, auxiliary.path)), None)
        if netdev is not None:
            return netdev, False
        function = _function_port(devlink, auxiliary.instances(self.sysfs))
        if function is not None and function.netdev is not None:
            netdev = Netdev.named(self.sysfs, function.netdev)  # ice: its netdev hangs under the PF
        return netdev, netdev is None and function is not None and function.ethernet

    def _taken(self, netdev: Netdev, record: Record | None) -> bool:
        if record is None or not record.lent or record.link is None or record.link.name == netdev.name:
            return False
        return Netdev.named(self.sysfs, record.link.name) is not None

    def _virtio(self, spec: Spec, seen: Observation) -> Observation:
        drivers = binding.drivers(self.sysfs, "vdpa")
        seen = dataclasses.replace(seen, drivers=drivers, netdev=None)
        claim = seen.claim.vdpa if seen.claim else None
        device = seen.vdpa(claim.name) if claim else None
        if spec.virtio.driver is not VirtioDriver.VIRTIO or claim is None or device is None or seen.parent is None:
            return seen
        pf = seen.parent.function.path
        known = _virtio_device(seen.record, pf)
        if known is not None and self.sysfs.inode(known[0]) == known[1]:
            netdev = next(iter(Netdev.under(self.sysfs, known[0])), None)
        else:
            # Nothing but the address says which of the PF's virtio netdevs is a new vDPA device's.
            known, mac = None, Mac.parse(claim.mac_address)
            netdev = next((netdev for netdev in virtio_netdevs(self.sysfs, pf) if netdev.mac == mac), None)
        path = netdev.path.rpartition("/net/")[0] if netdev else known[0] if known else ""
        inode = self.sysfs.inode(path) if path else None
        return dataclasses.replace(
            seen,
            netdev=netdev,
            virtio=(path, inode) if inode is not None else None,
            away=netdev is None and known is not None,
            name_taken=netdev is not None and self._taken(netdev, seen.record),
        )

    def _bridge(self, name: str) -> Netdev | None:
        return Netdev.named(self.sysfs, name) if self.sysfs.names(f"class/net/{name}/bridge") else None

    def _parent(self, devlink: Devlink, look: Look, seen: Observation) -> tuple[Parent | None, Port | None]:
        handle, record = look.parent, seen.record
        function = PciFunction.at(self.sysfs, handle)
        if function is None:
            return None, None
        number, index = _number(look.desired, seen), look.index
        if index is None and seen.this_boot and seen.claim is not None:
            index = seen.claim.port_index
        if index is not None:
            port = devlink.port(handle, index)
            if port is not None and port.is_sub_function and number in {None, port.number}:
                return Parent(function), port
            if look.desired.deleting and port is None:
                return Parent(function), None  # it is gone, and what else has its number is not ours
        count = self.census.last(handle)
        port = None
        # Whose a port is, is decided by a fresh look alone.
        if count is None or number is not None or record is not None:
            count, ports = self.census.take(devlink, handle, self.records)
            port = next((port for port in ports if port.number == number), None)
        others = count.of_others(look.desired.uid)
        legacy = count.pf is None and _legacy(devlink, handle)
        return Parent(
            function,
            count.pf,
            count.taken | frozenset(others) | look.reserved.numbers,
            look.reserved.shown,
            others,
            legacy,
        ), port

    def _auxiliary(self, port: Port | None, record: Record | None) -> AuxiliaryDevice | None:
        if port is None or port.function is None:
            return None
        if port.function.instance is not None:
            return AuxiliaryDevice.named(self.sysfs, port.function.instance.device)
        if port.number is None or not (port.function.active or port.function.attached):
            return None
        if (found := AuxiliaryDevice.of_sub_function(self.sysfs, port.handle, port.number)) is not None:
            return found
        # ice tells no number, and while no driver has it no instance either: the recorded directory does.
        known = AuxiliaryDevice.named(self.sysfs, record.device_id) if record and record.device_id else None
        same = known is not None and record is not None and record.witness.inodes.get(known.path) == known.inode
        return known if same else None


def _legacy(devlink: Devlink, handle: Handle) -> bool:
    try:
        return devlink.eswitch_mode(handle) is EswitchMode.LEGACY
    except Gone:
        return False  # no driver has the parent: it has no mode


def _number(desired: Desired, seen: Observation) -> int | None:
    if seen.claim is not None:
        return seen.claim.number
    wanted = desired.object
    return desired.published if wanted is None or wanted.spec.number is None else wanted.spec.number


def _function_port(devlink: Devlink, instances: tuple[Handle, ...]) -> Port | None:
    """Find the port by which a function knows its own netdev, also while that is in another namespace."""
    ports = (port for instance in instances for port in devlink.ports(instance))
    return next((port for port in ports if port.flavour is PortFlavour.VIRTUAL), None)


def _children(sysfs: Sysfs, auxiliary: AuxiliaryDevice) -> tuple[tuple[str, str | None], ...]:
    """List the auxiliary devices below a function's (`mlx5_core.vnet.4`), each with its driver."""
    names = [name for name in sysfs.names(auxiliary.path) if name.startswith("mlx5_core.")]
    links = ((name, sysfs.target(f"{auxiliary.path}/{name}/driver")) for name in names)
    return tuple((name, link.rpartition("/")[2] if link else None) for name, link in links)


def _virtio_device(record: Record | None, parent: str) -> tuple[str, int] | None:
    """Find in a record which of the parent's virtio devices was offered."""
    inodes = record.witness.inodes.items() if record else ()
    return next(((path, inode) for path, inode in inodes if path.startswith(f"{parent}/virtio")), None)
