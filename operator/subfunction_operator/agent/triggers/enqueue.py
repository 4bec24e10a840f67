"""Maps events to sub-function keys, and adds them to the work queue with a delay.

Events of the kernel name ports, links and directories, and each change of a sub-function causes about ten of them: the
delay turns these into one reconciliation.
"""

import dataclasses
from typing import Final

from subfunction_operator.agent.model.decision import ReconcileResult
from subfunction_operator.agent.triggers.index import DeviceIndex
from subfunction_operator.kube.backoff import ItemBackoff
from subfunction_operator.kube.workqueue import WorkQueue

EVERYTHING: Final = ""
"""The key in the work queue that stands for all sub-functions; no object has this uid."""

_BURST: Final = 0.1
"""Seconds from an event of a known sub-function to its reconciliation."""

_SETTLE: Final = 0.5
"""Seconds from an event of unknown owner to the reconciliation of those that may wait for it."""


@dataclasses.dataclass(slots=True)
class EventEnqueuer:
    """Adds the keys of sub-functions to the work queue, with what is needed to choose key and delay."""

    queue: WorkQueue
    _index: DeviceIndex = dataclasses.field(default_factory=DeviceIndex)
    _waiting: set[str] = dataclasses.field(default_factory=set)
    """Keys that events of unknown owner may concern: they failed, or their netdev is in another namespace."""
    _backoff: ItemBackoff = dataclasses.field(default_factory=ItemBackoff)
    _first_runs: dict[str, bool] = dataclasses.field(default_factory=dict)
    """Keys in their first reconciliation, with devices not indexed yet, and whether an unknown event came since."""
    _indexed: set[str] = dataclasses.field(default_factory=set)
    """Keys that were reconciled once."""

    def on_start(self, uid: str) -> None:
        """Note that a reconciliation begins: events of devices that the first one makes cannot be mapped to its key."""
        if uid not in self._indexed:
            self._first_runs.setdefault(uid, False)

    def enqueue_device(self, device: str) -> None:
        """Enqueue the sub-function of a port (`pci/0000:05:00.0/32768`) or a devlink instance."""
        if (uid := self._index.by_device(device)) is not None:
            self.enqueue(uid)
        else:
            self._mark_first_runs()

    def enqueue_link(self, ifindex: int) -> None:
        """Enqueue the sub-function of a network link that changed or left this namespace."""
        self._enqueue_owner(self._index.by_link(ifindex))

    def enqueue_path(self, path: str) -> None:
        """Enqueue the sub-function of a device, by a directory in sysfs."""
        self._enqueue_owner(self._index.by_path(path))

    def _enqueue_owner(self, uid: str | None) -> None:
        if uid is not None:
            self.enqueue(uid)
        else:
            self.enqueue_waiting()

    def enqueue_waiting(self) -> None:
        """Enqueue every key that may wait for a driver, parent, bridge or netdev: the event has no known owner."""
        for uid in self._waiting:
            self.queue.add(uid, max(_SETTLE, self._backoff.delay(uid)))
        self._mark_first_runs()

    def _mark_first_runs(self) -> None:
        self._first_runs = dict.fromkeys(self._first_runs, True)

    def enqueue_all(self) -> None:
        """Enqueue all sub-functions, with a delay in which more events may come."""
        self.queue.add(EVERYTHING, _SETTLE)

    def enqueue(self, uid: str) -> None:
        """Enqueue a key; one that failed is delayed by its back-off, since its own tries cause events."""
        self.queue.add(uid, max(_BURST, self._backoff.delay(uid)))

    def on_error(self, uid: str) -> None:
        """Note that a request or a file failed: events wait now, and those of unknown owner enqueue this key too."""
        self._waiting.add(uid)
        self._backoff.record(uid, failed=True)

    def on_success(self, uid: str) -> None:
        """Note that a result without an error is in the object's status: events wait for nothing more."""
        self._backoff.record(uid, failed=False)

    def on_result(self, uid: str, result: ReconcileResult) -> None:
        """Index the devices of a reconciled sub-function, and note whether it failed."""
        failed, seen = result.error is not None, result.seen
        if seen is not None:
            self._index.update(uid, seen)
        (self._waiting.add if failed or (seen is not None and seen.netdev_away) else self._waiting.discard)(uid)
        if failed:
            self._backoff.record(uid, failed=True)
        self._indexed.add(uid)
        if self._first_runs.pop(uid, False):
            self.queue.add(uid, max(_SETTLE, self._backoff.delay(uid)))

    def forget(self, uid: str) -> None:
        """Forget a key: its sub-function does not exist any more."""
        self._index.delete(uid)
        self._waiting.discard(uid)
        self._indexed.discard(uid)
        self._first_runs.pop(uid, None)
        self._backoff.record(uid, failed=False)
