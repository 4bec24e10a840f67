"""Maps a refusal of the kernel (command, errno and text) to a typed error with a hint.

The texts are those of Linux 6.12, which prefixes a driver's text with the driver's name.
"""

import errno
import re
from typing import Final, NamedTuple, TypeAlias

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
    SwitchdevRefused,
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
ICE_SWITCHDEV: Final = (
    "Put it there with `devlink dev eswitch set HANDLE mode switchdev` before it has virtual functions: ice refuses it"
    " while there are any. Never change the mode while `devlink port show` lists a sub-function (pcisf) of it."
)
_MODE = "The agent tries it again (`restore-switchdev`); see what prevents it in `dmesg`: a LAG, IPsec, a moved netdev."
_ROOM = "Delete sub-functions of this parent, or raise PF_TOTAL_SF; see `devlink resource show HANDLE`."
_INTERFACES = (
    "Delete sub-functions or virtual functions of this parent, which share its interfaces (VSIs); see `devlink port"
    " show`."
)
_VECTORS = (
    "Each sub-function of an E810 gets MSI-X vectors when it is made, and the kernel can add none on this machine: that"
    " is up to its interrupt controller, or its hypervisor. Try a newer kernel, and a machine that is not virtual."
)
_UNFINISHED = (
    "ice makes no port beside one whose function was never attached: look for `opstate detached` in `devlink port"
    " show`, and activate that one or delete it (`devlink port del HANDLE/INDEX`)."
)
_BRIDGED = (
    "ice makes no first port while the netdev of the parent is in a bridge: `ip link set UPLINK nomaster`. See `dmesg`."
)
# A reload of the PF resets no firmware, and its reporter stays in error, so that nothing recovers it later either.
_FATAL = (
    "See `devlink health show HANDLE`. `devlink health recover HANDLE reporter fw_fatal` brings the card back, in"
    " legacy mode and without its sub-functions. On Linux 7.3 reboot instead if one of them is active: there it blocks"
    " devlink for good."
)
_NUMBER = "See `devlink port show`; a number is free again once the firmware has let go."
_PF_NUMBER = (
    "Linux up to 7.1 wants the number of the parent's physical port, later ones that of its PCI function;"
    " see `devlink port show` and `lspci`."
)
_ROCE = "Set spec.capabilities.roce to false for an RDMA device without RoCE, or spec.mlx5.rdma to false for none."
_SIZE = (
    "See `devlink dev param show`. mlx5 takes 64 to 4096 for io_eq_size and event_eq_size, and for max_macs a power of"
    " 2 up to what the card's firmware has room for."
)
_LATE_RDMA = (
    "mlx5 answers so where mlx5_ib was loaded in switchdev mode: load it before (`/etc/modules-load.d`), or set the"
    " mode to legacy and back, which ends every function of the card."
)
_FIRMWARE = "The firmware needs PF_TOTAL_SF: `mlxconfig -d DEVICE set PER_PF_NUM_SF=1 ...`, and a cold boot."
_KERNEL = (
    "The driver was built without them: mlx5_core needs CONFIG_MLX5_SF, ice CONFIG_ICE_SWITCHDEV; see"
    " `zgrep -e MLX5_SF -e ICE_SWITCHDEV /proc/config.gz /boot/config-*`."
)

_ONE = "The function has its vDPA device already; see `vdpa dev show`."
_MANAGEMENT = "See `vdpa mgmtdev show`: it takes `enable_vnet` on the function, a reload, and the driver (mlx5_vdpa)."
_NAME = "The node has another device of that name; see `vdpa dev show`."
_LINK_NAME = "Another link has that name; see `ip link show`."
_LINK_UP = "Many drivers change the address, and old kernels the name, only of a link that is down."
_RATE = "mlx5 counts in 125000 bytes/s (1 Mbit/s), up to the speed of the link."

_HANDLE: Final = re.compile(r"\bpci/[0-9a-f.:]+")
"""A parent in the shell twin of an operation; a port's index comes after it."""

_Command: TypeAlias = Command | VdpaCommand | RouteMessage

_ANY: Final = None
_SILENT: Final = ""
_NEW: Final = Command.PORT_NEW


class _Row(NamedTuple):
    """A known refusal; HANDLE in its hint stands for the parent, where the operation names it."""

    command: _Command | None
    errno: int | None
    text: str | None
    """A fragment of the kernel's text; `_SILENT` where it must have sent none."""
    error: type[KernelError]
    hint: str = ""

    def fits(self, command: _Command, number: int, text: str) -> bool:
        """Return whether a refusal is this one."""
        return (
            # By identity: commands of different families have the same numbers.
            (self.command is _ANY or self.command is command)
            and self.errno in {_ANY, number}
            and (self.text is _ANY or (self.text in text if self.text else not text))
        )


