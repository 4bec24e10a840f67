"""The plugin's device lists: read when something changes, published when a list differs.

A burst of changes costs one read, and reads never take more than a fifth of the time, so that the plugin leaves the CPU
to the node's own work however many records there are. The kubelet's checkpoint changes with every Allocate, so a read
for its sake alone does not read records, ledger and sysfs again.

sysfs is not watched: a witness is compared with it only when the list is read, which a changed record or file of
resource names causes, and also the time of a re-send (while a device is in use) or of a ledger entry. In between, the
agent notices that a device went away, and its change of the record causes the read.
"""

import asyncio
import dataclasses
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping

from subfunction.api.reasons import Reason
from subfunction.errors import SubFunctionError
from subfunction.process.metrics import Counts, PluginMetrics
from subfunction.state.records import Record
from subfunction_deviceplugin.allocator import RETRY_SECONDS, Allocator
from subfunction_deviceplugin.health import Allocations, Device, list_devices
from subfunction_deviceplugin.node_state import describe_ignored
from subfunction_deviceplugin.settings import Settings
from subfunction_deviceplugin.worker import LedgerWorker

_LOG = logging.getLogger(__name__)

_WAITED_FOR = frozenset({Reason.DRAINING, Reason.ID_TAKEN, Reason.STALE_ALLOCATION, Reason.UNKNOWN_DEVICE})


@dataclasses.dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """One read of everything: each resource's devices, those in use, and the seconds until a ledger entry is due."""

    lists: Mapping[str, tuple[Device, ...]]
    held: frozenset[tuple[str, str]]
    due: float | None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ListVersion:
    """One version of a resource's list; a stream sends each version once."""

    devices: tuple[Device, ...] = ()


