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
    """Whether a representor stays in its network namespace."""
    random_mac: bool
    """Whether a function has an address from the start."""
    parameters: bool
    """Whether a sub-function has `enable_*` parameters, capabilities, RDMA and vDPA."""
    rates: bool
    """Whether a port has a rate leaf."""
    highest_mtu: int
    """Of uplink and representor."""
    function_mtu: int
    """The highest MTU of a sub-function's netdev."""
    address_fixed: bool
    """Whether a sub-function's netdev takes no other address."""
    nested_in_parent: bool
    """Whether the instance of a sub-function is nested in its parent's, too."""
    e_switch_of_ice: bool
    """Whether ports and modes have the manners of `cards/ice_eswitch.py`."""


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
    highest_mtu=9978,
    function_mtu=9978,
    address_fixed=False,
    nested_in_parent=False,
    e_switch_of_ice=False,
)
# From drivers/net/ethernet/intel/ice, Linux 6.12; what stands in other modules names its lines there.
# ice_sf_eth.c: 11-23 no `ndo_set_mac_address`, 40 an MTU of 1500 as of any Ethernet device (`ether_setup`), 45 the
# netdev's parent, 212 the numbers from 1, 285-288 the auxiliary device without attributes; ice.h:122 the highest MTU;
# ice_repr.c:393,395 the representor's; devlink/devlink.c:1604 the nesting; devlink/devlink_port.c: 542-573 a state is
# reached when it is answered, 640 pfnum, 804-810 what a port can be set to, 937 a random address.

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
    highest_mtu=9702,
    function_mtu=1500,
    address_fixed=True,
    nested_in_parent=True,
    e_switch_of_ice=True,
)
DRIVER_TRAITS: Final = {each.driver: each for each in (MLX5, ICE)}


def traits_of(driver: str) -> DriverTraits:
    """Return the traits of a driver, by its name."""
    return DRIVER_TRAITS[driver]