_ROWS: Final = (
    _Row(_ANY, _ANY, "Failed getting HCA caps", CardFailed, _FATAL),  # mlx5
    _Row(_ANY, errno.ENOLINK, _ANY, CardFailed, _FATAL),  # mlx5
    # The reply is not too long: devlink shows so that the driver could not ask the firmware (net/devlink/port.c, 6.12).
    _Row(Command.PORT_GET, errno.EMSGSIZE, _ANY, CardFailed, _FATAL),
    _Row(_NEW, errno.EMSGSIZE, _ANY, CardFailed, _FATAL),
    _Row(VdpaCommand.DEV_NEW, errno.ENODEV, _ANY, Gone, _MANAGEMENT),
    _Row(_ANY, errno.ENODEV, _ANY, Gone),
    _Row(_ANY, errno.EPERM, _ANY, NotPermitted, _CAPABILITY),
    _Row(_NEW, _ANY, "ice: SF ports are only supported in eswitch switchdev mode", NotSwitchdev, ICE_SWITCHDEV),
    _Row(Command.ESWITCH_SET, _ANY, _ANY, SwitchdevRefused, _MODE),
    _Row(_ANY, _ANY, "switchdev mode", NotSwitchdev, SWITCHDEV),
    _Row(_NEW, errno.ENOSPC, _ANY, Full, _ROOM),
    _Row(_NEW, errno.ENOMEM, "Unable to allocate VSI", Full, _INTERFACES),  # ice
    _Row(_NEW, errno.EEXIST, _ANY, NumberTaken, _NUMBER),  # mlx5
    _Row(_NEW, errno.EBUSY, "already exists", NumberTaken, _NUMBER),  # ice
    _Row(_NEW, errno.EBUSY, "Failed to attach SF to eswitch", PortUnfinished, _UNFINISHED),  # ice
    _Row(_NEW, errno.EINVAL, "Failed to attach SF to eswitch", KernelError, _BRIDGED),  # ice
    _Row(_NEW, _ANY, "Invalid pfnum", PfNumberRefused, _PF_NUMBER),  # mlx5
    _Row(_NEW, _ANY, "Incorrect pfnum", PfNumberRefused, _PF_NUMBER),  # ice
    _Row(_NEW, errno.EINVAL, _SILENT, KernelError, _LATE_RDMA),
    _Row(_NEW, errno.EOPNOTSUPP, "interrupt allocation is not supported", SubFunctionsUnsupported, _VECTORS),  # ice
    _Row(_NEW, errno.EOPNOTSUPP, _SILENT, KernelWithoutSubFunctions, _KERNEL),
    _Row(_NEW, errno.EOPNOTSUPP, "SF ports are not supported", SubFunctionsUnsupported, _FIRMWARE),
    _Row(_ANY, errno.EBUSY, "still attached", StillAttached),
    _Row(Command.PORT_SET, errno.EBUSY, "detached state", StillAttached),  # ice
    _Row(VdpaCommand.DEV_NEW, errno.ENOSPC, _ANY, Full, _ONE),
    _Row(VdpaCommand.DEV_NEW, errno.EEXIST, _ANY, KernelError, _NAME),
    _Row(RouteMessage.SETLINK, errno.EBUSY, _ANY, KernelError, _LINK_UP),
    _Row(RouteMessage.SETLINK, errno.EEXIST, _ANY, KernelError, _LINK_NAME),
    _Row(Command.RATE_SET, errno.EINVAL, _ANY, Invalid, _RATE),
    _Row(Command.PARAM_SET, errno.EOPNOTSUPP, "doesn't support RoCE", Unsupported, _ROCE),
    _Row(Command.PARAM_SET, errno.EINVAL, _ANY, Invalid, _SIZE),
    _Row(_ANY, errno.EOPNOTSUPP, _ANY, Unsupported),
    _Row(_ANY, errno.EINVAL, _ANY, Invalid),
    _Row(_ANY, errno.EADDRNOTAVAIL, _ANY, Invalid),
)
"""The known refusals; the first row that fits decides."""


def error_for(operation: str, command: _Command, error: KernelError) -> KernelError:
    """Return the typed error for a refusal of `command`; `operation` is its shell twin, which names the parent."""
    row = next((row for row in _ROWS if row.fits(command, error.errno, error.text)), None)
    if row is None:
        return KernelError.refused(operation, error.errno, error.text)
    found = _HANDLE.search(operation)
    handle = found[0] if found else "HANDLE"
    return row.error.refused(operation, error.errno, error.text, hint=row.hint.replace("HANDLE", handle))


def reload_error(handle: str) -> CardFailed:
    """Return the error of a card whose last reload failed half-way: its driver is down, and it says legacy mode."""
    return CardFailed(
        f"the last reload of {handle} failed half-way, and its driver is down",
        errno=errno.ENOLINK,
        hint=f"See `dmesg`, and reload it again: `devlink dev reload {handle}`.",
    )


def fatal_error(handle: str) -> CardFailed:
    """Return the error of a card whose driver says that its firmware met a fatal error, and could not recover it."""
    return CardFailed(
        f"the firmware of {handle} met a fatal error, and its driver has not recovered it",
        errno=errno.ENOLINK,
        hint=_FATAL.replace("HANDLE", handle),
    )
