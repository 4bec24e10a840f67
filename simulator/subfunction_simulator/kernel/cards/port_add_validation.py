"""A driver validates `devlink port add` in its own order and words."""

import errno
from typing import Protocol

from subfunction.kernel.uapi import Attribute, EswitchMode, PortFlavour
from subfunction_simulator.kernel.devlink.instance import EOPNOTSUPP
from subfunction_simulator.kernel.driver_traits import DriverTraits
from subfunction_simulator.kernel.netlink.wire import EINVAL, Attributes, Refusal
from subfunction_simulator.kernel.topology import Parent


class PortOwner(Protocol):
    """A physical function is asked for a port."""

    @property
    def traits(self) -> DriverTraits:
        """Give the traits of its driver."""

    @property
    def parent(self) -> Parent:
        """Tell how it is set up."""

    @property
    def mode(self) -> EswitchMode:
        """Give the mode of its e-switch."""

    @property
    def mode_first(self) -> bool:
        """Say whether the mode is looked at before what is asked for."""

    @property
    def pfnum(self) -> int:
        """Give the number that sub-functions are asked for with."""

    def numbers(self) -> set[int]:
        """Give the numbers that are taken."""


def validate_port_add(nic: PortOwner, asked: Attributes) -> int:
    """Give the number of the sub-function that is asked for.

    Raises:
        Refusal: there can be none such.
    """
    if not nic.parent.built_with_sub_functions:
        raise Refusal(EOPNOTSUPP)  # devlink's own, where a driver has no `port_new` (net/devlink/port.c, Linux 6.12)
    return _ice(nic, asked) if nic.traits.synchronous else _mlx5(nic, asked)


def full(nic: PortOwner) -> Refusal:
    """Give the refusal of a port where there is no room for another one."""
    return Refusal(errno.ENOMEM, "ice: Unable to allocate VSI") if nic.traits.synchronous else Refusal(errno.ENOSPC)


def _mlx5(nic: PortOwner, asked: Attributes) -> int:
    number = asked.number(Attribute.PORT_PCI_SF_NUMBER, "=I")
    able, fitting = _unable(nic), _unfitting(nic, asked)
    refusal = able or fitting if nic.mode_first else fitting or able
    if refusal is not None or number is None:
        raise Refusal(EOPNOTSUPP, f"mlx5_core: {refusal}")
    if number in nic.numbers():
        raise Refusal(errno.EEXIST, "mlx5_core: SF already exist. Choose different sfnum")
    return number


def _unable(nic: PortOwner) -> str | None:
    if not (nic.parent.sub_functions and nic.parent.manages_eswitch):
        return "SF ports are not supported."
    if nic.mode is not EswitchMode.SWITCHDEV:
        return "SF ports are only supported in eswitch switchdev mode."
    return None


def _unfitting(nic: PortOwner, asked: Attributes) -> str | None:
    refusal = None
    if asked.number(Attribute.PORT_FLAVOUR, "=H") != PortFlavour.PCI_SF:
        refusal = "Driver supports only SF port addition"
    elif Attribute.PORT_INDEX in asked:
        refusal = "Driver does not support user defined port index assignment"
    elif Attribute.PORT_PCI_SF_NUMBER not in asked:
        refusal = "User must provide unique sfnum. Driver does not support auto assignment"
    elif asked.number(Attribute.PORT_CONTROLLER_NUMBER, "=H"):
        refusal = "External controller is unsupported"
    elif asked.number(Attribute.PORT_PCI_PF_NUMBER, "=H") != nic.pfnum:
        refusal = "Invalid pfnum supplied"
    return refusal


def _ice(nic: PortOwner, asked: Attributes) -> int:
    # drivers/net/ethernet/intel/ice/devlink/devlink_port.c, Linux 6.12: 625-648 the attributes, 992-996 the mode,
    # 832-842 the number, 927-931 the room (`full`).
    number = asked.number(Attribute.PORT_PCI_SF_NUMBER, "=I")
    refusal, error = None, EOPNOTSUPP
    if asked.number(Attribute.PORT_FLAVOUR, "=H") != PortFlavour.PCI_SF:
        refusal = "Flavour other than pcisf is not supported"
    elif Attribute.PORT_CONTROLLER_NUMBER in asked:
        refusal = "Setting controller is not supported"
    elif Attribute.PORT_INDEX in asked:
        refusal = "Driver does not support user defined port index assignment"
    elif asked.number(Attribute.PORT_PCI_PF_NUMBER, "=H") != nic.pfnum:
        refusal, error = "Incorrect pfnum supplied", EINVAL
    elif not nic.parent.sub_functions:
        refusal = "Dynamic MSIX-X interrupt allocation is not supported"
    elif nic.mode is not EswitchMode.SWITCHDEV:
        refusal = "SF ports are only supported in eswitch switchdev mode"
    elif number is None:
        # With a WARN: the array of numbers was not made to choose one (ice_main.c:4121, devlink_port.c:832-834).
        raise Refusal(EINVAL)
    elif number in nic.numbers():
        refusal, error = "Subfunction with given sfnum already exists", errno.EBUSY
    if refusal is not None or number is None:
        raise Refusal(error, f"ice: {refusal}")
    return number
