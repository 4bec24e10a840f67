"""What refusals mean: a table from command, errno and text to an error and what to do about it.

Texts are those of Linux 6.12, which prefixes a driver's with the driver's name.
"""

import errno
from typing import Final, NamedTuple, TypeAlias

from subfunction.errors import (
    Full,
    Gone,
    Invalid,
    KernelError,
    NotPermitted,
    NotSwitchdev,
    NumberTaken,
    StillAttached,
    SubFunctionsUnsupported,
    Unsupported,
)
from subfunction.kernel.uapi import Command
from subfunction.kernel.uapi.link import RouteMessage
from subfunction.kernel.uapi.vdpa import VdpaCommand

_CAPABILITY = (
    "Changes need CAP_NET_ADMIN in the host's network and user namespace: in the agent's DaemonSet "
    "`capabilities: {add: [NET_ADMIN]}`, `hostNetwork: true` and `hostUsers: true`."
)
SWITCHDEV: Final = (
    "Put it there with `devlink dev eswitch set HANDLE mode switchdev`; that ends every function of the card."
)
_ROOM = "Delete sub-functions of this parent, or raise PF_TOTAL_SF; see `devlink resource show HANDLE`."
_NUMBER = "See `devlink port show`; a number is free again once the firmware has let go."
_FIRMWARE = (
    "The kernel needs CONFIG_MLX5_SF and the firmware PF_TOTAL_SF: `mlxconfig -d DEVICE set PER_PF_NUM_SF=1 ...`."
)

_ONE = "The function has its vDPA device already; see `vdpa dev show`."
_MANAGEMENT = "See `vdpa mgmtdev show`: it takes `enable_vnet` on the function, a reload, and the driver (mlx5_vdpa)."
_NAME = "The node has another device of that name; see `vdpa dev show`."
_LINK_NAME = "Another link has that name; see `ip link show`."
_LINK_UP = "Many drivers change the address, and old kernels the name, only of a link that is down."
_RATE = "mlx5 counts in 125000 bytes/s (1 Mbit/s), up to the speed of the link."

_Command: TypeAlias = Command | VdpaCommand | RouteMessage

_ANY: Final = None
_SILENT: Final = ""
_NEW: Final = Command.PORT_NEW


class _Row(NamedTuple):
    """A refusal that we know; HANDLE in its hint stands for the parent."""

    command: _Command | None
    errno: int | None
    text: str | None
    """A fragment of the kernel's text; `_SILENT` where it must have sent none."""
    error: type[KernelError]
    hint: str = ""

    def fits(self, command: _Command, number: int, text: str) -> bool:
        """Say whether a refusal is this one."""
        return (
            # By identity: commands of two families have the same numbers.
            (self.command is _ANY or self.command is command)
            and self.errno in {_ANY, number}
            and (self.text is _ANY or (self.text in text if self.text else not text))
        )


_ROWS: Final = (
    _Row(VdpaCommand.DEV_NEW, errno.ENODEV, _ANY, Gone, _MANAGEMENT),
    _Row(_ANY, errno.ENODEV, _ANY, Gone),
    _Row(_ANY, errno.EPERM, _ANY, NotPermitted, _CAPABILITY),
    _Row(_ANY, _ANY, "switchdev mode", NotSwitchdev, SWITCHDEV),
    _Row(_NEW, errno.ENOSPC, _ANY, Full, _ROOM),
    _Row(_NEW, errno.EEXIST, _ANY, NumberTaken, _NUMBER),  # mlx5
    _Row(_NEW, errno.EBUSY, _ANY, NumberTaken, _NUMBER),  # ice
    _Row(_NEW, errno.EOPNOTSUPP, _SILENT, SubFunctionsUnsupported, _FIRMWARE),
    _Row(_NEW, errno.EOPNOTSUPP, "SF ports are not supported", SubFunctionsUnsupported, _FIRMWARE),
    _Row(_ANY, errno.EBUSY, "still attached", StillAttached),
    _Row(Command.PORT_SET, errno.EBUSY, "detached state", StillAttached),  # ice
    _Row(VdpaCommand.DEV_NEW, errno.ENOSPC, _ANY, Full, _ONE),
    _Row(VdpaCommand.DEV_NEW, errno.EEXIST, _ANY, KernelError, _NAME),
    _Row(RouteMessage.SETLINK, errno.EBUSY, _ANY, KernelError, _LINK_UP),
    _Row(RouteMessage.SETLINK, errno.EEXIST, _ANY, KernelError, _LINK_NAME),
    _Row(Command.RATE_SET, errno.EINVAL, _ANY, Invalid, _RATE),
    _Row(_ANY, errno.EOPNOTSUPP, _ANY, Unsupported),
    _Row(_ANY, errno.EINVAL, _ANY, Invalid),
    _Row(_ANY, errno.EADDRNOTAVAIL, _ANY, Invalid),
)
"""The first row that fits is what the refusal means."""


def refusal(operation: str, command: _Command, error: KernelError) -> KernelError:
    """Give the error that a refusal of `command` means; `operation` is its shell twin, which names the parent."""
    row = next((row for row in _ROWS if row.fits(command, error.errno, error.text)), None)
    if row is None:
        return KernelError.refused(operation, error.errno, error.text)
    handle = next((word for word in operation.split() if "/" in word), "HANDLE")
    return row.error.refused(operation, error.errno, error.text, hint=row.hint.replace("HANDLE", handle))
