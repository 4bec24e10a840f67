"""ice keeps its e-switch in its own way: what it says of ports, modes and reloads.

From drivers/net/ethernet/intel/ice, Linux 6.12, file and line at each; read there, never seen on hardware.
"""

import errno
from collections.abc import Collection
from typing import Protocol

from subfunction.kernel.uapi import EswitchMode
from subfunction_simulator.kernel.devlink.instance import EOPNOTSUPP
from subfunction_simulator.kernel.netlink.wire import EINVAL, Refusal


class UseAfterFreeError(Exception):
    """The real kernel's memory is corrupt from here on."""


class Represented(Protocol):
    """A sub-function has a representor, which the e-switch finds by the number of the sub-function's VSI."""

    @property
    def was_attached(self) -> bool:
        """Say whether its driver ever held it: only then has its VSI a number."""


class VsiIndexes:
    """A function's VSIs are numbered from 0, which is the function's own; ports have these numbers.

    The one that was freed last is dealt out first (ice_lib.c:615-647 `ice_vsi_alloc`, 440-466 `ice_vsi_free`).
    """

    def __init__(self) -> None:
        self._taken = {0}
        self._next = 1

    def take(self) -> int:
        """Take the next index."""
        index = self._next
        self._taken.add(index)
        self._next = next(each for each in range(len(self._taken) + 1) if each not in self._taken)
        return index

    def free(self, index: int) -> None:
        """Give an index back."""
        self._taken.discard(index)
        self._next = index


def require_room(others: Collection[Represented], *, uplink_bridged: bool) -> None:
    """Refuse a port beside one that was never attached, or a first one while the uplink is in a bridge.

    Two that were never attached have representors of the number 0 (ice_repr.c:388), since a VSI has its own from its
    first activation on (ice_eswitch.c:198-204), so that the second is not inserted (ice_eswitch.c:472,
    devlink/devlink_port.c:945-949). The first port sets the switch up (ice_eswitch.c:293-297, 456).
    """
    words = "ice: Failed to attach SF to eswitch"
    if uplink_bridged and not others:
        raise Refusal(EINVAL, words)
    if any(not other.was_attached for other in others):
        raise Refusal(errno.EBUSY, words)


def change_mode(mode: EswitchMode, virtual_functions: int) -> str:
    """Give what the driver says of a change of mode that succeeds (ice_eswitch.c:345-370)."""
    if virtual_functions:
        words = "Changing eswitch mode is allowed only if there is no VFs created"
        raise Refusal(EOPNOTSUPP, f"ice: {words}")
    return f"ice: Changed eswitch mode to {mode.name.lower()}"


def require_reload(mode: EswitchMode, virtual_functions: int) -> None:
    """Refuse to re-initialise a function that switches, or has virtual functions (devlink/devlink.c:478-493)."""
    if mode is EswitchMode.SWITCHDEV:
        raise Refusal(EOPNOTSUPP, "ice: Go to legacy mode before doing reinit")
    if virtual_functions:
        raise Refusal(EOPNOTSUPP, "ice: Remove all VFs before doing reinit")


def require_represented(*, stranded: bool) -> None:
    """End the test that deletes a port which legacy mode left behind.

    The e-switch forgot its representor (ice_eswitch.c:355), so that the port is freed and stays registered
    (devlink/devlink_port.c:590-593).
    """
    if stranded:
        raise UseAfterFreeError("ice frees a port that is registered still: it was left behind by legacy mode")
