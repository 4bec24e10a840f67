"""A machine saved warm: kernel up, Python with its packages in memory, no line of the project in it."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import cache, host
from harness.host import require_tool
from harness.image import Image, build_image
from harness.kernels import LINUX_6_12, Kernel
from harness.machine import MOUNT, SHARE, Machine
from harness.mlx5 import MODULES, insmod
from harness.mlx5_drivers import build_drivers
from harness.module import build_module
from harness.packages import Packages, packages
from harness.topology import Topology

KINDS = 5
"""Of machines: the plain one, that with an IOMMU, two with the real mlx5 (a kernel each), that of a whole node."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What `Machine`s are restored from."""

    image: Image
    topology: Topology
    state: Path
    modules: Mapping[str, Path]
    """The modules that are no part of the image, by name, in the order to load them.

    sfsim is not in the state, so that changing it costs no boot, and each machine draws its own MACs. The real drivers
    are: to load them takes longer than most tests.
    """

    def restore(self) -> Machine:
        """A machine, in about a second; its modules are at hand, the real drivers loaded, sfsim not."""
        machine = Machine.restore(self.image, self.state, self.topology)
        share(machine, self.modules)
        return machine


def share(machine: Machine, modules: Mapping[str, Path]) -> None:
    """Lay modules into the folder that the machine has in common with us."""
    for name, path in modules.items():
        (machine.place.share / f"{name}.ko").write_bytes(path.read_bytes())


def build_snapshot(topology: Topology | None = None, kernel: Kernel = LINUX_6_12) -> Snapshot:
    """Everything a machine of this kernel needs, from the cache as far as it is there; QEMU and the like where we may.

    Raises:
        HostLacks: a tool is missing and cannot be installed here; the message is the line to type.
        BuildFailed: a download, a compilation or an image failed.
        MachineDied: the machine did not boot.
    """
    with cache.exclusive():
        host.install()
        return _build(topology or Topology(), kernel)


def _build(topology: Topology, kernel: Kernel) -> Snapshot:
    debian = packages(kernel)
    modules = _modules(debian, topology)
    image = build_image(debian)
    version = subprocess.run(
        [require_tool("qemu-system-x86_64"), "--version"], check=True, capture_output=True, text=True, timeout=30
    ).stdout
    key = cache.digest(image.key, version, topology.kernel_line, *topology.options())
    if topology.mlx5:
        key = cache.digest(key, insmod(topology, *MODULES), *(path.read_bytes() for path in modules.values()))

    def build(into: Path, _final: Path) -> None:
        machine = Machine.boot(image, topology)
        try:
            if topology.mlx5:
                share(machine, modules)
                machine.run(f"{MOUNT} && {insmod(topology, *MODULES)} && umount {SHARE}", timeout=120)
            machine.console.check()
            machine.save(into / "state")
        finally:
            machine.stop()

    return Snapshot(image, topology, cache.entry("snapshot", key, build, keep=KINDS + 2) / "state", modules)


def _modules(debian: Packages, topology: Topology) -> dict[str, Path]:
    if topology.mlx5:
        return {"mlx5fw": build_module(debian, "mlx5fw"), **build_drivers(debian)}
    return {"sfsim": build_module(debian, "sfsim")}
