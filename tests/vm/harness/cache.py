"""A folder of things that are slow to make, each under a name that says what it was made of."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ABANDONED = 3600.0
"""Seconds after which nobody is still at work on an unfinished entry."""


def cache_root() -> Path:
    """The cache's folder: outside the checkout, so that cleaning that does not cost minutes.

    `$SUBFUNCTION_CACHE`; else `subfunction` in `$XDG_CACHE_HOME` or `~/.cache`; without a home, in `/var/tmp`.
    """
    named = os.environ.get("SUBFUNCTION_CACHE")
    if named:
        return Path(named)
    xdg = os.environ.get("XDG_CACHE_HOME")
    if xdg:
        return Path(xdg) / "subfunction"
    home = os.environ.get("HOME")
    if home and home != "/" and os.access(home, os.W_OK):
        return Path(home) / ".cache" / "subfunction"
    return Path("/var/tmp/subfunction-cache")


@contextlib.contextmanager
def exclusive(what: str = "lock") -> Iterator[None]:
    """One builder of a sort at a time on this host: a second would make the same beside the first, only slower."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / what).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(*parts: str | bytes) -> str:
    """A short name for these inputs; each part is delimited, so that none can pass for its neighbour."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big"))
        whole.update(data)
    return whole.hexdigest()[:16]


def digest_files(files: Iterable[Path]) -> str:
    """A short name for the names and contents of these files."""
    return digest(*(part for file in sorted(files) for part in (file.name, file.read_bytes())))


def entry(kind: str, key: str, build: Callable[[Path, Path], None], *, keep: int = 3) -> Path:
    """The folder `kind/key` of the cache, made by `build` if it is not there.

    `build` gets the folder to fill and the path it will have in the end. It fills a temporary one, renamed when it is
    whole: an interrupted build leaves nothing that looks finished, and of two builders one wins.
    Beyond the `keep` latest entries of a kind, older ones are removed.
    """
    shelf = cache_root() / kind
    final = shelf / key
    if final.is_dir():
        os.utime(final)
        return final
    shelf.mkdir(parents=True, exist_ok=True)
    _sweep(shelf, keep)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=shelf))
    try:
        unfinished.chmod(0o755)
        build(unfinished, final)
        try:
            unfinished.rename(final)
        except OSError:
            if not final.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return final


def _sweep(shelf: Path, keep: int) -> None:
    for abandoned in shelf.glob(".unfinished-*"):
        if time.time() - abandoned.stat().st_mtime > ABANDONED:
            shutil.rmtree(abandoned, ignore_errors=True)
    entries = sorted(
        (folder for folder in shelf.iterdir() if not folder.name.startswith(".")),
        key=lambda folder: folder.stat().st_mtime,
        reverse=True,
    )
    for old in entries[keep - 1 :]:
        shutil.rmtree(old, ignore_errors=True)
