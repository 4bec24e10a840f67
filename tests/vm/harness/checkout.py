"""The project's sources, as one file: 9p answers slowly when it is asked for many."""

import tarfile
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
SENT = ("core", "operator", "deviceplugin", "simulator", "crds", "tests", "examples", "pyproject.toml")
"""What the guest gets: no history, no environment, no build output."""


def pack(archive: Path) -> None:
    """Write the sources as they are now into a tar archive."""
    with tarfile.open(archive, "w") as tar:
        for name in SENT:
            if (CHECKOUT / name).exists():
                tar.add(CHECKOUT / name, name, filter=_source)


def _source(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if Path(info.name).name == "__pycache__" or info.name.endswith((".pyc", ".ko", ".o")):
        return None
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info
