"""One look at a sub-function: its record, its port, what hangs under its device, who holds it.

Reads only. Runs in the parent's own thread, since netlink blocks.
"""

import dataclasses
from typing import Protocol

from subfunction.api import Spec
from subfunction.folder import Folder
from subfunction.kernel.address import Handle
from subfunction.kernel.auxiliary import AuxiliaryDevice
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.pci import PciFunction
from subfunction.kernel.port import Port
from subfunction.kernel.rdma import RdmaDevice, connection_manager
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import PortFlavour
from subfunction.records import Record
from subfunction_operator.census import Census, Count
from subfunction_operator.flavours import KINDS, Kind
from subfunction_operator.observation import Desired, Observation, Parent, Usage


class Holders(Protocol):
    """Who knows which device is held; holders.py asks plugin and kubelet."""

    def usage(self, record: Record | None, *, ask: bool) -> Usage:
        """Say who holds a record's device; with `ask`, whatever that costs."""


@dataclasses.dataclass(frozen=True, slots=True)
class Observer:
    """The places to look at, for one node."""

    sysfs: Sysfs
    records: Folder[Record]
    holders: Holders
    boot_id: str
    census: Census = dataclasses.field(default_factory=Census)

    def look(  # noqa: PLR0913  # what is looked for, and what the run knows of it already
        self,
        devlink: Devlink,
        desired: Desired,
        handle: Handle,
        reserved: frozenset[int] = frozenset(),
        index: int | None = None,
        *,
        ask: bool = False,
    ) -> Observation:
        """Look once.

        `reserved` are numbers that other objects have; `index` is the port that was made a moment ago, and that the
        record may not name yet; `ask` has the kubelet asked who holds the device.
        """
        record = self.records.read(desired.uid)
        if index is None and record is not None and record.boot_id == self.boot_id:
            index = record.claim.port_index
        parent, port = self._parent(devlink, desired, record, handle, reserved, index)
        auxiliary = self._auxiliary(port)
        seen = Observation(
            boot_id=self.boot_id,
            handle=str(handle),
            parent=parent,
            record=record,
            port=port,
            auxiliary=auxiliary,
            representor=Netdev.named(self.sysfs, port.netdev) if port and port.netdev else None,
            usage=self.holders.usage(record, ask=ask),
        )
        if auxiliary is None or auxiliary.driver is None:
            return seen
        netdev = next(iter(Netdev.under(self.sysfs, auxiliary.path)), None)
        function = None if netdev else _function_port(devlink, auxiliary)
        if function is not None and function.netdev is not None:
            netdev = Netdev.named(self.sysfs, function.netdev)  # ice: its netdev hangs under the PF
        seen = dataclasses.replace(
            seen,
            netdev=netdev,
            away=netdev is None and function is not None and function.ethernet,
            rdma=RdmaDevice.under(self.sysfs, auxiliary.path),
            connection_manager=connection_manager(self.sysfs),
        )
        kind, spec = _kind(desired)
        if kind is None or spec is None or kind.as_asked(spec, seen):
            return seen  # the class devices say all that the parameters would
        parameters = tuple((name, devlink.parameter(auxiliary.handle, name)) for name in kind.parameters(spec))
        return dataclasses.replace(seen, parameters=parameters)

    def _parent(  # noqa: PLR0913, PLR0917  # what identifies a port, and no more
        self,
        devlink: Devlink,
        desired: Desired,
        record: Record | None,
        handle: Handle,
        reserved: frozenset[int],
        index: int | None,
    ) -> tuple[Parent | None, Port | None]:
        function = PciFunction.at(self.sysfs, handle)
        if function is None:
            return None, None
        number = _number(desired, record)
        if index is not None:
            port = devlink.port(handle, index)
            if port is not None and port.is_sub_function and number in {None, port.number}:
                return Parent(function), port
            if desired.deleting and port is None:
                return Parent(function), None  # it is gone, and what else has its number is not ours
        count = self.census.last(handle)
        port = None
        # Whose a port is, is decided by a fresh look alone.
        if count is None or number is not None or record is not None:
            count, ports = self._counted(devlink, handle)
            port = next((port for port in ports if port.number == number), None)
        others = count.of_others(desired.uid)
        return Parent(function, count.pf, count.taken | others | reserved, others), port

    def _counted(self, devlink: Devlink, handle: Handle) -> tuple[Count, list[Port]]:
        ports = devlink.ports(handle)
        pf = next((port.port_number for port in ports if port.flavour is PortFlavour.PHYSICAL), None)
        mine = [port for port in ports if port.is_sub_function and port.controller == 0 and port.pf == pf]
        taken = frozenset(port.number for port in mine if port.number is not None)
        claims = {uid: record.claim for uid, record in self.records.read_all().items.items()}
        count = Count(pf, taken, {uid: claim.number for uid, claim in claims.items() if claim.parent == str(handle)})
        self.census.counted(handle, count)
        return count, mine

    def _auxiliary(self, port: Port | None) -> AuxiliaryDevice | None:
        if port is None or port.function is None:
            return None
        if port.function.instance is not None:
            return AuxiliaryDevice.named(self.sysfs, port.function.instance.device)
        if port.number is not None and (port.function.active or port.function.attached):
            return AuxiliaryDevice.of_sub_function(self.sysfs, port.handle, port.number)
        return None


def _number(desired: Desired, record: Record | None) -> int | None:
    if record is not None:
        return record.claim.number
    wanted = desired.object
    return desired.published if wanted is None or wanted.spec.number is None else wanted.spec.number


def _function_port(devlink: Devlink, auxiliary: AuxiliaryDevice) -> Port | None:
    """Find the port by which a function knows its own netdev, also while that is in another namespace."""
    return next((port for port in devlink.ports(auxiliary.handle) if port.flavour is PortFlavour.VIRTUAL), None)


def _kind(desired: Desired) -> tuple[Kind | None, Spec | None]:
    spec = desired.object.spec if desired.object else None
    return (KINDS.get(spec.flavour) if spec else None), spec
