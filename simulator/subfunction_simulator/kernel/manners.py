"""The dozen ways in which drivers of sub-function capable cards differ."""

import dataclasses
from typing import Final


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """A driver as its users see it; what is words and error numbers is in `refusals.py`."""

    driver: str
    """Of the physical functions; its sub-functions' one is `<driver>.sf`."""
    virtual_driver: str
    """Of the virtual functions."""
    vendor: str
    device: str
    physical_children: bool
    """Whether the physical functions' own auxiliary devices take numbers from the sub-functions' pool."""
    first_index: int
    """The lowest number of a sub-function's auxiliary device, those of the physical functions aside."""
    synchronous: bool
    """Whether a state is reached when the request is answered; else the firmware takes its time."""
    shows_number: bool
    """Whether the auxiliary device has the attribute `sfnum`."""
    netdev_on_parent: bool
    """Whether the netdev hangs under the physical function; else under the auxiliary device."""
    random_mac: bool
    """Whether a function has an address from the start."""
    parameters: bool
    """Whether a sub-function has `enable_*` parameters, capabilities, RDMA and vDPA."""
    rates: bool
    """Whether a port has a rate leaf."""


MLX5: Final = Manners(
    driver="mlx5_core",
    virtual_driver="mlx5_core",
    vendor="0x15b3",
    device="0x101d",
    physical_children=True,
    first_index=0,
    synchronous=False,
    shows_number=True,
    netdev_on_parent=False,
    random_mac=False,
    parameters=True,
    rates=True,
)
ICE: Final = Manners(
    driver="ice",
    virtual_driver="iavf",
    vendor="0x8086",
    device="0x1592",
    physical_children=False,
    first_index=1,
    synchronous=True,
    shows_number=False,
    netdev_on_parent=True,
    random_mac=True,
    parameters=False,
    rates=False,
)
_MANNERS: Final = {each.driver: each for each in (MLX5, ICE)}


def manners_of(driver: str) -> Manners:
    """Give the manners of a driver, by its name."""
    return _MANNERS[driver]
