"""Runs inside the machine: a program as a DaemonSet runs it, in a process that is confined before it begins.

The first argument is the confinement, as JSON: `{"mounts": [[host, place, "ro" | "rw"], ...], "keeps": [...]}`; the
others are a module and its arguments. It stays in the host's network.
"""

import json
import runpy
import sys
from pathlib import Path

from rig.confinement import Confinement, Mount


def main(told: str, module: str, *argv: str) -> None:
    given = json.loads(told)
    mounts = tuple(Mount(Path(host), Path(place), mode) for host, place, mode in given["mounts"])
    for mount in mounts:
        if not mount.host.exists():
            # The kubelet makes it (DirectoryOrCreate), or waits for it.
            mount.host.mkdir(parents=True, exist_ok=True)
    Confinement(reads=(), writes=(), others=mounts, keeps=tuple(given["keeps"]), host_network=True).enter()
    sys.argv = [module, *argv]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
