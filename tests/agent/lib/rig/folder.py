"""A folder for a test: short, for the 107 bytes of a socket's path; in memory, since every record is fsynced."""

import tempfile
from pathlib import Path


def place() -> Path:
    """Say where: in memory, on a machine that has such a place."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else Path(tempfile.gettempdir())


def folder(prefix: str = "sf") -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=prefix, dir=place())