class DeviceList:
    """Keeps the lists. `on_resource` is called once for each resource that is to be registered."""

    def __init__(
        self,
        allocator: Allocator,
        worker: LedgerWorker,
        settings: Settings,
        on_resource: Callable[[str], None],
        *,
        metrics: PluginMetrics,
    ) -> None:
        self._sources = allocator.sources
        self._allocator = allocator
        self._worker = worker
        self._settings = settings
        self._on_resource = on_resource
        self._metrics = metrics
        metrics.devices.source, metrics.unhealthy.source = self._healths, self._faults
        self.looked = False
        """Whether records and resource names have been read once."""
        self._issues: dict[str, ListVersion] = {}
        self._issued = asyncio.Condition()
        self._resend_at: dict[str, float] = {}
        self._bell = asyncio.Event()
        self._stale = True
        self._records: Mapping[str, Record] = {}
        self._mismatches: Mapping[str, str] = {}
        self._names: tuple[str, ...] = ()
        self._refused_names: set[str] = set()

    def notify(self, *, only_checkpoint: bool = False) -> None:
        """Request a read: something changed."""
        self._stale = self._stale or not only_checkpoint
        self._bell.set()

    def device(self, resource: str, device_id: str) -> Device | None:
        """Return a device as last listed; None where it is not listed."""
        return next((each for each in self._issues[resource].devices if each.device_id == device_id), None)

    def devices(self, resource: str) -> tuple[Device, ...]:
        """Return a resource's devices as last listed."""
        return self._issues[resource].devices

    async def lists(self, resource: str) -> AsyncIterator[tuple[Device, ...]]:
        """Yield a resource's list as it is, and each later version; a slow consumer skips replaced versions."""
        sent: ListVersion | None = None
        while True:
            async with self._issued:
                while self._issues[resource] is sent:
                    await self._issued.wait()
                sent = self._issues[resource]
            yield sent.devices

    async def run(self) -> None:
        """Read and publish whenever something may have changed, until cancelled."""
        while True:
            began = time.monotonic()
            wait = await self._read_node()
            await asyncio.sleep(max(self._settings.coalesce, 4 * (time.monotonic() - began)))
            try:
                async with asyncio.timeout(wait):
                    await self._bell.wait()
                # The rest of a burst follows within moments.
                await asyncio.sleep(self._settings.coalesce)
            except TimeoutError:
                self._stale = True

    async def _read_node(self) -> float | None:
        self._bell.clear()
        whole, self._stale = self._stale, False
        try:
            snapshot = await self._worker.run(self._read, frozenset(self._issues), whole=whole)
        except SubFunctionError as error:
            self._stale = True
            self._metrics.record_error(error.reason)
            _LOG.warning("the devices cannot be looked at: %s", error)
            return RETRY_SECONDS
        await self._publish(snapshot)
        now = time.monotonic()
        times = [at - now for at in self._resend_at.values()] + ([] if snapshot.due is None else [snapshot.due])
        return max(0.0, min(times)) if times else None

    def _read(self, known: frozenset[str], *, whole: bool) -> NodeSnapshot:
        if whole:
            self._read_again()
        # The checkpoint is read once for both, so that ledger and lists are of one moment.
        holdings = self._sources.holdings()
        entries, due = self._allocator.expire(holdings)
        records = self._records.values()
        asked = {*self._names, *(r.resource for r in records), *(e.resource for e in entries.values())}
        resources = known | {name for name in asked if self._is_allowed_domain(name)}
        allocations = Allocations.of(entries.values(), holdings)
        lists = list_devices(self._records, self._mismatches, allocations, boot=self._sources.boot, resources=resources)
        return NodeSnapshot(lists, allocations.held, due)

    def _read_again(self) -> None:
        contents = self._sources.records.read_all()
        self._sources.log_once("records", describe_ignored(contents.unreadable))
        self._records = contents.items
        self._mismatches = {
            uid: mismatch
            for uid, record in contents.items.items()
            if record.boot_id == self._sources.boot and (mismatch := self._sources.mismatch(record)) is not None
        }
        self._names = self._sources.names()
        self._allocator.load()

    def _is_allowed_domain(self, resource: str) -> bool:
        if resource.partition("/")[0] in self._settings.resource_domains:
            return True
        if resource not in self._refused_names:
            self._refused_names.add(resource)
            domains = ", ".join(self._settings.resource_domains)
            _LOG.warning("%s is not registered: its domain is none of resource-domains (%s)", resource, domains)
        return False

    async def _publish(self, look: NodeSnapshot) -> None:
        now = time.monotonic()
        new = [resource for resource in look.lists if resource not in self._issues]
        for resource, listed in look.lists.items():
            old = self._issues.get(resource)
            changed = old is None or old.devices != listed
            if self._resend(resource, listed, look.held, now, changed=changed) or changed:
                self._issues[resource] = ListVersion(listed)
                _log_change(resource, () if old is None else old.devices, listed)
        async with self._issued:
            self._issued.notify_all()
        for resource in new:
            self._on_resource(resource)
        self.looked = True

    def _healths(self) -> Counts:
        counts: Counter[tuple[str, ...]] = Counter()
        for resource, issue in self._issues.copy().items():
            counts.update({(resource, "Healthy"): 0, (resource, "Unhealthy"): 0})
            counts.update((resource, "Healthy" if each.fault is None else "Unhealthy") for each in issue.devices)
        return counts

    def _faults(self) -> Counts:
        issues = self._issues.copy().values()
        return Counter((each.fault.reason,) for issue in issues for each in issue.devices if each.fault is not None)

    def _resend(
        self,
        resource: str,
        listed: tuple[Device, ...],
        held: frozenset[tuple[str, str]],
        now: float,
        *,
        changed: bool,
    ) -> bool:
        """Return whether to send the list though it is unchanged, and store when the next such time is."""
        faults = [device.fault for device in listed if (resource, device.device_id) in held]
        if not faults:
            self._resend_at.pop(resource, None)
            return False
        wanted = any(fault is not None and fault.reason in _WAITED_FOR for fault in faults)
        following = now + (self._settings.resend_wanted if wanted else self._settings.resend_held)
        at = self._resend_at.get(resource, following)
        self._resend_at[resource] = following if changed or at <= now else min(at, following)
        return at <= now


def _log_change(resource: str, old: tuple[Device, ...], new: tuple[Device, ...]) -> None:
    before = {device.device_id: device for device in old}
    for device in new:
        if before.pop(device.device_id, None) == device:
            continue
        if device.fault is None:
            _LOG.info("%s %s: healthy", resource, device.device_id)
        else:
            _LOG.info("%s %s: %s: %s", resource, device.device_id, device.fault.reason, device.fault.message)
    for device_id in before:
        _LOG.info("%s %s: gone", resource, device_id)
