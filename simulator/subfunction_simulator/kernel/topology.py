"""The topology says what stands in the simulated node: its kernel's age, its cards and how they are set up at boot."""

import dataclasses

from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import EswitchMode

MODULES = ("mlx5_ib", "mlx5_vdpa", "vhost_vdpa", "virtio_vdpa", "vfio_pci")


@dataclasses.dataclass(frozen=True, slots=True)
class MediatedType:
    """A parent's driver offers this kind of mediated device."""

    id: str
    """As sysfs has it, `<driver>-<name>`."""
    available: int = 1
    """How many there can be at once."""
    api: str = "vfio-pci"
    """`device_api`: what a user of the device speaks."""
    description: str = "a function of its own"

    @property
    def name(self) -> str:
        """Give its name for people."""
        return self.id.partition("-")[2]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A parent is a physical function of a card."""

    bdf: str
    """PCI address."""
    netdev: str
    """Name of the uplink, as udev would have given it."""
    driver: str = "mlx5_core"
    """`mlx5_core` or `ice`, with the traits of each."""
    numa_node: int = 0
    """-1 where the firmware does not tell."""
    mode: EswitchMode = EswitchMode.SWITCHDEV
    """The e-switch mode that the boot scripts leave behind."""
    capacity: int = 128
    """How many sub-functions fit (`max_local_SFs`)."""
    sub_functions: bool = True
    """Whether the firmware has them at all."""
    built_with_sub_functions: bool = True
    """Whether the driver has them (`CONFIG_MLX5_SF`, `CONFIG_ICE_SWITCHDEV`)."""
    manages_eswitch: bool = True
    """Whether this function manages its e-switch; on the host of a card in DPU mode the card's own processor does."""
    vhca_management: bool = True
    """Whether RoCE and event queues of a function can be set."""
    switch_id: str = "b8599f0300a1c2d4"
    """The same on every function of one card."""
    link_speed: int = 100_000
    """What no rate may exceed, in Mbit/s."""
    vdpa_queue_pairs: int = 2
    """How many pairs of queues a vDPA device of a sub-function may have."""
    port_number: int | None = None
    """Of its physical port; None: the same as its PCI function's. On some cards the two differ."""
    ethernet: bool = True
    """Whether `enable_eth` is on for an mlx5 function itself; without, it has neither physical port nor netdev."""
    max_macs: bool = True
    """Whether its firmware lets a driver choose how many addresses a function has room for."""
    virtual_functions: int = 0
    """How many virtual functions the boot scripts made (`sriov_numvfs`)."""
    functions_per_group: int = 1
    """How many of the virtual functions share one IOMMU group."""
    mediated_types: tuple[MediatedType, ...] = ()
    """What mediated devices the driver offers; no upstream NIC driver does."""

    @property
    def handle(self) -> Handle:
        """Give the devlink handle."""
        return Handle("pci", self.bdf)

    @property
    def pf(self) -> int:
        """Give the number of the PCI function."""
        return int(self.bdf.rpartition(".")[2], 16)

    @property
    def port(self) -> int:
        """Give the number of the physical port."""
        return self.pf if self.port_number is None else self.port_number

    @property
    def path(self) -> str:
        """Give the device's directory in sysfs."""
        return f"{self.bridge}/{self.bdf}"

    @property
    def bridge(self) -> str:
        """Give the directory of what the card is plugged into."""
        domain, bus, _ = self.bdf.split(":")
        return f"devices/pci{domain}:{int(bus, 16) & 0xF0:02x}"

    def virtual_function(self, index: int) -> str:
        """Give the PCI address of a virtual function."""
        # Each physical function's are 64 apart, as with alternative routing ids.
        number = 8 + self.pf * 64 + index
        return f"{self.bdf.rpartition(':')[0]}:{number >> 3:02x}.{number & 7}"


TWO_CARDS = (
    Parent(bdf="0000:03:00.0", netdev="enp3s0np0", numa_node=0),
    Parent(bdf="0000:82:00.0", netdev="enp130s0np0", numa_node=1, switch_id="b8599f0300b7e9f0"),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The node has these parts; the defaults are Linux 6.12 with two switchdev cards on two NUMA nodes."""

    parents: tuple[Parent, ...] = TWO_CARDS
    devlink: bool = True
    """Whether the kernel has the family at all."""
    light_probe: bool = True
    """Since about 6.5 a sub-function comes up with its devlink instance alone; False brings netdev and RDMA at once."""
    nested_handles: bool = True
    """Since 6.7 a port names the devlink instance of its function."""
    ethernet_instances: bool = True
    """Since 6.3 mlx5 has the port of a function's netdev on `mlx5_core.eth.N`, the physical port of a PCI function and
    the `virtual` one of a sub-function; before, it is on the function's own instance."""
    pfnum_is_function: bool = False
    """Since 7.2 mlx5 wants the number of the PCI function as pfnum, and looks at the mode before anything else; before,
    it wanted the number of the physical port."""
    filters_dumps: bool = True
    """Since 6.5 a dump of devlink can be restricted to an instance; before, its handle is ignored."""
    max_io_eqs: bool = True
    """Since 6.10 the kernel knows this function attribute."""
    modules: tuple[str, ...] = MODULES
    """What is loaded, in this order: of two drivers that would take a vDPA device, the first one does."""
    iommu: bool = True
    """Whether PCI functions are in IOMMU groups; without, vfio-pci takes none, but for the next setting."""
    noiommu: bool = False
    """Whether vfio may do without (`enable_unsafe_noiommu_mode`), by nodes that say so: `vfio/noiommu-0`."""
    vfio_cdev: bool = False
    """Whether the kernel gives each vfio device a node of its own (VFIO_DEVICE_CDEV; Debian's 6.12 does not)."""
    bridges: tuple[str, ...] = ()
    """Bridges that are there from the start."""
    seed: int = 1
    """Of the MAC addresses that drivers choose at random."""


SHOWROOM = Topology(
    parents=(
        Parent(bdf="0000:03:00.0", netdev="enp3s0np0", virtual_functions=4),
        Parent(bdf="0000:82:00.0", netdev="enp130s0np0", numa_node=1, switch_id="b8599f0300b7e9f0"),
        Parent(bdf="0000:c1:00.0", netdev="ens9f0np0", driver="ice", numa_node=1),
    ),
    bridges=("br0",),
)
"""A node with something of everything, so that each example works; `subfunction-simulator kernel` serves it."""
