"""Every refusal of the kernel that we know, by errno and text, and the error it becomes."""

import errno
import os
from collections.abc import Callable

import pytest
from tests.core.conftest import ScriptedTransport

from subfunction.errors import (
    CardFailed,
    Full,
    Gone,
    Invalid,
    KernelError,
    KernelWithoutSubFunctions,
    NotPermitted,
    NotSwitchdev,
    NumberTaken,
    PfNumberRefused,
    PortUnfinished,
    StillAttached,
    SubFunctionsUnsupported,
    Unsupported,
)
from subfunction.kernel.address import Handle
from subfunction.kernel.bus.vdpa import Vdpa, VdpaSettings
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.link import Links, LinkSettings
from subfunction.kernel.netlink.genetlink import Family, Netlink
from subfunction.kernel.uapi import Command
from subfunction.kernel.uapi.link import RouteMessage
from subfunction.kernel.uapi.vdpa import VdpaCommand
from subfunction_simulator.kernel.netlink import wire
from subfunction_simulator.kernel.netlink.wire import Refusal

PARENT = Handle("pci", "0000:05:00.0")
OPNOTSUPP = errno.EOPNOTSUPP

# Texts of Linux 6.12, read in its source and most of them seen in the VM; ice's stand beside mlx5's.
REFUSALS = [
    (Command.PORT_NEW, OPNOTSUPP, "mlx5_core: SF ports are only supported in eswitch switchdev mode.", NotSwitchdev),
    (Command.PORT_NEW, OPNOTSUPP, "ice: SF ports are only supported in eswitch switchdev mode", NotSwitchdev),
    (Command.PORT_NEW, OPNOTSUPP, "mlx5_core: SF ports are not supported.", SubFunctionsUnsupported),
    (Command.PORT_NEW, OPNOTSUPP, "", KernelWithoutSubFunctions),
    (Command.PORT_NEW, OPNOTSUPP, "mlx5_core: Invalid pfnum supplied", PfNumberRefused),
    (Command.PORT_NEW, errno.EINVAL, "ice: Incorrect pfnum supplied", PfNumberRefused),
    (Command.PORT_NEW, errno.EINVAL, "", KernelError),
    (Command.PORT_NEW, errno.EBUSY, "ice: Failed to attach SF to eswitch", PortUnfinished),
    (Command.PORT_NEW, errno.EINVAL, "ice: Failed to attach SF to eswitch", KernelError),
    (Command.PORT_NEW, OPNOTSUPP, "ice: Dynamic MSIX-X interrupt allocation is not supported", SubFunctionsUnsupported),
    (Command.PORT_NEW, errno.ENOMEM, "ice: Unable to allocate VSI", Full),
    (Command.PORT_NEW, errno.ENOMEM, "", KernelError),
    (Command.PORT_NEW, errno.ENOLINK, "", CardFailed),
    (Command.PORT_NEW, errno.EMSGSIZE, "mlx5_core: Failed getting HCA caps.", CardFailed),
    (Command.PORT_NEW, errno.EMSGSIZE, "", CardFailed),
    (Command.PORT_GET, errno.EMSGSIZE, "mlx5_core: Failed getting HCA caps.", CardFailed),
    (Command.PORT_GET, errno.EMSGSIZE, "", CardFailed),
    (Command.PORT_SET, errno.ENOLINK, "mlx5_core: Failed getting HCA caps.", CardFailed),
    (Command.RELOAD, errno.ENOLINK, "", CardFailed),
    # Elsewhere the request itself is too long, which has nothing to do with a card.
    (Command.PARAM_SET, errno.EMSGSIZE, "", KernelError),
    (Command.PARAM_SET, OPNOTSUPP, "mlx5_core: Device doesn't support RoCE.", Unsupported),
    (
        Command.PORT_NEW,
        OPNOTSUPP,
        "mlx5_core: User must provide unique sfnum. Driver does not support auto assignment",
        Unsupported,
    ),
    (Command.PORT_NEW, OPNOTSUPP, "mlx5_core: External controller is unsupported", Unsupported),
    (Command.PORT_NEW, errno.EINVAL, "mlx5_core: Invalid controller number", Invalid),
    (Command.PORT_NEW, OPNOTSUPP, "ice: Setting controller is not supported", Unsupported),
    (
        Command.PORT_NEW,
        OPNOTSUPP,
        "mlx5_core: Driver does not support user defined port index assignment",
        Unsupported,
    ),
    (Command.PORT_NEW, OPNOTSUPP, "mlx5_core: Driver supports only SF port addition", Unsupported),
    (Command.PORT_NEW, OPNOTSUPP, "ice: Flavour other than pcisf is not supported", Unsupported),
    (Command.PORT_NEW, errno.EEXIST, "mlx5_core: SF already exist. Choose different sfnum", NumberTaken),
    (Command.PORT_NEW, errno.EBUSY, "ice: Subfunction with given sfnum already exists", NumberTaken),
    (Command.PORT_NEW, errno.ENOSPC, "", Full),
    (Command.PORT_NEW, errno.EINVAL, "Port flavour or PCI PF are not specified", Invalid),
    (Command.PORT_SET, errno.EINVAL, "Non-unicast hardware address unsupported", Invalid),
    (Command.PORT_SET, errno.EINVAL, "Address must be 6 bytes for Ethernet device", Invalid),
    (Command.PORT_SET, errno.EINVAL, "Fail to parse port function attributes", Invalid),
    (Command.PORT_SET, OPNOTSUPP, "Port doesn't support function attributes", Unsupported),
    (Command.PORT_SET, OPNOTSUPP, "Function does not support state setting", Unsupported),
    (Command.PORT_SET, OPNOTSUPP, "Port doesn't support RoCE function attribute", Unsupported),
    (Command.PORT_SET, OPNOTSUPP, "migratable function attribute supported for VFs only", Unsupported),
    (Command.PORT_SET, OPNOTSUPP, "Function does not support max_io_eqs setting", Unsupported),
    (Command.PORT_SET, OPNOTSUPP, "mlx5_core: Device doesn't support VHCA management", Unsupported),
    (Command.PORT_SET, errno.EBUSY, "mlx5_core: SF is inactivated but it is still attached", StillAttached),
    (Command.PORT_SET, errno.EBUSY, "ice: Ethernet address can be change only in detached state", StillAttached),
    (Command.PORT_SET, errno.EADDRNOTAVAIL, "ice: Invalid ethernet address", Invalid),
    (Command.PORT_DEL, errno.ENODEV, "", Gone),
    (Command.PORT_NEW, errno.ENODEV, "", Gone),
    (Command.PORT_NEW, errno.EPERM, "", NotPermitted),
    (Command.PORT_DEL, errno.EPERM, "", NotPermitted),
    (Command.RELOAD, OPNOTSUPP, "Requested reload action is not supported by the driver", Unsupported),
    (Command.RELOAD, OPNOTSUPP, "mlx5_core: reload is unsupported in Lag mode", Unsupported),
    (Command.RELOAD, errno.EBUSY, "mlx5_core: Can't reload during firmware reset", KernelError),
    (Command.PARAM_SET, OPNOTSUPP, "", Unsupported),
    (Command.PARAM_SET, errno.EINVAL, "", Invalid),
    (Command.PARAM_SET, errno.EINVAL, "mlx5_core: Only power of 2 values are supported for max_macs", Invalid),
    (Command.RATE_SET, errno.EINVAL, "mlx5_core: TX rate value not in link speed units of 1Mbps", Invalid),
    (Command.RATE_SET, errno.EINVAL, "mlx5_core: TX rate value exceed link maximum speed", Invalid),
    (Command.RATE_SET, OPNOTSUPP, "TX share set isn't supported", Unsupported),
    (Command.RATE_SET, errno.ENODEV, "", Gone),
    (VdpaCommand.DEV_NEW, errno.ENODEV, "vdpa: Fail to find the specified management device", Gone),
    (VdpaCommand.DEV_NEW, errno.ENOSPC, "", Full),
    (VdpaCommand.DEV_NEW, errno.EEXIST, "", KernelError),
    (VdpaCommand.DEV_NEW, OPNOTSUPP, "Some provided attributes are not supported: 0x800", Unsupported),
    (VdpaCommand.DEV_NEW, errno.EINVAL, "At least one pair of VQs is required", Invalid),
    (VdpaCommand.DEV_NEW, errno.EPERM, "", NotPermitted),
    (VdpaCommand.DEV_DEL, errno.ENODEV, "vdpa: device not found", Gone),
    (VdpaCommand.DEV_DEL, errno.EINVAL, "Only user created device can be deleted by user", Invalid),
    # Its number is that of devlink's PORT_NEW, where ENOSPC is another matter.
    (VdpaCommand.DEV_DEL, errno.ENOSPC, "", KernelError),
    (RouteMessage.GETLINK, errno.EPERM, "", NotPermitted),
    (RouteMessage.SETLINK, errno.ENODEV, "", Gone),
    (RouteMessage.SETLINK, errno.EEXIST, "", KernelError),
    (RouteMessage.SETLINK, errno.EBUSY, "", KernelError),
    (RouteMessage.SETLINK, errno.EINVAL, "mtu less than device minimum", Invalid),
    (RouteMessage.SETLINK, errno.EADDRNOTAVAIL, "", Invalid),
    (RouteMessage.SETLINK, OPNOTSUPP, "", Unsupported),
    (RouteMessage.SETLINK, errno.EPERM, "", NotPermitted),
]

