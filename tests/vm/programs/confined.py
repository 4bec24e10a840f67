"""Runs inside the machine: a program as a DaemonSet runs the agent, in a process that is confined before it begins.

The first argument is the confinement, as JSON; the others are a module and its arguments. The mounts are those of the
chart: the host's /sys is at /host/sys, writable unless the confinement says otherwise.
"""

import json
import runpy
import sys
from pathlib import Path

from rig.confinement import Confinement, Mount

READS = ("/run/subfunction/allocations", "/var/lib/kubelet/pod-resources", "/var/lib/kubelet/device-plugins")
WRITES = ("/run/subfunction/devices", "/var/lib/subfunction", "/var/run/cdi", "/var/run/k8s.cni.cncf.io/devinfo/dp")
HOST_SYSFS = Path("/host/sys")


def main(told: str, module: str, *argv: str) -> None:
    given = json.loads(told)
    for folder in (*READS, *WRITES, "/run/own-tmp"):
        # The kubelet makes them (DirectoryOrCreate), or waits for them.
        Path(folder).mkdir(parents=True, exist_ok=True)
    Confinement(
        reads=(*map(Path, READS), *map(Path, given["token"])),
        writes=tuple(map(Path, WRITES)),
        others=(Mount(Path("/sys"), HOST_SYSFS, given["sysfs"]), Mount(Path("/run/own-tmp"), Path("/tmp"), "rw")),
        keeps=tuple(given["keeps"]),
        host_network=True,
    ).enter()
    sys.argv = [module, *argv]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
