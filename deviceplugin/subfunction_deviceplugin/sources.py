"""What the device plugin reads: the two folders, the resource names, the kubelet's checkpoint, and sysfs.

Everything here blocks and belongs on the worker thread. Changes of the folders and of the checkpoint are announced by
inotify; changes of sysfs are not, so a witness is compared at every look at the records, at Allocate and at
PreStartContainer, and never trusted from memory.
"""

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from subfunction import records as record_folder
from subfunction.errors import CheckpointUnreadable
from subfunction.folder import Folder, Unreadable
from subfunction.kernel.sysfs import SysfsTree
from subfunction.kubelet import checkpoint
from subfunction.kubelet.checkpoint import Holding
from subfunction.ledger import Entry, ledger
from subfunction.records import Record, WitnessView, mismatch
from subfunction.resources import Resources, resources
from subfunction_deviceplugin.settings import Settings

logger = logging.getLogger(__name__)


@dataclasses.dataclass(slots=True)
class Sources:
    """The places where the plugin looks; `boot` is this boot's id."""

    records: Folder[Record]
    ledger: Folder[Entry]
    resources: Folder[Resources]
    checkpoint: Path
    sysfs: WitnessView
    boot: str
    _complaints: dict[str, frozenset[str]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Open the places that the settings name.

        Raises:
            FolderError: this boot cannot be told from another one.
        """
        return cls(
            records=record_folder.records(settings.records),
            ledger=ledger(settings.ledger),
            resources=resources(settings.state),
            checkpoint=settings.kubelet_folder / checkpoint.CHECKPOINT,
            sysfs=SysfsTree(settings.sysfs),
            boot=record_folder.boot_id(settings.boot_id),
        )

    def mismatch(self, record: Record) -> str | None:
        """Say what of a record's witness does not hold now."""
        return mismatch(record.witness, self.sysfs)

    def account(self) -> tuple[Holding, ...]:
        """Read the kubelet's checkpoint.

        Raises:
            CheckpointUnreadable: it cannot be read, and so nobody can be said to hold nothing.
        """
        return checkpoint.read(self.checkpoint)

    def holdings(self) -> tuple[Holding, ...] | None:
        """Read the kubelet's checkpoint; None where it cannot be read, and then nobody can be said to have let go."""
        try:
            found = self.account()
        except CheckpointUnreadable as error:
            self.complain("checkpoint", [str(error)])
            return None
        self.complain("checkpoint", ())
        return found

    def names(self) -> tuple[str, ...]:
        """Read the resource names to register whether or not a record asks for them."""
        found = self.resources.read("resources")
        return () if found is None else found.names

    def complain(self, place: str, complaints: Iterable[str]) -> None:
        """Log what is wrong at a place, once for as long as it stays so."""
        found = frozenset(complaints)
        for complaint in sorted(found - self._complaints.get(place, frozenset())):
            logger.warning("%s", complaint)
        self._complaints[place] = found


def ignored(unreadable: Iterable[Unreadable]) -> Iterator[str]:
    """Say what of a folder could not be read; its writer may move it aside."""
    return (f"ignored {file.path}: {file.why}" for file in unreadable)
