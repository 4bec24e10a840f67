"""Folders whose name says which process they are of, and what is left of those that were killed."""

import shutil
from pathlib import Path


def sweep(place: Path, prefix: str) -> None:
    """Remove the folders named `<prefix><pid>-...` whose process is gone."""
    for old in place.glob(f"{prefix}*-*"):
        if not Path("/proc", old.name.removeprefix(prefix).partition("-")[0]).exists():
            shutil.rmtree(old, ignore_errors=True)
