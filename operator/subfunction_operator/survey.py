"""One look at what the node can do: its parents, what they offer, which drivers are there.

Reads only, and nothing that waits for whoever holds a device. Runs in a thread of its own, since netlink blocks.
"""

import dataclasses
from collections.abc import Iterator
from typing import Final

from subfunction.api_node import ForeignSubFunction, OfferedFunction, OfferedType, RdmaNamespaces
from subfunction.claims import PortClaim
from subfunction.errors import FamilyMissing, Gone
from subfunction.folder import Folder
from subfunction.kernel.address import Handle
from subfunction.kernel.binding import drivers
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.mdev import types
from subfunction.kernel.pci import PciFunction, virtual_functions
from subfunction.kernel.port import Port
from subfunction.kernel.rdma import namespaces_shared
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import EswitchMode, PortFlavour
from subfunction.records import Record

Numbered = frozenset[tuple[str, int]]
"""Sub-functions as (parent, number)."""

DRIVERS: Final = {
    "pci": frozenset({"ice", "mlx5_core", "mlx5_vfio_pci", "vfio-pci"}),
    "auxiliary": frozenset({"mlx5_ib.rdma", "mlx5_vdpa.vnet"}),
    "vdpa": frozenset({"vhost_vdpa", "virtio_vdpa"}),
}
"""Bus -> the drivers that flavours need, as the kernel spells them."""

# From drivers/infiniband/core/device.c, Linux 6.12: `rdma system set netns` changes what the parameter shows.


@dataclasses.dataclass(frozen=True, slots=True)
class SurveyedParent:
    """One parent; `capacity` and `mode` are None where its driver does not tell or has no e-switch."""

    function: PciFunction
    mode: EswitchMode | None = None
    capacity: int | None = None
    uplink: Port | None = None
    """Its physical port; a virtual function has none."""
    types: tuple[OfferedType, ...] = ()
    virtual_functions: tuple[OfferedFunction, ...] = ()
    foreign: tuple[ForeignSubFunction, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Survey:
    """What was seen; `missing` is what the kernel lacks for there to be any parent."""

    parents: tuple[SurveyedParent, ...] = ()
    drivers: frozenset[str] = frozenset()
    rdma: RdmaNamespaces | None = None
    """Whether vfio takes devices that no IOMMU guards."""
    missing: FamilyMissing | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Surveyor:
    """The places to look at, for one node."""

    sysfs: Sysfs
    records: Folder[Record]

    def look(self, devlink: Devlink, named: Numbered) -> Survey:
        """Look once; `named` are the sub-functions that an object names.

        Raises:
            KernelError, MalformedReply: devlink answered something else than what was asked.
        """
        seen = Survey(
            drivers=frozenset(name for bus, ours in DRIVERS.items() for name in ours & drivers(self.sysfs, bus)),
            rdma=self._rdma(),
        )
        try:
            return dataclasses.replace(seen, parents=tuple(self._parents(devlink, named)))
        except FamilyMissing as error:
            return dataclasses.replace(seen, missing=error)

    def _rdma(self) -> RdmaNamespaces | None:
        shared = namespaces_shared(self.sysfs)
        return None if shared is None else RdmaNamespaces.SHARED if shared else RdmaNamespaces.EXCLUSIVE

    def _parents(self, devlink: Devlink, named: Numbered) -> Iterator[SurveyedParent]:
        ports = devlink.ports()
        foreign = self._foreign(devlink, ports, named)
        for handle in sorted(devlink.instances()):
            function = PciFunction.at(self.sysfs, handle) if handle.bus == "pci" else None
            # A virtual function is listed with its parent.
            if function is None or self.sysfs.target(f"{function.path}/physfn") is not None:
                continue
            try:
                mode, capacity = devlink.eswitch_mode(handle), devlink.capacity(handle)
            except Gone:
                continue  # between two looks
            mine = [port for port in ports if port.handle == handle]
            yield SurveyedParent(
                function,
                mode,
                capacity,
                next((port for port in mine if port.flavour is PortFlavour.PHYSICAL), None),
                tuple(self._types(handle)),
                tuple(self._virtual_functions(handle)),
                tuple(_shown(port) for port in mine if port in foreign),
            )

    def _foreign(self, devlink: Devlink, ports: list[Port], named: Numbered) -> list[Port]:
        """Give the sub-functions that nobody here names.

        A record is written before its port is made and goes after it: what has none and is there still is not ours.
        """
        unnamed = [port for port in ports if port.is_sub_function and not _is_among(port, named)]
        if not unnamed:
            return []
        claims = (record.claim for record in self.records.read_all().items.values())
        recorded = frozenset((claim.parent, claim.number) for claim in claims if isinstance(claim, PortClaim))
        unknown = [port for port in unnamed if not _is_among(port, recorded)]
        left = {(port.handle, port.index) for port in devlink.ports()} if unknown else set()
        return [port for port in unknown if (port.handle, port.index) in left]

    def _types(self, handle: Handle) -> Iterator[OfferedType]:
        for offered in types(self.sysfs, handle):
            made = self.sysfs.names(f"class/mdev_bus/{handle.device}/mdev_supported_types/{offered.id}/devices")
            capacity = None if offered.available is None else offered.available + len(made)
            yield OfferedType(id=offered.id, api=offered.api or "", capacity=capacity)

    def _virtual_functions(self, handle: Handle) -> Iterator[OfferedFunction]:
        for function in virtual_functions(self.sysfs, handle):
            yield OfferedFunction(
                index=function.index, address=function.address, driver=function.driver, group=function.group
            )


def _is_among(port: Port, ours: Numbered) -> bool:
    return port.controller == 0 and port.number is not None and (str(port.handle), port.number) in ours


def _shown(port: Port) -> ForeignSubFunction:
    function = port.function
    mac = function.mac if function else None
    return ForeignSubFunction(
        port=port.index,
        number=port.number,
        controller=port.controller,
        mac_address=None if mac is None or mac.unset else str(mac),
        state="active" if function and function.active else "inactive",
    )
