"""A folder of small JSON files named by uid, with one writer and many readers; users may read them with `cat`.

A file is written whole under a name that readers ignore, fsynced, renamed, and the folder is fsynced: after a crash a
reader sees the old file or the new one, never half of one. A file that cannot be read is reported. Only the writer may
move it aside, never a reader.
"""

import dataclasses
import re
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from subfunction.errors import FolderError
from subfunction.state import atomic_file

T = TypeVar("T", bound=msgspec.Struct)

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclasses.dataclass(frozen=True, slots=True)
class CorruptFile:
    """A file that cannot be read as an item of its folder: torn, of another kind, or of an unknown schema."""

    path: Path
    uid: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot(Generic[T]):
    """The result of reading a folder once: its items by uid, and the files that could not be read."""

    items: dict[str, T]
    unreadable: tuple[CorruptFile, ...] = ()


class FileStore(Generic[T]):
    """The files `<uid>.json` of one type under `path`; the folder need not exist yet."""

    def __init__(self, path: Path, kind: type[T], schema: int) -> None:
        self.path = path
        self._kind = kind
        self._schema = schema
        self._decoder = msgspec.json.Decoder(kind)
        self._encoder = msgspec.json.Encoder()
        self._own: dict[str, T | None] = {}

    def read(self, uid: str) -> T | None:
        """Read one file; return None where there is none or where it cannot be read."""
        found = self.examine(uid)
        return None if found is None or isinstance(found, CorruptFile) else found

    def examine(self, uid: str) -> T | CorruptFile | None:
        """Read one file; return a CorruptFile where it cannot be read, None where there is none."""
        return self._read(self._file(uid))

    def read_all(self) -> Snapshot[T]:
        """Read every file; a folder that does not exist counts as empty.

        Raises:
            FolderError: the folder cannot be listed.
        """
        items: dict[str, T] = {}
        unreadable: list[CorruptFile] = []
        try:
            paths = sorted(self.path.glob("*.json"))
        except OSError as error:
            raise FolderError(f"cannot list {self.path}: {error.strerror}") from error
        for path in paths:
            found = self._read(path)
            if isinstance(found, CorruptFile):
                unreadable.append(found)
            elif found is not None:
                items[path.stem] = found
        return Snapshot(items, tuple(unreadable))

    def write(self, uid: str, item: T) -> None:
        """Write `item` so that it survives a crash.

        Raises:
            FolderError: the file could not be written, and the old one is unchanged.
        """
        path = self._file(uid)
        self._own[uid] = item
        text = msgspec.json.format(self._encoder.encode(item), indent=1) + b"\n"
        # Mode 0600: the folder belongs to root, and no other user needs to read what it has.
        atomic_file.write_atomically(path, text, temporary=path.with_suffix(".tmp"), mode=0o600, folder_mode=0o700)

    def is_own(self, uid: str) -> bool:
        """Return whether a file is as this process last wrote or removed it; False for one that it never touched."""
        return uid in self._own and self.examine(uid) == self._own[uid]

    def remove(self, uid: str) -> None:
        """Remove one file; a file that is already gone is success.

        Raises:
            FolderError: the file could not be removed.
        """
        self._own[uid] = None
        atomic_file.remove(self._file(uid))

    def quarantine(self, file: CorruptFile) -> Path:
        """Move an unreadable file to `aside/`, where readers ignore it, and return its new path.

        Raises:
            FolderError: the file could not be moved.
        """
        aside = self.path / "aside"
        target = aside / file.path.name
        try:
            aside.mkdir(mode=0o700, exist_ok=True)
            serial = 0
            while target.exists():
                serial += 1
                target = aside / f"{file.path.stem}.{serial}.json"
            file.path.rename(target)
            atomic_file.sync(self.path)
        except FileNotFoundError:
            return target  # already moved or removed
        except OSError as error:
            raise FolderError(f"cannot move {file.path} aside: {error.strerror}") from error
        return target

    def _read(self, path: Path) -> T | CorruptFile | None:
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return CorruptFile(path, path.stem, f"cannot be read: {error.strerror}")
        try:
            item = self._decoder.decode(raw)
        except msgspec.DecodeError as error:
            return CorruptFile(path, path.stem, str(error))
        except RecursionError:
            return CorruptFile(path, path.stem, "nested too deeply for any record")
        schema, uid = getattr(item, "schema", None), getattr(item, "uid", path.stem)
        if schema != self._schema:
            return CorruptFile(path, path.stem, f"schema {schema}, and this program knows {self._schema}")
        if uid != path.stem:
            return CorruptFile(path, path.stem, f"is of {uid}, not of the uid it is named by")
        return item

    def _file(self, uid: str) -> Path:
        if not _UID.fullmatch(uid):
            raise FolderError(f"{uid!r} is no uid")
        return self.path / f"{uid}.json"
