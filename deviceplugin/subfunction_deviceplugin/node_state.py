"""Reads what the device plugin knows: records, ledger, resource names, the kubelet's checkpoint, and sysfs.

Everything here blocks and belongs on the worker thread. inotify announces changes of the folders and of the checkpoint,
but not of sysfs, so a witness is compared with sysfs whenever the records are read, at Allocate and at
PreStartContainer; the last two never trust an earlier comparison.
"""

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from subfunction.errors import CheckpointUnreadable
from subfunction.kernel.sysfs import SysfsTree
from subfunction.kubelet import checkpoint
from subfunction.kubelet.checkpoint import DeviceAllocation
from subfunction.state import records as record_folder
from subfunction.state.ledger import LedgerEntry, open_ledger
from subfunction.state.records import Record, WitnessView, find_mismatch
from subfunction.state.resource_names import ResourceNames, open_resource_names
from subfunction.state.store import CorruptFile, FileStore
from subfunction_deviceplugin.settings import Settings

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(slots=True)
class NodeStateReader:
    """Reads the folders and files of one node; `boot` is this boot's id."""

    records: FileStore[Record]
    ledger: FileStore[LedgerEntry]
    resources: FileStore[ResourceNames]
    checkpoint: Path
    sysfs: WitnessView
    boot: str
    _complaints: dict[str, frozenset[str]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Open the folders and files that the settings name.

        Raises:
            FolderError: this boot's id cannot be read.
        """
        return cls(
            records=record_folder.open_records(settings.records),
            ledger=open_ledger(settings.ledger),
            resources=open_resource_names(settings.state),
            checkpoint=settings.kubelet_folder / checkpoint.CHECKPOINT,
            sysfs=SysfsTree(settings.sysfs),
            boot=record_folder.read_boot_id(settings.boot_id),
        )

    def mismatch(self, record: Record) -> str | None:
        """Return how sysfs differs from a record's witness now; None if it does not."""
        return find_mismatch(record.witness, self.sysfs)

    def account(self) -> tuple[DeviceAllocation, ...]:
        """Read the kubelet's checkpoint.

        Raises:
            CheckpointUnreadable: it cannot be read, and so no device can be taken to be free.
        """
        return checkpoint.read_checkpoint(self.checkpoint)

    def holdings(self) -> tuple[DeviceAllocation, ...] | None:
        """Read the kubelet's checkpoint; None where it cannot be read, and then no allocation is known to be over."""
        try:
            found = self.account()
        except CheckpointUnreadable as error:
            self.log_once("checkpoint", [str(error)])
            return None
        self.log_once("checkpoint", ())
        return found

    def names(self) -> tuple[str, ...]:
        """Read the resource names that are registered whether or not a record has them."""
        found = self.resources.read("resources")
        return () if found is None else found.names

    def log_once(self, place: str, complaints: Iterable[str]) -> None:
        """Log the complaints about a place, each once for as long as it lasts."""
        found = frozenset(complaints)
        for complaint in sorted(found - self._complaints.get(place, frozenset())):
            _LOG.warning("%s", complaint)
        self._complaints[place] = found


def describe_ignored(unreadable: Iterable[CorruptFile]) -> Iterator[str]:
    """Yield a line for the log for each file that could not be read; its writer may move it aside."""
    return (f"ignored {file.path}: {file.why}" for file in unreadable)
