"""Holds what differs between vendors: one profile for each kernel driver that can make sub-functions. Pure.

A new vendor is one more profile here; a flavour that is new is also one class, one line in `registry.py` and one word
in the API (`docs/adding-a-driver.md`). Two more places in the kernel layer depend on the driver's words:
`Devlink.capacity` (the resource that limits sub-functions) and `error_table.py` (what a refusal means).
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from subfunction.api.subfunction import Flavour
from subfunction.kernel.error_table import ICE_SWITCHDEV, SWITCHDEV

VFIO_PCI: Final = "vfio-pci"
"""The VFIO driver that takes any PCI function."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DriverProfile:
    """What differs from one parent driver to another."""

    name: str
    """The driver's name as sysfs spells it: `/sys/bus/pci/drivers/NAME`."""

    flavour_modules: Mapping[Flavour, str]
    """By flavour, the words after `modprobe` for a hint: what to load if no driver binds.

    Its keys also decide which flavours the driver makes: any other one is refused on its parents.
    """

    class_drivers: frozenset[str] = frozenset()
    """Drivers on the auxiliary bus that make a function's class devices, as sysfs spells them."""

    function_driver: str = ""
    """The driver on the auxiliary bus that runs a function, as sysfs spells it; empty if any driver there may."""

    configuration_drivers: frozenset[str] = frozenset()
    """Drivers of the vendor's own kernel modules that take each new function first, and only let it be configured."""

    vectors_hint: str = ""
    """What gives a function more MSI-X vectors, where a probe fails for want of them."""

    switchdev_hint: str = SWITCHDEV
    """How the e-switch of a parent without sub-functions is put into switchdev mode; HANDLE stands for the parent."""

    stranded_hint: str = ""
    """What to do after its e-switch became legacy while it had sub-functions; empty if that ends them all."""

    capabilities: bool = True
    """Whether a sub-function's capabilities can be set, as far as its card can."""

    eswitch_elsewhere: str = ""
    """What it means that a parent has room for sub-functions and no e-switch; empty if that never happens."""

    vfio_driver: str = VFIO_PCI
    """Its own VFIO driver, which supports migration; used where it is loaded, else `vfio-pci`."""

    rate_unit: int = 1
    """The unit of a rate in bit/s: `spec.rate` must be a multiple of it."""

    child_prefix: str | None = None
    """How the names of the auxiliary devices below a function's own begin: `mlx5_core.` of `mlx5_core.vnet.4`."""

    firmware_hint: str = ""
    """The hint for a parent whose capacity is 0; empty if this driver never shows a capacity."""

    kernel_option: str = ""
    """The kernel's option without which the driver makes no ports; empty if it always does."""

    fatal_reporter: str = ""
    """The health reporter that is in error while the card is in a fatal state; empty if the driver has none."""

    event_queues: int = 0
    """The number of queues in which the driver handles its functions' events (port index modulo this); 0 for none."""

    rebinds: bool = True
    """Whether a function whose driver was unbound can be bound to it again and then reloaded."""

    reuses_addresses: bool = False
    """Whether a new port shows the MAC address of the function that had its slot before."""

    loses_functions: bool = False
    """Whether the firmware can take a function away while its port still shows it as attached."""

    @property
    def flavours(self) -> frozenset[Flavour]:
        """The flavours that the driver can make."""
        return frozenset(self.flavour_modules)


