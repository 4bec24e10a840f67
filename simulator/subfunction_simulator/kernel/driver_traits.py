"""Drivers of sub-function capable cards differ in a dozen traits."""

import dataclasses
from typing import Final


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DriverTraits:
    """A driver's users see these traits; words and error numbers stand in `cards/port_add_validation.py`."""

    driver: str
    """Of the physical functions; its sub-functions' one is `<driver>.sf`."""
    virtual_driver: str
    """Of the virtual functions."""
    vendor: str
    device: str
    pci_children: bool
    """Whether a PCI function has auxiliary devices, numbered from the sub-functions' pool, with the port on one."""
    first_index: int
    """The lowest number of a sub-function's auxiliary device, those of the physical functions aside."""
    synchronous: bool
    """Whether a state is reached when the request is answered; else the firmware takes its time."""
    shows_number: bool
    """Whether the auxiliary device has the attribute `sfnum`."""
    pfnum_is_function: bool
    """Whether a pfnum is the number of the PCI function, however old the kernel is."""
    netdev_on_parent: bool
    """Whether the netdev hangs under the physical function; else under the auxiliary device."""
    representors_fixed: bool
    """Whether a representor takes no other address and stays in its network namespace."""
    random_mac: bool
    """Whether a function has an address from the start."""
    parameters: bool
    """Whether a sub-function has `enable_*` parameters, capabilities, RDMA and vDPA."""
    rates: bool
    """Whether a port has a rate leaf."""


MLX5: Final = DriverTraits(
    driver="mlx5_core",
    virtual_driver="mlx5_core",
    vendor="0x15b3",
    device="0x101d",
    pci_children=True,
    first_index=0,
    synchronous=False,
    shows_number=True,
    pfnum_is_function=False,
    netdev_on_parent=False,
    representors_fixed=True,
    random_mac=False,
    parameters=True,
    rates=True,
)
ICE: Final = DriverTraits(
    driver="ice",
    virtual_driver="iavf",
    vendor="0x8086",
    device="0x1592",
    pci_children=False,
    first_index=1,
    synchronous=True,
    shows_number=False,
    pfnum_is_function=True,
    netdev_on_parent=True,
    representors_fixed=False,
    random_mac=True,
    parameters=False,
    rates=False,
)
DRIVER_TRAITS: Final = {each.driver: each for each in (MLX5, ICE)}


def traits_of(driver: str) -> DriverTraits:
    """Return the traits of a driver, by its name."""
    return DRIVER_TRAITS[driver]
