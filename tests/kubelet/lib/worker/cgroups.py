"""The cgroups of one run: made in every hierarchy, and removed with all that was made below them."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.errors import HarnessError, HostLacks

PREFIX = "subfunction-worker-"
MOUNTS = Path("/proc/self/mountinfo")
_SECONDS_TO_EMPTY = 20.0


@dataclass(frozen=True, slots=True)
class Cgroups:
    """One folder in each hierarchy."""

    folders: tuple[Path, ...]

    @classmethod
    def make(cls) -> Self:
        """Make them, and remove those that a killed run left.

        Raises:
            HostLacks: this host has no hierarchies of version 1; version 2 was not tried.
        """
        found = hierarchies()
        if found == (Path("/sys/fs/cgroup"),):
            raise HostLacks("the kubelet's tests need cgroups of version 1: a host with version 2 alone was not tried")
        for point in found:
            for left in point.glob(f"{PREFIX}*"):
                _remove_if_empty(left)
        made = cls(tuple(point / f"{PREFIX}{os.getpid()}" for point in found))
        for folder in made.folders:
            folder.mkdir(exist_ok=True)
            # A cpuset takes no process before it has processors and memory.
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (folder / name).exists():
                    (folder / name).write_text((folder.parent / name).read_text())
        return made

    def entrances(self) -> list[str]:
        """Name the files to write a process id to."""
        return [str(folder / "cgroup.procs") for folder in self.folders]

    def processes(self) -> set[str]:
        """Give the ids of the processes in them, and in those below."""
        return set().union(*(_processes(folder) for folder in self.folders))

    def remove(self) -> None:
        """Wait until no process is left in them, and remove them.

        Raises:
            HarnessError: one does not end.
        """
        deadline = time.monotonic() + _SECONDS_TO_EMPTY
        for folder in self.folders:
            while not _remove_if_empty(folder):
                if time.monotonic() > deadline:
                    raise HarnessError(f"processes that do not end: {sorted(self.processes())} in {folder}")
                time.sleep(0.02)


def hierarchies(mounts: Path = MOUNTS) -> tuple[Path, ...]:
    """Give where the hierarchies are mounted: those of version 1, and beside them that of version 2."""
    lines = (line.split() for line in mounts.read_text().splitlines() if " - cgroup" in line)
    return tuple(Path(fields[4]) for fields in lines)


def _processes(folder: Path) -> set[str]:
    return {pid for file in folder.rglob("cgroup.procs") for pid in file.read_text().split()}


def _remove_if_empty(folder: Path) -> bool:
    """Remove a cgroup and those below it; False while a process is in one of them."""
    below = [Path(path) for path, _, _ in os.walk(folder, topdown=False)]
    try:
        for each in below:
            each.rmdir()
    except OSError:
        return False
    return True