MLX5_CORE: Final = DriverProfile(
    name="mlx5_core",
    flavour_modules=MappingProxyType(
        {
            Flavour.MLX5: "-a mlx5_core mlx5_ib",
            Flavour.VIRTIO: "-a mlx5_core mlx5_vdpa vhost_vdpa virtio_vdpa",
        }
    ),
    class_drivers=frozenset({"mlx5_ib.rdma", "mlx5_vdpa.vnet"}),
    function_driver="mlx5_core.sf",
    # Of DOCA and MLNX_OFED, and so on BlueField's own system: NVIDIA's "BlueField Scalable Function User Guide".
    configuration_drivers=frozenset({"mlx5_core.sf_cfg"}),
    # Four vectors a function (github.com/Mellanox/scalablefunctions/wiki).
    vectors_hint=(
        "set spec.capabilities.maxIOEventQueues lower, or give the parent more (four for each sub-function), for the"
        " next cold boot: `mlxconfig -d DEVICE set NUM_PF_MSIX_VALID=0 PF_NUM_PF_MSIX_VALID=1 PF_NUM_PF_MSIX=...`"
    ),
    # The host's PF of a card in DPU mode is not the e-switch manager; its `max_local_SFs` is there all the same.
    eswitch_elsewhere=(
        "the DPU's own processor (its embedded CPU) manages this e-switch, and sub-functions are made there: give the"
        " DPU an agent of its own, and the SubFunction the DPU's node name"
    ),
    vfio_driver="mlx5_vfio_pci",
    rate_unit=1_000_000,
    child_prefix="mlx5_core.",
    firmware_hint="Set PF_TOTAL_SF: `mlxconfig -d DEVICE set PER_PF_NUM_SF=1 PF_TOTAL_SF=...`, and boot cold.",
    kernel_option="CONFIG_MLX5_SF",
    # drivers/net/ethernet/mellanox/mlx5/core/health.c, Linux 6.12.
    fatal_reporter="fw_fatal",
    # drivers/net/ethernet/mellanox/mlx5/core/sf/vhca_event.c, Linux 6.12.
    event_queues=8,
    # Unbinding removes the directory `irqs` of its auxiliary device, and nothing makes it again: each later reload
    # fails with ENOENT until the device itself is made anew (drivers/base/auxiliary_sysfs.c, Linux 6.12).
    rebinds=False,
    # Up to Linux 6.18 (esw/devlink_port.c).
    reuses_addresses=True,
    loses_functions=True,
)

ICE: Final = DriverProfile(
    name="ice",
    flavour_modules=MappingProxyType({Flavour.ICE: "ice"}),
    switchdev_hint=ICE_SWITCHDEV,
    # drivers/net/ethernet/intel/ice, Linux 6.12: ice_eswitch.c:355 forgets the representors, so that
    # devlink/devlink_port.c:590-593 frees a port that is registered still, whatever the mode is by then.
    stranded_hint=(
        "Delete none of its ports, leave the mode as it is, and neither reload nor unbind its driver: ice of Linux 6.12"
        " would free memory that the kernel still uses. Drain the node and reboot it."
    ),
    # devlink/devlink_port.c:804-810 there: an address and a state. A refusal after the port was made would leave one
    # that no other port is made beside.
    capabilities=False,
)

DRIVERS: Final[dict[str, DriverProfile]] = {profile.name: profile for profile in (MLX5_CORE, ICE)}
"""All profiles by the driver's name."""

FATAL_REPORTERS: Final = frozenset(each.fatal_reporter for each in DRIVERS.values() if each.fatal_reporter)
"""The health reporters that speak of a whole card."""


def profile_of(driver: str | None) -> DriverProfile:
    """Return the profile of a parent's driver; a profile with the defaults and no flavour if it is unknown."""
    return DRIVERS.get(driver or "") or DriverProfile(name=driver or "", flavour_modules=MappingProxyType({}))


def drivers_for(flavour: Flavour) -> frozenset[str]:
    """Return the names of the drivers that can make a flavour; empty where any driver can (`vfio`).

    A test holds that each other flavour has a profile: without one every driver would be accepted for it.
    """
    return frozenset(profile.name for profile in DRIVERS.values() if flavour in profile.flavour_modules)


def vfio_drivers() -> frozenset[str]:
    """Return the names of the VFIO drivers that a virtual function can be bound to."""
    return frozenset({VFIO_PCI, *(profile.vfio_driver for profile in DRIVERS.values())})
