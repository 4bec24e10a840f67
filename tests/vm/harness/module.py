"""sfsim.ko, built from ../sfsim against the headers of the VM's kernel."""

import os
import shutil
import subprocess
from pathlib import Path

from harness import cache
from harness.errors import BuildFailed
from harness.host import require_tool
from harness.packages import Packages

SOURCES = Path(__file__).parents[1] / "sfsim"


def build_module(packages: Packages) -> Path:
    """The module's file, from the cache if neither its sources nor the kernel changed.

    Raises:
        BuildFailed: the compiler refused it, or warned: a warning is an error here too.
    """

    def build(into: Path, _final: Path) -> None:
        for source in _sources():
            shutil.copy(source, into)
        command = [require_tool("make"), f"-j{os.cpu_count() or 1}", f"KDIR={packages.headers}", "KCFLAGS=-Werror"]
        done = subprocess.run(command, cwd=into, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0 or "WARNING:" in done.stderr:
            raise BuildFailed(f"sfsim does not build:\n{done.stderr[-4000:]}")
        subprocess.run(["strip", "--strip-debug", str(into / "sfsim.ko")], check=True, timeout=60)

    return cache.entry("module", cache.digest(packages.kernel, cache.digest_files(_sources())), build) / "sfsim.ko"


def _sources() -> list[Path]:
    return [path for path in SOURCES.iterdir() if path.suffix in {".c", ".h"} or path.name == "Makefile"]
