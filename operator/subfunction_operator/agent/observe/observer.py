"""Observes one sub-function: its record, its port, what is below its device, which pod uses it.

It reads devlink and sysfs, and changes nothing. It never uses vDPA netlink, which one device in use can block for the
whole node. It runs in the parent's own thread, since netlink blocks.
"""

import dataclasses
from typing import Protocol

from subfunction.api.subfunction import Flavour, Rate, Spec, VirtioDriver
from subfunction.kernel.address import Mac
from subfunction.kernel.bus import driver_binding
from subfunction.kernel.bus.auxiliary import AuxiliaryDevice
from subfunction.kernel.bus.pci import PciFunction
from subfunction.kernel.bus.vdpa import VdpaDevice, list_virtio_netdevs
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.link import Links
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.port import Port
from subfunction.kernel.rdma import RdmaDevice, are_namespaces_shared, find_connection_manager
from subfunction.kernel.sysfs import Sysfs
from subfunction.state.records import Record, find_mismatch
from subfunction.state.store import FileStore
from subfunction_operator.agent.flavours.auxiliary import SIZES
from subfunction_operator.agent.flavours.drivers import profile_of
from subfunction_operator.agent.flavours.registry import FLAVOURS
from subfunction_operator.agent.model.observation import Observation, Parent, Usage
from subfunction_operator.agent.model.query import ObserveRequest
from subfunction_operator.agent.observe.function import FunctionInstanceReader
from subfunction_operator.agent.observe.number_cache import NumberCache
from subfunction_operator.agent.observe.port import PortFinder
from subfunction_operator.agent.observe.vfio import VirtualFunctionFinder, observe_mediated_device, vfio_target
from subfunction_operator.agent.offer.artifact_store import ArtifactStore


class UsageSource(Protocol):
    """Tells which pod uses a device; `usage.py` reads the ledger and asks the kubelet."""

    def usage(self, record: Record | None, *, refresh: bool) -> Usage:
        """Return which pod uses a record's device; with `refresh`, ask the kubelet in any case."""


