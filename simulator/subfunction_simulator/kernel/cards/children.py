"""mlx5 makes auxiliary devices of a function: one of each kind, all with one number."""

from collections.abc import Callable
from functools import partial

from subfunction.kernel.address import Handle
from subfunction_simulator.kernel.driver_core.auxiliary import AuxiliaryBus, AuxiliaryDevice
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, one_after_another


class Children:
    """The children of one function stand in its directory (`mlx5_core.eth.0`)."""

    def __init__(self, bus: AuxiliaryBus, driver: str, number: int, path: str) -> None:
        self._bus = bus
        self._driver = driver
        self._number = number
        self._path = path
        self._present: dict[str, AuxiliaryDevice] = {}

    def handle(self, kind: str) -> Handle:
        """Give the devlink handle that a child has, where it has an instance."""
        return Handle("auxiliary", f"{self._driver}.{kind}.{self._number}")

    def add(self, kind: str, probe: Callable[[], None], remove: Callable[[], PendingWork]) -> None:
        """Add a child; its driver probes it now, or when it is loaded."""
        name = f"{self._driver}.{kind}"
        self._present[kind] = child = AuxiliaryDevice(name, self._number, self._path, probe, remove)
        self._bus.add(child, {}, f"MODALIAS=auxiliary:{name}")

    def remove(self, *kinds: str) -> PendingWork:
        """Take children away, all where none is named; the last first: a user of a vDPA device can hold that one up."""
        going = [self._present.pop(kind) for kind in tuple(self._present)[::-1] if kind in kinds or not kinds]
        return one_after_another(partial(self._bus.remove, child) for child in going)
