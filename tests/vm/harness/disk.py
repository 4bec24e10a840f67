"""A folder made into a disk of a machine."""

import subprocess
from pathlib import Path

from harness.errors import BuildFailed
from harness.host import require_tool

_FREE_MIB = 48


def write_ext4(image: Path, stage: Path) -> None:
    """Write a folder's content into an ext4 image, with little to spare: it is read-only in the guest.

    Raises:
        BuildFailed: mke2fs failed.
    """
    size = sum(max(4096, path.lstat().st_size) for path in stage.rglob("*")) // (1 << 20) + _FREE_MIB
    command = ["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", str(stage), str(image), f"{size}M"]
    done = subprocess.run([require_tool("mke2fs"), *command], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise BuildFailed(f"mke2fs: {done.stderr.strip()[-500:]}")
