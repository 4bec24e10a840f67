"""What a driver says to `devlink port add`, in its own order and words."""

import errno
from typing import TYPE_CHECKING

from subfunction.kernel.uapi import Attribute, EswitchMode, PortFlavour
from subfunction_simulator.kernel.instance import EOPNOTSUPP
from subfunction_simulator.kernel.nodes import lowest_free
from subfunction_simulator.kernel.wire import EINVAL, Attributes, Refusal

if TYPE_CHECKING:
    from subfunction_simulator.kernel.nic import Nic


def checked(nic: "Nic", asked: Attributes) -> int:
    """Give the number of the sub-function that is asked for.

    Raises:
        Refusal: there can be none such.
    """
    return _ice(nic, asked) if nic.manners.synchronous else _mlx5(nic, asked)


def _mlx5(nic: "Nic", asked: Attributes) -> int:
    number = asked.number(Attribute.PORT_PCI_SF_NUMBER, "=I")
    refusal = None
    if asked.number(Attribute.PORT_FLAVOUR, "=H") != PortFlavour.PCI_SF:
        refusal = "Driver supports only SF port addition"
    elif Attribute.PORT_INDEX in asked:
        refusal = "Driver does not support user defined port index assignment"
    elif number is None:
        refusal = "User must provide unique sfnum. Driver does not support auto assignment"
    elif asked.number(Attribute.PORT_CONTROLLER_NUMBER, "=H"):
        refusal = "External controller is unsupported"
    elif asked.number(Attribute.PORT_PCI_PF_NUMBER, "=H") != nic.parent.pf:
        refusal = "Invalid pfnum supplied"
    elif not nic.parent.sub_functions:
        refusal = "SF ports are not supported."
    elif nic.mode is not EswitchMode.SWITCHDEV:
        refusal = "SF ports are only supported in eswitch switchdev mode."
    if refusal is not None or number is None:
        raise Refusal(EOPNOTSUPP, f"mlx5_core: {refusal}")
    if number in nic.numbers():
        raise Refusal(errno.EEXIST, "mlx5_core: SF already exist. Choose different sfnum")
    return number


def _ice(nic: "Nic", asked: Attributes) -> int:
    number = asked.number(Attribute.PORT_PCI_SF_NUMBER, "=I")
    refusal, error = None, EOPNOTSUPP
    if asked.number(Attribute.PORT_FLAVOUR, "=H") != PortFlavour.PCI_SF:
        refusal = "Flavour other than pcisf is not supported"
    elif Attribute.PORT_CONTROLLER_NUMBER in asked:
        refusal = "Setting controller is not supported"
    elif Attribute.PORT_INDEX in asked:
        refusal = "Driver does not support user defined port index assignment"
    elif asked.number(Attribute.PORT_PCI_PF_NUMBER, "=H") != nic.parent.pf:
        refusal, error = "Incorrect pfnum supplied", EINVAL
    elif not nic.parent.sub_functions:
        refusal = "SF ports are not supported."
    elif nic.mode is not EswitchMode.SWITCHDEV:
        refusal = "SF ports are only supported in eswitch switchdev mode"
    elif number in nic.numbers():
        refusal, error = "Subfunction with given sfnum already exists", errno.EBUSY
    if refusal is not None:
        raise Refusal(error, f"ice: {refusal}")
    return lowest_free(nic.numbers()) if number is None else number
