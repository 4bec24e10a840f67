"""A folder of small JSON files named by uid: one writer, many readers, a person with `cat` among them.

A file is written whole under a name that readers ignore, fsynced, renamed, and the folder is fsynced: after a crash a
reader sees the old file or the new one, never half of one. What cannot be read is reported, and the one writer may move
it aside; a reader never does.
"""

import dataclasses
import re
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from subfunction import durable
from subfunction.errors import FolderError

T = TypeVar("T", bound=msgspec.Struct)

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclasses.dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is not what its folder holds: torn, foreign, or of a schema we do not know."""

    path: Path
    uid: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Contents(Generic[T]):
    """One reading of a folder: what it holds by uid, and what could not be read."""

    items: dict[str, T]
    unreadable: tuple[Unreadable, ...] = ()


class Folder(Generic[T]):
    """The files `<uid>.json` of one type under `path`, which need not exist yet."""

    def __init__(self, path: Path, kind: type[T], schema: int) -> None:
        self.path = path
        self._kind = kind
        self._schema = schema
        self._decoder = msgspec.json.Decoder(kind)
        self._encoder = msgspec.json.Encoder()
        self._own: dict[str, T | None] = {}

    def read(self, uid: str) -> T | None:
        """Read one file; None where there is none or where it cannot be read."""
        found = self.examine(uid)
        return None if found is None or isinstance(found, Unreadable) else found

    def examine(self, uid: str) -> T | Unreadable | None:
        """Read one file, and tell one that cannot be read from one that is not there."""
        return self._read(self._file(uid))

    def read_all(self) -> Contents[T]:
        """Read every file; a folder that does not exist is an empty one."""
        items: dict[str, T] = {}
        unreadable: list[Unreadable] = []
        try:
            paths = sorted(self.path.glob("*.json"))
        except OSError as error:
            raise FolderError(f"cannot list {self.path}: {error.strerror}") from error
        for path in paths:
            found = self._read(path)
            if isinstance(found, Unreadable):
                unreadable.append(found)
            elif found is not None:
                items[path.stem] = found
        return Contents(items, tuple(unreadable))

    def write(self, uid: str, item: T) -> None:
        """Store `item` so that it survives a crash, or raise FolderError and leave the old file as it was."""
        path = self._file(uid)
        self._own[uid] = item
        text = msgspec.json.format(self._encoder.encode(item), indent=1) + b"\n"
        # Mode 0600: the folder belongs to root, and the promises in it are nobody else's business.
        durable.store(path, text, temporary=path.with_suffix(".tmp"), mode=0o600, folder_mode=0o700)

    def is_own(self, uid: str) -> bool:
        """Say whether a file is as this process left it; of what it never wrote, it is not."""
        return uid in self._own and self.examine(uid) == self._own[uid]

    def remove(self, uid: str) -> None:
        """Remove one file; that it is already gone is success."""
        self._own[uid] = None
        durable.remove(self._file(uid))

    def set_aside(self, file: Unreadable) -> Path:
        """Move an unreadable file out of the readers' way, to `aside/`, and say where it is now."""
        aside = self.path / "aside"
        target = aside / file.path.name
        try:
            aside.mkdir(mode=0o700, exist_ok=True)
            serial = 0
            while target.exists():
                serial += 1
                target = aside / f"{file.path.stem}.{serial}.json"
            file.path.rename(target)
            durable.sync(self.path)
        except FileNotFoundError:
            return target  # somebody was faster
        except OSError as error:
            raise FolderError(f"cannot move {file.path} aside: {error.strerror}") from error
        return target

    def _read(self, path: Path) -> T | Unreadable | None:
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return Unreadable(path, path.stem, f"cannot be read: {error.strerror}")
        try:
            item = self._decoder.decode(raw)
        except msgspec.DecodeError as error:
            return Unreadable(path, path.stem, str(error))
        except RecursionError:
            return Unreadable(path, path.stem, "nested too deeply for any record")
        schema, uid = getattr(item, "schema", None), getattr(item, "uid", path.stem)
        if schema != self._schema:
            return Unreadable(path, path.stem, f"schema {schema}, and this program knows {self._schema}")
        if uid != path.stem:
            return Unreadable(path, path.stem, f"is of {uid}, not of the uid it is named by")
        return item

    def _file(self, uid: str) -> Path:
        if not _UID.fullmatch(uid):
            raise FolderError(f"{uid!r} is no uid")
        return self.path / f"{uid}.json"
