"""A kernel module of ours (../sfsim, ../mlx5fw), built against the headers of the VM's kernel."""

import os
import shutil
import subprocess
from pathlib import Path

from harness import cache
from harness.errors import BuildFailed
from harness.host import require_tool
from harness.packages import Packages

FOLDERS = Path(__file__).parents[1]
KEEP = 8
"""How many built modules the cache keeps: some of either."""


def build_module(packages: Packages, name: str) -> Path:
    """Build `NAME.ko` from the folder of that name, or take it from the cache.

    Raises:
        BuildFailed: the compiler refused it, or warned: a warning is an error here too.
    """
    sources = _sources(FOLDERS / name)

    def build(into: Path, _final: Path) -> None:
        for source in sources:
            shutil.copy(source, into)
        command = [
            require_tool("make"), f"-j{os.cpu_count() or 1}", f"KDIR={packages.headers}", "KCFLAGS=-Werror",
            *packages.series.variables,
        ]  # fmt: skip
        done = subprocess.run(command, cwd=into, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0 or "WARNING:" in done.stderr:
            raise BuildFailed(f"{name} does not build:\n{done.stderr[-4000:]}")
        subprocess.run([require_tool("strip"), "--strip-debug", str(into / f"{name}.ko")], check=True, timeout=60)

    key = cache.digest(packages.kernel, name, *packages.series.variables, cache.digest_files(sources))
    return cache.entry("module", key, build, keep=KEEP) / f"{name}.ko"


def _sources(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in {".c", ".h"} or path.name == "Makefile"]