Asked = Command | VdpaCommand | RouteMessage
# By name: the numbers of two families' commands are equal, and so are then the commands.
VERBS: dict[str, tuple[str, Callable[[Netlink], object]]] = {
    "PORT_NEW": ("devlink", lambda netlink: Devlink(netlink).create_port(PARENT, pf=0, number=88)),
    "PORT_GET": ("devlink", lambda netlink: Devlink(netlink).port(PARENT, 32768)),
    "PORT_SET": ("devlink", lambda netlink: Devlink(netlink).set_active(PARENT, 32768, active=True)),
    "PORT_DEL": ("devlink", lambda netlink: Devlink(netlink).delete_port(PARENT, 32768)),
    "RELOAD": ("devlink", lambda netlink: Devlink(netlink).reload(PARENT)),
    "PARAM_SET": ("devlink", lambda netlink: Devlink(netlink).set_parameter(PARENT, "enable_rdma", value=True)),
    "RATE_SET": ("devlink", lambda netlink: Devlink(netlink).set_rate(PARENT, 32768, share=1)),
    "DEV_NEW": ("vdpa", lambda netlink: Vdpa(netlink).add("sf1", PARENT, VdpaSettings())),
    "DEV_DEL": ("vdpa", lambda netlink: Vdpa(netlink).delete("sf1")),
    "GETLINK": ("ip", lambda netlink: Links(netlink).kind(7)),
    "SETLINK": ("ip", lambda netlink: Links(netlink).set(7, LinkSettings(up=True))),
}

