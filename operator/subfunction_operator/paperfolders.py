"""The two folders that others read: of container runtimes (CDI), and of Multus (device-info).

Both are shared with whoever else writes there, so nothing is touched that is not ours: by its name in the one, by the
owner that it names in the other. Runtimes watch the first and take in every `.json` at once, so a file is written under
another name and renamed.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from subfunction import durable
from subfunction.errors import FolderError
from subfunction.folder import Folder
from subfunction.records import Record
from subfunction_operator import cdi, deviceinfo
from subfunction_operator.observation import Papers

CDI = Path("/var/run/cdi")
DEVICE_INFO = Path("/var/run/k8s.cni.cncf.io/devinfo/dp")

_PREFIX = cdi.KIND.replace("/", "-") + "_"
_UNFINISHED = ".tmp"


@dataclasses.dataclass(frozen=True, slots=True)
class PaperFolders:
    """Where a device's papers are."""

    cdi: Path = CDI
    device_info: Path = DEVICE_INFO

    def look(self, uid: str, record: Record | None) -> Papers:
        """Read what is there of a sub-function, and under its device's name.

        Raises:
            FolderError: something is there that cannot be read.
        """
        info = deviceinfo.file_name(record.resource, record.device_id) if record and record.device_id else None
        return Papers(_read(self._cdi(uid)), _read(self.device_info / info) if info else None)

    def write_cdi(self, uid: str, text: str) -> None:
        """Write the CDI file of a sub-function, whole or not at all."""
        _write(self._cdi(uid), text)

    def remove_cdi(self, uid: str) -> None:
        """Remove the CDI file of a sub-function."""
        durable.remove(self._cdi(uid))

    def write_device_info(self, name: str, text: str) -> None:
        """Write a device-info file, whole or not at all."""
        _write(self.device_info / name, text)

    def remove_device_info(self, name: str) -> None:
        """Remove a device-info file."""
        durable.remove(self.device_info / name)

    def sweep(self, records: Folder[Record]) -> tuple[Path, ...]:
        """Remove what an earlier agent left and no record names; only before anybody works, and give what it was.

        Raises:
            FolderError: a folder cannot be read, or something in it not be removed.
        """
        contents = records.read_all()
        # What a record that cannot be read may name is left to the agent that mends it.
        unknown = {file.uid for file in contents.unreadable}
        orphans = (*self._cdi_orphans(set(contents.items) | unknown), *self._info_orphans(contents.items, unknown))
        for path in orphans:
            durable.remove(path)
        return orphans

    def _cdi_orphans(self, known: set[str]) -> Iterator[Path]:
        for path in _list(self.cdi, f"{_PREFIX}*"):
            gone = path.suffix == ".json" and path.stem.removeprefix(_PREFIX) not in known
            if gone or path.suffix == _UNFINISHED:
                yield path

    def _info_orphans(self, records: dict[str, Record], unknown: set[str]) -> Iterator[Path]:
        yield from _list(self.device_info, f"{_PREFIX}*{_UNFINISHED}")
        for path in _list(self.device_info, "*.json"):
            uid = deviceinfo.owner(_read(path))
            record = records.get(uid) if uid else None
            named = record is not None and deviceinfo.file_name(record.resource, record.device_id) == path.name
            if uid is not None and uid not in unknown and not named:
                yield path

    def _cdi(self, uid: str) -> Path:
        return self.cdi / f"{_PREFIX}{uid}.json"


def _write(path: Path, text: str) -> None:
    # A name that says whose it is, since half a file does not; and the suffix of none that anybody reads.
    temporary = path.with_name(f"{_PREFIX}{path.stem.removeprefix(_PREFIX)}{_UNFINISHED}")
    durable.store(path, text.encode(), temporary=temporary, mode=0o644, folder_mode=0o755)


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
