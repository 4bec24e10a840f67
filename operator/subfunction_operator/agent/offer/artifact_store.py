"""Reads and writes artifacts in two shared folders: CDI files for container runtimes, device-info files for Multus.

Other tools write to both folders, so only our own files are touched: a CDI file is ours by its name, a device-info file
by the owner it names. Runtimes watch the CDI folder and read every `.json` at once, so a file is written under another
name and then renamed.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from subfunction.errors import FolderError
from subfunction.state import atomic_file
from subfunction.state.records import Record
from subfunction.state.store import FileStore
from subfunction_operator.agent.model.observation import Artifacts
from subfunction_operator.agent.offer import cdi, deviceinfo

CDI = Path("/var/run/cdi")
DEVICE_INFO = Path("/var/run/k8s.cni.cncf.io/devinfo/dp")

_PREFIX = cdi.KIND.replace("/", "-") + "_"
_UNFINISHED = ".tmp"


@dataclasses.dataclass(frozen=True, slots=True)
class ArtifactStore:
    """The CDI folder and the device-info folder of a node."""

    cdi: Path = CDI
    device_info: Path = DEVICE_INFO

    def read(self, uid: str, record: Record | None) -> Artifacts:
        """Read the CDI file of a sub-function, and the device-info file under its device's name, ours or not.

        Raises:
            FolderError: a file exists and cannot be read.
        """
        info = deviceinfo.file_name(record.resource, record.device_id) if record and record.device_id else None
        return Artifacts(_read(self._cdi(uid)), _read(self.device_info / info) if info else None)

    def write_cdi(self, uid: str, text: str) -> None:
        """Write the CDI file of a sub-function, whole or not at all."""
        _write(self._cdi(uid), text)

    def remove_cdi(self, uid: str) -> None:
        """Remove the CDI file of a sub-function."""
        atomic_file.remove(self._cdi(uid))

    def write_device_info(self, name: str, text: str) -> None:
        """Write a device-info file, whole or not at all."""
        _write(self.device_info / name, text)

    def remove_device_info(self, name: str) -> None:
        """Remove a device-info file."""
        atomic_file.remove(self.device_info / name)

    def remove_orphans(self, records: FileStore[Record]) -> tuple[Path, ...]:
        """Remove our files that no record names, and return their paths; only at the start, before any reconciliation.

        Raises:
            FolderError: a folder cannot be read, or a file in it cannot be removed.
        """
        contents = records.read_all()
        # A file that an unreadable record may name stays until that record is written again.
        unknown = {file.uid for file in contents.unreadable}
        orphans = (*self._cdi_orphans(set(contents.items) | unknown), *self._info_orphans(contents.items, unknown))
        for path in orphans:
            atomic_file.remove(path)
        return orphans

    def _cdi_orphans(self, known: set[str]) -> Iterator[Path]:
        for path in _list(self.cdi, f"{_PREFIX}*"):
            gone = path.suffix == ".json" and path.stem.removeprefix(_PREFIX) not in known
            if gone or path.suffix == _UNFINISHED:
                yield path

    def _info_orphans(self, records: dict[str, Record], unknown: set[str]) -> Iterator[Path]:
        yield from _list(self.device_info, f"{_PREFIX}*{_UNFINISHED}")
        for path in _list(self.device_info, "*.json"):
            uid = deviceinfo.read_owner(_read(path))
            record = records.get(uid) if uid else None
            named = record is not None and deviceinfo.file_name(record.resource, record.device_id) == path.name
            if uid is not None and uid not in unknown and not named:
                yield path

    def _cdi(self, uid: str) -> Path:
        return self.cdi / f"{_PREFIX}{uid}.json"


def _write(path: Path, text: str) -> None:
    # An unfinished file is found by its name, which begins with our prefix; no program reads files with this suffix.
    temporary = path.with_name(f"{_PREFIX}{path.stem.removeprefix(_PREFIX)}{_UNFINISHED}")
    atomic_file.write_atomically(path, text.encode(), temporary=temporary, mode=0o644, folder_mode=0o755)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FolderError(f"cannot read {path}: {error.strerror}") from error


def _list(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError as error:
        raise FolderError(f"cannot list {folder}: {error.strerror}") from error