FINAL = {Unsupported, Invalid}
"""Asking again would be noise: only a change of the object or of the node helps."""


class Prepared(Netlink):
    """A Netlink that knows its family already."""

    def family(self, name: str) -> Family:
        return Family(name, 26, {})


def refused(command: Asked, number: int, text: str) -> KernelError:
    """Run a verb that sends the command, against a kernel that refuses it so."""

    def answer(datagram: bytes) -> list[bytes]:
        (request,) = wire.requests(datagram)
        assert command in {request.command, request.kind}
        return [wire.acknowledgement(request, Refusal(number, text))]

    with pytest.raises(KernelError) as error:
        VERBS[command.name][1](Prepared(ScriptedTransport(answer)))
    return error.value


@pytest.mark.parametrize(("command", "number", "text", "kind"), REFUSALS)
def test_a_refusal_becomes_the_error_it_means(command: Asked, number: int, text: str, kind: type[KernelError]) -> None:
    error = refused(command, number, text)
    assert type(error) is kind
    assert (error.errno, error.text) == (number, text)
    assert (error.retry_after is None) == (kind in FINAL)


@pytest.mark.parametrize(("command", "number", "text"), [refusal[:3] for refusal in REFUSALS])
def test_the_message_has_the_command_to_type_and_the_kernels_own_words(command: Asked, number: int, text: str) -> None:
    error = refused(command, number, text)
    tool = VERBS[command.name][0]
    assert error.message.startswith(f"{tool} ")
    assert tool != "devlink" or str(PARENT) in error.message
    assert text.rstrip(".") in error.message
    assert os.strerror(number) in error.message


def test_a_vdpa_refusal_is_never_taken_for_the_devlink_one_of_that_number() -> None:
    assert "vdpa dev show" in refused(VdpaCommand.DEV_NEW, errno.ENOSPC, "").hint
    assert "enable_vnet" in refused(VdpaCommand.DEV_NEW, errno.ENODEV, "").hint
    assert refused(VdpaCommand.DEV_DEL, errno.ENODEV, "").hint == ""


def test_a_hint_names_the_parent_it_speaks_of() -> None:
    error = refused(Command.PORT_NEW, errno.ENOSPC, "")
    assert f"devlink resource show {PARENT}" in str(error)
    error = refused(Command.PORT_NEW, OPNOTSUPP, "mlx5_core: SF ports are only supported in eswitch switchdev mode.")
    assert f"devlink dev eswitch set {PARENT} mode switchdev" in str(error)


@pytest.mark.parametrize("command", [Command.PORT_NEW, Command.PORT_GET, Command.PORT_SET])
def test_what_revives_a_failed_card_names_the_card_and_no_port_of_it(command: Command) -> None:
    hint = refused(command, errno.ENOLINK, "").hint
    assert f"`devlink health show {PARENT}`" in hint
    assert f"`devlink health recover {PARENT} reporter fw_fatal`" in hint
    assert "devlink dev reload" not in hint


def test_a_full_e810_is_told_apart_from_a_full_mlx5() -> None:
    assert "mlxconfig" not in refused(Command.PORT_NEW, errno.ENOMEM, "ice: Unable to allocate VSI").hint
    assert "PF_TOTAL_SF" not in refused(Command.PORT_NEW, errno.ENOMEM, "ice: Unable to allocate VSI").hint


def test_an_e810_that_can_have_none_is_not_told_what_an_mlx5_needs() -> None:
    hint = refused(Command.PORT_NEW, OPNOTSUPP, "ice: Dynamic MSIX-X interrupt allocation is not supported").hint
    assert "MSI-X" in hint
    assert "MLX5" not in hint
