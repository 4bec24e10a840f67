"""The auxiliary bus has sub-functions, and what a sub-function is made of."""

from collections.abc import Callable
from typing import TypeAlias

from subfunction_simulator.kernel.driver_core.bus import Bus, Device
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork


class AuxiliaryDevice(Device):
    """An auxiliary device is named `<kind>.<index>`; its maker says what a driver does with it."""

    def __init__(
        self, kind: str, index: int, parent: str, probe: Callable[[], None], remove: Callable[[], PendingWork]
    ) -> None:
        super().__init__(f"{kind}.{index}", f"{parent}/{kind}.{index}")
        self.kind = kind
        self.index = index
        self.probe = probe
        self.remove = remove


AuxiliaryBus: TypeAlias = Bus[AuxiliaryDevice]


class AuxiliaryDriver:
    """A driver takes devices of one kind."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self._kind = kind

    def matches(self, device: AuxiliaryDevice, /) -> bool:
        """Say whether the device is of that kind."""
        return device.kind == self._kind

    def probe(self, device: AuxiliaryDevice, /) -> None:
        """Take a device."""
        device.probe()

    def remove(self, device: AuxiliaryDevice, /) -> PendingWork:
        """Let go of a device."""
        return device.remove()