@dataclasses.dataclass(frozen=True, slots=True)
class Observer:
    """Observes the sub-functions of one node."""

    sysfs: Sysfs
    records: FileStore[Record]
    artifacts: ArtifactStore
    usage: UsageSource
    boot_id: str
    numbers: NumberCache = dataclasses.field(default_factory=NumberCache)
    instances: FunctionInstanceReader = dataclasses.field(default_factory=FunctionInstanceReader)

    def observe(self, devlink: Devlink, links: Links, request: ObserveRequest) -> Observation:
        """Observe once; the clients are those of the calling thread."""
        record = self.records.read(request.desired.uid)
        if record is not None and record.boot_id != self.boot_id and record.claim.parent != str(request.parent):
            record = None  # of an earlier boot, when the parent had another address
        offered = record is not None and bool(record.witness.inodes)
        seen = Observation(
            witness_holds=offered and record is not None and find_mismatch(record.witness, self.sysfs) is None,
            boot_id=self.boot_id,
            handle=str(request.parent),
            record=record,
            artifacts=self.artifacts.read(request.desired.uid, record),
            usage=self.usage.usage(record, refresh=request.refresh),
        )
        if request.bridge:
            seen = self._observe_bridge(links, request.bridge, seen)
        wanted = vfio_target(request.spec, record)
        if wanted is None:
            return self._observe_sub_function(devlink, links, request, seen)
        function = PciFunction.at(self.sysfs, request.parent)
        seen = dataclasses.replace(seen, parent=Parent(function) if function else None)
        if wanted.mediated_device is not None:
            return observe_mediated_device(self.sysfs, request.parent, request.desired.uid, seen)
        finder = VirtualFunctionFinder(self.sysfs, self.records)
        seen = finder.observe(devlink, request.parent, wanted.virtual_function, seen)
        if seen.virtual_function is None or seen.owner or request.status_names(seen.virtual_function.address):
            return seen
        return dataclasses.replace(seen, owner=request.reserved.devices.get(seen.virtual_function.address, ""))

    def _observe_sub_function(
        self, devlink: Devlink, links: Links, request: ObserveRequest, seen: Observation
    ) -> Observation:
        seen = PortFinder(self.sysfs, self.records, self.numbers, self.instances).observe(devlink, request, seen)
        port = seen.port
        auxiliary = self._find_auxiliary(port, seen.record)
        spec = request.spec
        seen = dataclasses.replace(
            seen,
            auxiliary=auxiliary,
            children=_list_children(self.sysfs, auxiliary, seen) if auxiliary else (),
            vdpas=VdpaDevice.under(self.sysfs, auxiliary.path) if auxiliary else (),
            representor=Netdev.named(self.sysfs, port.netdev) if port and port.netdev else None,
        )
        if auxiliary is None or auxiliary.driver is None or port is None:
            return seen
        if port.function is not None and port.function.active and not port.function.attached:
            return dataclasses.replace(seen, reload_failed=self.instances.has_reload_failed(devlink, auxiliary))
        native, away = self._find_netdev(
            devlink, auxiliary, offered=seen.record is not None and bool(seen.record.witness.inodes)
        )
        seen = dataclasses.replace(
            seen,
            netdev=native,
            native=native,
            native_away=away,
            netdev_away=away,
            name_taken=native is not None and _is_name_taken(links, native, seen.record),
            rdma=RdmaDevice.under(self.sysfs, auxiliary.path),
            connection_manager=find_connection_manager(self.sysfs),
        )
        if seen.rdma is not None:
            seen = dataclasses.replace(seen, rdma_exclusive=are_namespaces_shared(self.sysfs) is False)
        if spec is None or (flavour := FLAVOURS.get(spec.flavour)) is None:
            return seen
        if spec.rate != Rate() or (seen.claim is not None and seen.claim.rated):
            seen = dataclasses.replace(seen, rate=devlink.rate(port.handle, port.index))
        if spec.flavour is Flavour.VIRTIO:
            seen = self._observe_virtio(links, spec, seen)
        names = [*flavour.parameters(spec)]
        if flavour.has_requested_devices(spec, seen):
            names = [name for name in names if name in SIZES]  # the class devices show all that the flags would
        parameters = self.instances.read_parameters(devlink, auxiliary, names) if names else ()
        return dataclasses.replace(seen, parameters=parameters)

    def _find_netdev(
        self, devlink: Devlink, auxiliary: AuxiliaryDevice, *, offered: bool
    ) -> tuple[Netdev | None, bool]:
        """Return the function's own netdev, and whether it is in another network namespace."""
        netdev = next(iter(Netdev.under(self.sysfs, auxiliary.path)), None)
        if netdev is not None or not (offered or devlink.filters_lists):
            return netdev, False
        function = self.instances.find_port(devlink, self.sysfs, auxiliary)
        if function is not None and function.netdev is not None:
            netdev = Netdev.named(self.sysfs, function.netdev)  # ice: its netdev is below the PF
        return netdev, netdev is None and function is not None and function.ethernet

    def _observe_virtio(self, links: Links, spec: Spec, seen: Observation) -> Observation:
        drivers = driver_binding.list_drivers(self.sysfs, "vdpa")
        seen = dataclasses.replace(seen, drivers=drivers, netdev=None)
        claim = seen.claim.vdpa if seen.claim else None
        device = seen.vdpa(claim.name) if claim else None
        if spec.virtio.driver is not VirtioDriver.VIRTIO or claim is None or device is None or seen.parent is None:
            return seen
        pf = seen.parent.function.path
        known = _recorded_virtio_device(seen.record, pf)
        if known is not None and self.sysfs.inode(known[0]) == known[1]:
            netdev = next(iter(Netdev.under(self.sysfs, known[0])), None)
        else:
            # Only the MAC tells which of the PF's virtio netdevs belongs to a new vDPA device.
            known, mac = None, Mac.parse(claim.mac_address)
            netdev = next((netdev for netdev in list_virtio_netdevs(self.sysfs, pf) if netdev.mac == mac), None)
        path = netdev.path.rpartition("/net/")[0] if netdev else known[0] if known else ""
        inode = self.sysfs.inode(path) if path else None
        return dataclasses.replace(
            seen,
            netdev=netdev,
            virtio=(path, inode) if inode is not None else None,
            netdev_away=netdev is None and known is not None,
            name_taken=netdev is not None and _is_name_taken(links, netdev, seen.record),
        )

    def _observe_bridge(self, links: Links, name: str, seen: Observation) -> Observation:
        link = Netdev.named(self.sysfs, name)
        if link is None or self.sysfs.names(f"class/net/{name}/bridge"):
            return dataclasses.replace(seen, bridge=link)
        # sysfs does not show the kind of a link.
        return dataclasses.replace(seen, no_bridge=links.kind(link.ifindex))

    def _find_auxiliary(self, port: Port | None, record: Record | None) -> AuxiliaryDevice | None:
        if port is None or port.function is None:
            return None
        if port.function.instance is not None:
            return AuxiliaryDevice.named(self.sysfs, port.function.instance.device)
        if port.number is None or not (port.function.active or port.function.attached):
            return None
        if (found := AuxiliaryDevice.of_sub_function(self.sysfs, port.handle, port.number)) is not None:
            return found
        # ice shows no number, and without a driver no instance either: the device is found by its recorded directory.
        known = AuxiliaryDevice.named(self.sysfs, record.device_id) if record and record.device_id else None
        same = known is not None and record is not None and record.witness.inodes.get(known.path) == known.inode
        return known if same else None


def _is_name_taken(links: Links, netdev: Netdev, record: Record | None) -> bool:
    """Return whether the recorded name of a netdev that came back is taken: another link or its own alternative."""
    if record is None or not record.lent or record.link is None or record.link.name == netdev.name:
        return False
    return links.find(record.link.name) is not None


def _list_children(sysfs: Sysfs, auxiliary: AuxiliaryDevice, seen: Observation) -> tuple[tuple[str, str | None], ...]:
    """List the auxiliary devices below a function's (`mlx5_core.vnet.4`), each with its driver."""
    prefix = profile_of(seen.parent.function.driver if seen.parent else None).child_prefix
    if prefix is None:
        return ()
    names = [name for name in sysfs.names(auxiliary.path) if name.startswith(prefix)]
    links = ((name, sysfs.target(f"{auxiliary.path}/{name}/driver")) for name in names)
    return tuple((name, link.rpartition("/")[2] if link else None) for name, link in links)


def _recorded_virtio_device(record: Record | None, parent: str) -> tuple[str, int] | None:
    """Return path and inode of the virtio device that the record published, None where it published none."""
    inodes = record.witness.inodes.items() if record else ()
    return next(((path, inode) for path, inode in inodes if path.startswith(f"{parent}/virtio")), None)
