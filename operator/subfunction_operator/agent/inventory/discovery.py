"""Discovers what the node can do: its parents, what they offer, which drivers are loaded.

It only reads, and only what never waits until a process closes a device. It is read parent by parent, so that a card
that refuses or does not answer hides no other one (`discovery_thread.py` has the threads).
"""

import dataclasses
import functools
from collections.abc import Iterator

from subfunction.api.node import ForeignSubFunction, OfferedFunction, OfferedType, RdmaNamespaces
from subfunction.errors import FamilyMissing, Gone, KernelError, MalformedReply, SubFunctionError
from subfunction.kernel.address import Handle
from subfunction.kernel.bus.driver_binding import list_drivers
from subfunction.kernel.bus.mdev import list_types
from subfunction.kernel.bus.pci import PciFunction, list_physical_functions, list_virtual_functions
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.error_table import fatal_error
from subfunction.kernel.link import Links
from subfunction.kernel.port import Port
from subfunction.kernel.rdma import are_namespaces_shared
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import EswitchMode
from subfunction.kernel.uplink import find_uplink
from subfunction.state.claims import PortClaim
from subfunction.state.records import Record
from subfunction.state.store import FileStore
from subfunction_operator.agent.flavours.drivers import DRIVERS, profile_of, vfio_drivers
from subfunction_operator.agent.flavours.virtio import VDPA_DRIVERS
from subfunction_operator.agent.inventory.foreign_ports import ForeignPorts, Numbered
from subfunction_operator.agent.model.number_ranges import NumberRanges


def drivers_by_bus() -> dict[str, frozenset[str]]:
    """Return the drivers that flavours need, by their bus and in the kernel's spelling."""
    class_drivers = [profile.class_drivers for profile in DRIVERS.values()]
    return {
        "pci": frozenset(DRIVERS) | vfio_drivers(),
        "auxiliary": frozenset().union(*class_drivers),
        "vdpa": VDPA_DRIVERS,
    }


@dataclasses.dataclass(frozen=True, slots=True)
class DiscoveredParent:
    """One parent; `capacity` is None where its driver does not report it, `mode` where it has no e-switch.

    The capacity is the card's, or what the range of numbers allows if that is less.
    """

    function: PciFunction
    mode: EswitchMode | None = None
    capacity: int | None = None
    makes_ports: bool = True
    """Whether its driver was built with sub-functions; asked only where it reports no capacity."""
    error: SubFunctionError | None = None
    """Why nothing can be made on it: the card refused a request, did not answer, or its driver gave it up."""
    stranded: bool = False
    """Whether it has sub-functions in legacy mode; asked only where its driver allows that."""
    uplink: Port | None = None
    """Its physical port; a virtual function has none."""
    alternative_names: tuple[str, ...] = ()
    """The alternative names of its netdev."""
    types: tuple[OfferedType, ...] = ()
    virtual_functions: tuple[OfferedFunction, ...] = ()
    foreign: tuple[ForeignSubFunction, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class DiscoveredNode:
    """What was discovered; `missing` is set where the kernel has no devlink, and so no parent."""

    parents: tuple[DiscoveredParent, ...] = ()
    drivers: frozenset[str] = frozenset()
    rdma: RdmaNamespaces | None = None
    """Whether all network namespaces share the RDMA devices (`rdma system show`); None where there is no RDMA.

    The module parameter follows `rdma system set netns` (drivers/infiniband/core/device.c, Linux 6.12).
    """
    missing: FamilyMissing | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Discovery:
    """Reads one node: devlink, sysfs and the records."""

    sysfs: Sysfs
    records: FileStore[Record]
    ranges: NumberRanges = dataclasses.field(default_factory=NumberRanges)
    foreign: ForeignPorts = dataclasses.field(default_factory=ForeignPorts)

    def read_node(self) -> DiscoveredNode:
        """Read what is of no parent, from sysfs alone."""
        drivers = (name for bus, ours in drivers_by_bus().items() for name in ours & list_drivers(self.sysfs, bus))
        shared = are_namespaces_shared(self.sysfs)
        rdma = None if shared is None else RdmaNamespaces.SHARED if shared else RdmaNamespaces.EXCLUSIVE
        return DiscoveredNode(drivers=frozenset(drivers), rdma=rdma)

    def list_functions(self) -> tuple[PciFunction, ...]:
        """List the functions that may be parents, from sysfs alone: a virtual function is listed below its parent."""
        return list_physical_functions(self.sysfs)

    def read_parent(
        self, devlink: Devlink, links: Links, function: PciFunction, named: Numbered
    ) -> DiscoveredParent | None:
        """Read one parent; None where the function has no devlink instance, which goes for most of a node's functions.

        What the card refuses is in the result. `named` are the sub-functions that an object names.

        Raises:
            FamilyMissing: the kernel has no devlink.
        """
        handle = function.handle
        try:
            # Asked for by its handle: a list of all instances waits for every sub-function that is being removed.
            if not devlink.exists(handle):
                return None
            parent = DiscoveredParent(function, devlink.eswitch_mode(handle), devlink.capacity(handle))
            profile = profile_of(function.driver)
            if profile.fatal_reporter and devlink.has_failed(handle, profile.fatal_reporter):
                parent = dataclasses.replace(parent, error=fatal_error(str(handle)))
            if parent.capacity is None and profile.kernel_option:
                parent = dataclasses.replace(parent, makes_ports=devlink.supports_port_add(handle))
            if parent.mode is EswitchMode.LEGACY and profile.stranded_hint:
                ports = devlink.ports(handle)
                parent = dataclasses.replace(parent, stranded=any(port.is_sub_function for port in ports))
            uplink = find_uplink(devlink, self.sysfs, handle)
            names = links.find(uplink.netdev) if uplink is not None and uplink.netdev else None
            ours = functools.cache(lambda: self._recorded() | named)
            foreign = self.foreign.list(devlink, handle, ours)
            taken = {number for parent_of, number in ours() if parent_of == str(handle)}
            taken |= {each.number for each in foreign if each.number is not None and not each.controller}
            parent = dataclasses.replace(
                parent,
                capacity=self.ranges.limit(handle, parent.capacity, taken),
                uplink=uplink,
                alternative_names=names.alternatives if names is not None else (),
                foreign=foreign,
            )
        except Gone:
            return None  # its instance went away meanwhile
        except (KernelError, MalformedReply) as error:
            parent = DiscoveredParent(function, error=error)
        return self.add_sysfs(parent)

    def add_sysfs(self, parent: DiscoveredParent) -> DiscoveredParent:
        """Add what sysfs has of a parent, whether its card answers or not."""
        handle = parent.function.handle
        functions = tuple(self._virtual_functions(handle))
        return dataclasses.replace(parent, types=tuple(self._types(handle)), virtual_functions=functions)

    def _recorded(self) -> Numbered:
        claims = (record.claim for record in self.records.read_all().items.values())
        return frozenset((claim.parent, claim.number) for claim in claims if isinstance(claim, PortClaim))

    def _types(self, handle: Handle) -> Iterator[OfferedType]:
        for offered in list_types(self.sysfs, handle):
            made = self.sysfs.names(f"class/mdev_bus/{handle.device}/mdev_supported_types/{offered.id}/devices")
            capacity = None if offered.available is None else offered.available + len(made)
            yield OfferedType(id=offered.id, api=offered.api or "", capacity=capacity)

    def _virtual_functions(self, handle: Handle) -> Iterator[OfferedFunction]:
        for function in list_virtual_functions(self.sysfs, handle):
            yield OfferedFunction(
                index=function.index, address=function.address, driver=function.driver, group=function.group
            )
