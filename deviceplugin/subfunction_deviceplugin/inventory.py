"""The plugin's view of its devices: read when something changes, published when the list is another one.

A burst of changes costs one look, and looks never take more than a fifth of the time: however many records a node has,
the plugin stays quiet beside what the node is for. The kubelet's checkpoint changes with every Allocate, so a look that
it alone gave reason for leaves records, ledger and sysfs alone.
"""

import asyncio
import dataclasses
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping

from subfunction.errors import SubFunctionError
from subfunction.metrics import Counts, PluginMetrics
from subfunction.reasons import Reason
from subfunction.records import Record
from subfunction_deviceplugin.bookkeeper import RETRY_SECONDS, Bookkeeper
from subfunction_deviceplugin.listing import Device, Promises, devices
from subfunction_deviceplugin.settings import Settings
from subfunction_deviceplugin.sources import Sources, ignored
from subfunction_deviceplugin.worker import Worker

logger = logging.getLogger(__name__)

_WAITED_FOR = frozenset({Reason.DRAINING, Reason.ID_TAKEN, Reason.STALE_ALLOCATION, Reason.UNKNOWN_DEVICE})


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """One look at everything: each resource's devices, what is held, and in how many seconds an entry falls due."""

    lists: Mapping[str, tuple[Device, ...]]
    held: frozenset[tuple[str, str]]
    due: float | None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Issue:
    """One issue of a resource's list: what a stream sends, each issue once."""

    devices: tuple[Device, ...] = ()


class Inventory:
    """Keeps the lists. `on_resource` is told once of each resource that is to be registered."""

    def __init__(  # noqa: PLR0913  # what it stands on, each once
        self,
        sources: Sources,
        bookkeeper: Bookkeeper,
        worker: Worker,
        settings: Settings,
        on_resource: Callable[[str], None],
        *,
        metrics: PluginMetrics,
    ) -> None:
        self._sources = sources
        self._bookkeeper = bookkeeper
        self._worker = worker
        self._settings = settings
        self._on_resource = on_resource
        self._metrics = metrics
        metrics.devices.source, metrics.unhealthy.source = self._healths, self._faults
        self.looked = False
        """Whether records and resource names have been looked at once."""
        self._issues: dict[str, Issue] = {}
        self._issued = asyncio.Condition()
        self._resend_at: dict[str, float] = {}
        self._bell = asyncio.Event()
        self._stale = True
        self._records: Mapping[str, Record] = {}
        self._mismatches: Mapping[str, str] = {}
        self._names: tuple[str, ...] = ()
        self._refused_names: set[str] = set()

    def ring(self, *, only_checkpoint: bool = False) -> None:
        """Ask for a look: something changed."""
        self._stale = self._stale or not only_checkpoint
        self._bell.set()

    def device(self, resource: str, device_id: str) -> Device | None:
        """Find a device as it was last listed."""
        return next((each for each in self._issues[resource].devices if each.device_id == device_id), None)

    def devices(self, resource: str) -> tuple[Device, ...]:
        """Give a resource's devices as last listed."""
        return self._issues[resource].devices

    async def lists(self, resource: str) -> AsyncIterator[tuple[Device, ...]]:
        """Give a resource's list as it is, and each later issue; a slow taker skips what was replaced meanwhile."""
        sent: Issue | None = None
        while True:
            async with self._issued:
                while self._issues[resource] is sent:
                    await self._issued.wait()
                sent = self._issues[resource]
            yield sent.devices

    async def run(self) -> None:
        """Look whenever something may have changed, until cancelled."""
        while True:
            began = time.monotonic()
            wait = await self._look()
            await asyncio.sleep(max(self._settings.coalesce, 4 * (time.monotonic() - began)))
            try:
                async with asyncio.timeout(wait):
                    await self._bell.wait()
                # The rest of a burst follows within moments.
                await asyncio.sleep(self._settings.coalesce)
            except TimeoutError:
                self._stale = True

    async def _look(self) -> float | None:
        self._bell.clear()
        whole, self._stale = self._stale, False
        try:
            look = await self._worker.do(self._read, frozenset(self._issues), whole=whole)
        except SubFunctionError as error:
            self._stale = True
            self._metrics.failed(error.reason)
            logger.warning("the devices cannot be looked at: %s", error)
            return RETRY_SECONDS
        await self._publish(look)
        now = time.monotonic()
        times = [at - now for at in self._resend_at.values()] + ([] if look.due is None else [look.due])
        return max(0.0, min(times)) if times else None

    def _read(self, known: frozenset[str], *, whole: bool) -> Look:
        if whole:
            self._read_again()
        # Read once and used for both, so that the two tell of one moment.
        holdings = self._sources.holdings()
        entries, due = self._bookkeeper.settle(holdings)
        records = self._records.values()
        asked = {*self._names, *(r.resource for r in records), *(e.resource for e in entries.values())}
        resources = known | {name for name in asked if self._ours(name)}
        promises = Promises.of(entries.values(), holdings)
        lists = devices(self._records, self._mismatches, promises, boot=self._sources.boot, resources=resources)
        return Look(lists, promises.held, due)

    def _read_again(self) -> None:
        contents = self._sources.records.read_all()
        self._sources.complain("records", ignored(contents.unreadable))
        self._records = contents.items
        self._mismatches = {
            uid: mismatch
            for uid, record in contents.items.items()
            if record.boot_id == self._sources.boot and (mismatch := self._sources.mismatch(record)) is not None
        }
        self._names = self._sources.names()
        self._bookkeeper.load()

    def _ours(self, resource: str) -> bool:
        if resource.partition("/")[0] in self._settings.resource_domains:
            return True
        if resource not in self._refused_names:
            self._refused_names.add(resource)
            domains = ", ".join(self._settings.resource_domains)
            logger.warning("%s is not registered: its domain is none of resource-domains (%s)", resource, domains)
        return False

    async def _publish(self, look: Look) -> None:
        now = time.monotonic()
        new = [resource for resource in look.lists if resource not in self._issues]
        for resource, listed in look.lists.items():
            old = self._issues.get(resource)
            changed = old is None or old.devices != listed
            if self._resend(resource, listed, look.held, now, changed=changed) or changed:
                self._issues[resource] = Issue(listed)
                _tell(resource, () if old is None else old.devices, listed)
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
        """Say whether the list is to be sent though it is the same, and note when the next such time is."""
        faults = [device.fault for device in listed if (resource, device.device_id) in held]
        if not faults:
            self._resend_at.pop(resource, None)
            return False
        wanted = any(fault is not None and fault.reason in _WAITED_FOR for fault in faults)
        following = now + (self._settings.resend_wanted if wanted else self._settings.resend_held)
        at = self._resend_at.get(resource, following)
        self._resend_at[resource] = following if changed or at <= now else min(at, following)
        return at <= now


def _tell(resource: str, old: tuple[Device, ...], new: tuple[Device, ...]) -> None:
    before = {device.device_id: device for device in old}
    for device in new:
        if before.pop(device.device_id, None) == device:
            continue
        if device.fault is None:
            logger.info("%s %s: healthy", resource, device.device_id)
        else:
            logger.info("%s %s: %s: %s", resource, device.device_id, device.fault.reason, device.fault.message)
    for device_id in before:
        logger.info("%s %s: gone", resource, device_id)
