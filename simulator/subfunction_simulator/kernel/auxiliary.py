"""The auxiliary bus: sub-functions, and what a sub-function is made of."""

from collections.abc import Callable
from typing import TypeAlias

from subfunction_simulator.kernel.bus import Bus, Device
from subfunction_simulator.kernel.work import Work


class AuxiliaryDevice(Device):
    """One device, `<kind>.<index>`; what its driver does with it is its maker's to say."""

    def __init__(
        self, kind: str, index: int, parent: str, probe: Callable[[], None], remove: Callable[[], Work]
    ) -> None:
        super().__init__(f"{kind}.{index}", f"{parent}/{kind}.{index}")
        self.kind = kind
        self.index = index
        self.probe = probe
        self.remove = remove


AuxiliaryBus: TypeAlias = Bus[AuxiliaryDevice]


class AuxiliaryDriver:
    """A driver, which takes devices of one kind."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self._kind = kind

    def matches(self, device: AuxiliaryDevice, /) -> bool:
        """Whether the device is of that kind."""
        return device.kind == self._kind

    def probe(self, device: AuxiliaryDevice, /) -> None:
        """Take a device."""
        device.probe()

    def remove(self, device: AuxiliaryDevice, /) -> Work:
        """Let go of a device."""
        return device.remove()
