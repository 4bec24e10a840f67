"""A pcisf port shows its sub-function, and asks things of it."""

from typing import Protocol

from subfunction.kernel.address import Handle, Mac
from subfunction_simulator.kernel.driver_traits import DriverTraits


class PortSubFunction(Protocol):
    """A sub-function answers its port, and the commands on that port."""

    mac: Mac
    """The address that the port shows; all zero: the driver chooses one."""
    capabilities: int
    max_io_eqs: int

    @property
    def traits(self) -> DriverTraits:
        """Give the traits of the parent's driver."""

    @property
    def number(self) -> int:
        """Give the number that a user chose (`sfnum`)."""

    @property
    def managed(self) -> bool:
        """Say whether RoCE and event queues can be set."""

    @property
    def supported(self) -> int:
        """Give the capabilities that can be set."""

    @property
    def roce(self) -> bool:
        """Say whether it may have an RDMA device."""

    @property
    def active(self) -> bool:
        """Say whether the port shows `state active`."""

    @property
    def attached(self) -> bool:
        """Say whether the port shows `opstate attached`."""

    @property
    def nested(self) -> Handle | None:
        """Give the devlink instance of its driver."""

    def attributes(self) -> bytes:
        """Encode the nest PORT_FUNCTION."""

    def set_active(self, *, active: bool) -> None:
        """Ask the firmware for a state.

        Raises:
            Refusal: the firmware does not take it now.
        """

    def lose_port(self) -> None:
        """Note that the port is gone."""
