"""Detects a function that the firmware took away: its port still shows it, and must be made again. Pure."""

from typing import Final

from subfunction.kernel.port import Port
from subfunction_operator.agent.flavours.drivers import DriverProfile
from subfunction_operator.agent.model.observation import Observation, RetryState

_GRACE: Final = 2.0
"""Seconds of waiting after which an attached function without a device counts as lost."""


def may_be_lost(port: Port, seen: Observation, driver: DriverProfile) -> bool:
    """Return whether a function shows `attached` and has no device, although the device comes before `attached`."""
    function = port.function
    attached = function is not None and function.active and function.attached
    return driver.loses_functions and attached and seen.auxiliary is None


def is_lost(port: Port, seen: Observation, driver: DriverProfile, memory: RetryState) -> bool:
    """Return whether the firmware took a function away: it has been without a device for long enough."""
    return may_be_lost(port, seen, driver) and memory.waited >= _GRACE
