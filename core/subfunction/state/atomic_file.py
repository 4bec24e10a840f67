"""Writes files atomically: under a temporary name, fsynced, renamed, and the folder fsynced.

After a crash a reader sees the old file or the new one, never half of one. The folder's readers must ignore the
temporary name.
"""

import contextlib
import os
from pathlib import Path

from subfunction.errors import FolderError


def write_atomically(path: Path, data: bytes, *, temporary: Path, mode: int, folder_mode: int) -> None:
    """Write `data` so that it survives a crash; make the folder if it is missing.

    Raises:
        FolderError: the file could not be written, and the old one is unchanged.
    """
    folder = path.parent
    try:
        folder.mkdir(mode=folder_mode, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)  # the umask must not keep other processes from reading it
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        sync(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise FolderError(
            f"cannot write {path}: {error.strerror}", hint=f"See `df {folder}` and who may write there."
        ) from error


def remove(path: Path) -> None:
    """Remove a file; a file that is already gone is success.

    Raises:
        FolderError: the file could not be removed.
    """
    try:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync(path.parent)
    except OSError as error:
        raise FolderError(f"cannot remove {path}: {error.strerror}") from error


def sync(folder: Path) -> None:
    """Fsync a folder, so that renames and removals in it survive a crash."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
