"""What the device plugin reads: the two folders, the resource names, the kubelet's checkpoint, and sysfs.

Everything here blocks and belongs on the worker thread. Changes of the folders and of the checkpoint are announced by
inotify; changes of sysfs are not, so a witness is compared at every look at the records, at Allocate and at
PreStartContainer, and never trusted from memory.
"""

import dataclasses
import logging
from pathlib import Path
from typing import Self

from subfunction import records as record_folder
from subfunction.errors import FolderError
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
        try:
            boot = record_folder.boot_id(settings.boot_id)
        except OSError as error:
            raise FolderError(f"cannot read this boot's id in {settings.boot_id}: {error.strerror}") from error
        return cls(
            records=record_folder.records(settings.records),
            ledger=ledger(settings.ledger),
            resources=resources(settings.state),
            checkpoint=settings.kubelet_folder / checkpoint.CHECKPOINT,
            sysfs=SysfsTree(settings.sysfs),
            boot=boot,
        )

    def mismatch(self, record: Record) -> str | None:
        """Say what of a record's witness does not hold now."""
        return mismatch(record.witness, self.sysfs)

    def holdings(self) -> tuple[Holding, ...] | None:
        """Read the kubelet's checkpoint; None where it cannot be read, and then nobody can be said to have let go."""
        try:
            return checkpoint.read(self.checkpoint)
        except FolderError as error:
            logger.debug("%s", error)
            return None

    def names(self) -> tuple[str, ...]:
        """Read the resource names to register whether or not a record asks for them."""
        found = self.resources.read("resources")
        return () if found is None else found.names

    def complain(self, folder: str, unreadable: tuple[Unreadable, ...]) -> None:
        """Log what of a folder could not be read, once for as long as it stays so; its writer may move it aside."""
        complaints = frozenset(f"ignored {file.path}: {file.why}" for file in unreadable)
        for complaint in sorted(complaints - self._complaints.get(folder, frozenset())):
            logger.warning("%s", complaint)
        self._complaints[folder] = complaints
