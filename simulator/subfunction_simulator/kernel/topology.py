"""What stands in the simulated node: its kernel's age, its cards and how they are set up at boot."""

import dataclasses

from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import EswitchMode

DRIVER = "mlx5_core"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A physical function of a card."""

    bdf: str
    """PCI address; its last digit is the pfnum."""
    netdev: str
    """Name of the uplink, as udev would have given it."""
    numa_node: int = 0
    """-1 where the firmware does not tell."""
    mode: EswitchMode = EswitchMode.SWITCHDEV
    """The e-switch mode that the boot scripts leave behind."""
    capacity: int = 128
    """How many sub-functions fit (`max_local_SFs`)."""
    sub_functions: bool = True
    """Whether firmware and Kconfig have them at all."""
    vhca_management: bool = True
    """Whether RoCE and event queues of a function can be set."""
    switch_id: str = "b8599f0300a1c2d4"
    """The same on every function of one card."""

    @property
    def handle(self) -> Handle:
        """The devlink handle."""
        return Handle("pci", self.bdf)

    @property
    def pf(self) -> int:
        """The number of the physical port, and what sub-functions are asked for with."""
        return int(self.bdf.rpartition(".")[2], 16)

    @property
    def path(self) -> str:
        """The device's directory in sysfs."""
        domain, bus, _ = self.bdf.split(":")
        return f"devices/pci{domain}:{int(bus, 16) & 0xF0:02x}/{self.bdf}"


TWO_CARDS = (
    Parent(bdf="0000:03:00.0", netdev="enp3s0np0", numa_node=0),
    Parent(bdf="0000:82:00.0", netdev="enp130s0np0", numa_node=1, switch_id="b8599f0300b7e9f0"),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The node; the defaults are Linux 6.12 with two switchdev cards on two NUMA nodes."""

    parents: tuple[Parent, ...] = TWO_CARDS
    devlink: bool = True
    """Whether the kernel has the family at all."""
    light_probe: bool = True
    """Since about 6.5 a sub-function comes up with its devlink instance alone; False brings netdev and RDMA at once."""
    nested_handles: bool = True
    """Since 6.7 a port names the devlink instance of its function."""
    max_io_eqs: bool = True
    """Since 6.10 the kernel knows this function attribute."""
    seed: int = 1
    """Of the MAC addresses that drivers choose at random."""
