"""Finds the port of a sub-function, and observes its parent. Reads only.

A port whose index is known is asked for by its index. A list of ports does not prove that one is gone, since one port
whose firmware query fails cuts the list short, with success (see PortUnlisted).
"""

import dataclasses
import re
from typing import Final

from subfunction.errors import Gone
from subfunction.kernel.address import Handle
from subfunction.kernel.bus.mdev import list_devices
from subfunction.kernel.bus.pci import PciFunction, list_virtual_functions
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.port import Port
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import EswitchMode
from subfunction.state.records import Record
from subfunction.state.store import FileStore
from subfunction_operator.agent.flavours.drivers import profile_of
from subfunction_operator.agent.model.observation import Desired, Observation, Parent
from subfunction_operator.agent.model.query import ObserveRequest
from subfunction_operator.agent.observe.event_queue import find_queue_blocker
from subfunction_operator.agent.observe.function import FunctionInstanceReader
from subfunction_operator.agent.observe.number_cache import NumberCache, ParentNumbers

_LOCAL_REPRESENTOR: Final = re.compile(r"pf\d+sf(\d+)")
"""The phys_port_name of a local sub-function's representor (net/devlink/port.c, Linux 6.12)."""


@dataclasses.dataclass(frozen=True, slots=True)
class PortFinder:
    """Finds the ports of one node's sub-functions."""

    sysfs: Sysfs
    records: FileStore[Record]
    numbers: NumberCache
    instances: FunctionInstanceReader

    def observe(self, devlink: Devlink, request: ObserveRequest, seen: Observation) -> Observation:
        """Return `seen` with the parent and the port."""
        function = PciFunction.at(self.sysfs, request.parent)
        if function is None:
            return seen
        number, index = _number(request.desired, seen), _index(request, seen)
        if index is not None:
            port = devlink.port(request.parent, index)
            if port is not None and _fits(port, number) and not _has_other_representor(port, request, seen):
                waits = self._find_queue_blocker(devlink, function, port) if request.find_blocker else ""
                made = request.index is not None
                parent = Parent(function, stranded=_is_stranded(devlink, function))
                return dataclasses.replace(seen, parent=parent, port=port, made=made, waits_for=waits)
            if port is None and request.desired.deleting:
                # Our port is gone, so that another port of this number is not ours.
                return dataclasses.replace(seen, parent=Parent(function))
        return self._search(devlink, request, function, seen)

    def _search(
        self, devlink: Devlink, request: ObserveRequest, function: PciFunction, seen: Observation
    ) -> Observation:
        """Find the port by its number, or by the index that the status shows."""
        number, record = _number(request.desired, seen), seen.record
        numbers, port = self.numbers.get(request.parent), None
        # Whether a port is ours is decided from a fresh list alone.
        if numbers is None or number is not None or record is not None:
            numbers, ports = self.numbers.refresh(devlink, self.sysfs, function, self.records)
            port = next((port for port in ports if port.number == number), None)
        shown = request.desired.object.status.port if request.desired.object else None
        if port is None and shown is not None:
            asked = devlink.port(request.parent, shown)
            port = asked if asked is not None and _fits(asked, number) else None
        adopts = request.spec is not None and request.spec.adopt
        if port is None and number is not None and not devlink.filters_lists and (seen.announced or adopts):
            listed = self.instances.list_ports(devlink, request.parent)
            port = next((port for port in listed if _fits(port, number)), None)
        return dataclasses.replace(
            seen,
            parent=_observe_parent(devlink, self.sysfs, function, numbers, request),
            port=port,
            unlisted=port is None and seen.announced and self._has_representor(function, number),
        )

    def _has_representor(self, function: PciFunction, number: int | None) -> bool:
        names = (
            self.sysfs.read(f"{function.path}/net/{name}/phys_port_name") or ""
            for name in self.sysfs.names(f"{function.path}/net")
        )
        return any(found[1] == str(number) for name in names if (found := _LOCAL_REPRESENTOR.fullmatch(name)))

    def _find_queue_blocker(self, devlink: Devlink, function: PciFunction, port: Port) -> str:
        if port.function is None or not port.function.active or port.function.attached:
            return ""
        # A cached list is good enough for a hint, and many may wait.
        numbers = self.numbers.get(function.handle)
        if numbers is None or port.index not in {each.index for each in numbers.ports}:
            numbers, _ = self.numbers.refresh(devlink, self.sysfs, function, self.records)
        return find_queue_blocker(self.sysfs, function, port, numbers)


def _observe_parent(
    devlink: Devlink, sysfs: Sysfs, function: PciFunction, numbers: ParentNumbers, request: ObserveRequest
) -> Parent:
    others = numbers.recorded_by_others(request.desired.uid)
    parent = Parent(
        function,
        numbers.pfs,
        numbers.taken | frozenset(others) | request.reserved.numbers,
        request.reserved.shown,
        others,
    )
    if numbers.ports:
        return dataclasses.replace(parent, stranded=_is_stranded(devlink, function))
    try:
        mode = devlink.eswitch_mode(function.handle)
    except Gone:
        return dataclasses.replace(parent, absent=True)
    if mode is None:
        return dataclasses.replace(parent, elsewhere=bool(devlink.capacity(function.handle)))
    if mode is not EswitchMode.LEGACY:
        return parent
    # A driver that gave its card up says legacy too.
    reporter = profile_of(function.driver).fatal_reporter
    return dataclasses.replace(
        parent,
        legacy=True,
        failed=bool(reporter) and devlink.has_failed(function.handle, reporter),
        reload_failed=devlink.reload_failed(function.handle),
        functions=_list_functions(sysfs, function.handle),
    )


def _list_functions(sysfs: Sysfs, parent: Handle) -> tuple[str, ...]:
    virtual = tuple(each.address for each in list_virtual_functions(sysfs, parent))
    return virtual + list_devices(sysfs, parent)


def _is_stranded(devlink: Devlink, function: PciFunction) -> bool:
    """Return whether a parent that has sub-function ports is in legacy mode; asked only where a driver allows that."""
    if not profile_of(function.driver).stranded_hint:
        return False
    try:
        return devlink.eswitch_mode(function.handle) is EswitchMode.LEGACY
    except Gone:
        return False


def _fits(port: Port, number: int | None) -> bool:
    """Return whether a port is a local sub-function's, and has `number` unless that is None."""
    return port.is_sub_function and port.controller == 0 and number in {None, port.number}


def _has_other_representor(port: Port, request: ObserveRequest, seen: Observation) -> bool:
    """Return whether the port of our index is another one than was recorded: its representor has another ifindex."""
    recorded = seen.claim.representor if seen.claim is not None else None
    return request.index is None and recorded is not None and port.ifindex not in {None, recorded}


def _index(request: ObserveRequest, seen: Observation) -> int | None:
    if request.index is not None:
        return request.index
    return seen.claim.port_index if seen.this_boot and seen.claim is not None else None


def _number(desired: Desired, seen: Observation) -> int | None:
    if seen.claim is not None:
        return seen.claim.number
    wanted = desired.object
    return desired.status_number if wanted is None or wanted.spec.number is None else wanted.spec.number
