"""For a developer: `cd tests/vm && python -m harness build | shell 'cmd' | console | clean`."""

import argparse
import shutil
import sys
import time

from harness import cache
from harness.errors import HarnessError
from harness.kernels import KERNELS, LINUX_6_12
from harness.machine import Machine
from harness.mlx5 import Mlx5
from harness.sfsim import Sfsim
from harness.snapshot import build_snapshot
from harness.topology import IOMMU, MLX5, Topology

DESCRIPTION = """A virtual machine with the real mlx5 drivers over an emulated firmware, or with a simulated NIC.

build    make everything that is not in the cache (and install QEMU and the like, where we may)
shell    restore a machine with the NIC in switchdev mode, run each line given, print what it says
console  the same, line by line from standard input: each line is run as it comes; then the kernel's console
clean    remove the cache: the next build takes the newest kernel of the backports
"""


def main() -> int:
    """Entry point; the exit code is the last command's."""
    parser = argparse.ArgumentParser(
        prog="python -m harness", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("build", "shell", "console", "clean"))
    parser.add_argument("line", nargs="*", help="shell lines, run one after the other")
    parser.add_argument("--legacy", action="store_true", help="leave the NIC's e-switch in legacy mode")
    parser.add_argument("--sfsim", action="store_true", help="the simulated NIC instead of the real mlx5 drivers")
    parser.add_argument(
        "--iommu", action="store_true", help="sfsim, with an IOMMU and a card that has virtual functions"
    )
    parser.add_argument("--kernel", choices=KERNELS, default=LINUX_6_12.series, help="the kernel of real mlx5 drivers")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for each line")
    # An option may stand between the two.
    arguments = parser.parse_intermixed_args()
    try:
        return _do(arguments)
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _do(arguments: argparse.Namespace) -> int:
    if arguments.what == "clean":
        shutil.rmtree(cache.cache_root(), ignore_errors=True)
        return 0
    started = time.monotonic()
    if arguments.what == "build":
        for topology in (Topology(), IOMMU):
            build_snapshot(topology)
        for kernel in KERNELS.values():
            build_snapshot(MLX5, kernel)
        sys.stderr.write(f"ready in {time.monotonic() - started:.1f} s\n")
        return 0
    topology = IOMMU if arguments.iommu else Topology(mlx5=not arguments.sfsim)
    snapshot = build_snapshot(topology, KERNELS[arguments.kernel])
    lines = arguments.line or (line.rstrip("\n") for line in sys.stdin)
    code = 0
    with snapshot.restore() as machine:
        if topology.mlx5:
            Mlx5(machine).reset("legacy" if arguments.legacy else "switchdev")
        else:
            Sfsim(machine).load(switchdev=int(not arguments.legacy))
        for line in lines:
            code = _run(machine, line, arguments.timeout)
        if arguments.what == "console":
            sys.stderr.write(f"{machine.console.tail(1000)}\n")
        machine.console.check()
    return code


def _run(machine: Machine, line: str, timeout: float) -> int:
    result = machine.run(line, timeout=timeout, check=False)
    sys.stdout.write(result.stdout)
    sys.stdout.flush()
    sys.stderr.write(result.stderr)
    return result.code


if __name__ == "__main__":
    sys.exit(main())
