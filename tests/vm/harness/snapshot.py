"""A machine saved warm: kernel up, Python with its packages in memory, no line of the project in it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import cache, host
from harness.host import require_tool
from harness.image import Image, build_image
from harness.machine import Machine
from harness.module import build_module
from harness.packages import packages
from harness.topology import Topology

KINDS = 3
"""Of machines: the plain one, that with an IOMMU, and that with the disk of a whole node."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What `Machine`s are restored from."""

    image: Image
    topology: Topology
    state: Path
    module: Path
    """sfsim.ko; not in the state, so that changing it costs no boot, and each machine draws its own MACs."""

    def restore(self) -> Machine:
        """A machine, in about a second; sfsim is at hand but not loaded."""
        machine = Machine.restore(self.image, self.state, self.topology)
        (machine.place.share / "sfsim.ko").write_bytes(self.module.read_bytes())
        return machine


def build_snapshot(topology: Topology | None = None) -> Snapshot:
    """Everything a machine needs, from the cache as far as it is there, and QEMU and the like where we may.

    Raises:
        HostLacks: a tool is missing and cannot be installed here; the message is the line to type.
        BuildFailed: a download, a compilation or an image failed.
        MachineDied: the machine did not boot.
    """
    with cache.exclusive():
        host.install()
        return _build(topology or Topology())


def _build(topology: Topology) -> Snapshot:
    debian = packages()
    module = build_module(debian)
    image = build_image(debian)
    version = subprocess.run(
        [require_tool("qemu-system-x86_64"), "--version"], check=True, capture_output=True, text=True, timeout=30
    ).stdout
    key = cache.digest(image.key, version, topology.kernel_line, *topology.options())

    def build(into: Path, _final: Path) -> None:
        machine = Machine.boot(image, topology)
        try:
            machine.console.check()
            machine.save(into / "state")
        finally:
            machine.stop()

    return Snapshot(image, topology, cache.entry("snapshot", key, build, keep=KINDS + 2) / "state", module)
