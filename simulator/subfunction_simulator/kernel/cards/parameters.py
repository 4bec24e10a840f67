"""The parameters of a sub-function's own devlink instance, as mlx5_core has them (devlink.c, Linux 6.12)."""

from typing import Final

from subfunction.kernel.parameter import ParameterValue
from subfunction_simulator.kernel.netlink.wire import EINVAL, Refusal

IO_EQ_SIZE: Final = "io_eq_size"
EVENT_EQ_SIZE: Final = "event_eq_size"
MAX_MACS: Final = "max_macs"

_DEFAULTS: Final = {IO_EQ_SIZE: 1024, EVENT_EQ_SIZE: 4096}
_SMALLEST_QUEUE: Final = 64
_LARGEST_QUEUE: Final = 4096
_MAC_LIMIT: Final = 128
"""What this card's firmware has room for, and the driver's default: `log_max_current_uc_list` is 7."""


def sizes(*, max_macs: bool) -> dict[str, ParameterValue]:
    """Give the sizes that a driver comes up with; `max_macs` says whether the firmware lets a driver choose it."""
    return {**_DEFAULTS, **({MAX_MACS: _MAC_LIMIT} if max_macs else {})}


def validate(name: str, value: ParameterValue) -> None:
    """Refuse a size as the driver does: one of a queue without a word.

    Raises:
        Refusal: EINVAL.
    """
    if name in _DEFAULTS and not _SMALLEST_QUEUE <= value <= _LARGEST_QUEUE:
        raise Refusal(EINVAL)
    if name != MAX_MACS:
        return
    if value == 0:
        raise Refusal(EINVAL, "mlx5_core: max_macs value must be greater than 0")
    if value & (value - 1):
        raise Refusal(EINVAL, "mlx5_core: Only power of 2 values are supported for max_macs")
    if value > _MAC_LIMIT:
        raise Refusal(EINVAL, "mlx5_core: max_macs value is out of the supported range")
