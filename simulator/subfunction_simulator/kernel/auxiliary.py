"""The auxiliary bus: devices with a number of the bus's own, lowest free first, and their drivers' links."""

import dataclasses
from collections.abc import Callable

from subfunction_simulator.kernel.topology import DRIVER
from subfunction_simulator.kernel.tree import Tree

SF_DRIVER = f"{DRIVER}.sf"


@dataclasses.dataclass(slots=True, eq=False)
class AuxiliaryDevice:
    """A sub-function's device; `probe` and `remove` are its driver's."""

    name: str
    index: int
    path: str
    probe: Callable[[], bool]
    remove: Callable[[], None]
    bound: bool = False


class AuxiliaryBus:
    """The bus of the node."""

    def __init__(self, tree: Tree, first_index: int) -> None:
        self._tree = tree
        self._first_index = first_index
        self._devices: list[AuxiliaryDevice] = []
        self._driver = f"bus/auxiliary/drivers/{SF_DRIVER}"
        tree.directory("bus/auxiliary/devices")
        self._written("bind", self.bind)
        self._written("unbind", self.unbind)

    def add(self, parent: str, number: int, probe: Callable[[], bool], remove: Callable[[], None]) -> AuxiliaryDevice:
        """Add a sub-function's device below `parent`; it is not bound yet."""
        taken = {device.index for device in self._devices}
        index = next(i for i in range(self._first_index, self._first_index + len(taken) + 1) if i not in taken)
        name = f"{SF_DRIVER}.{index}"
        device = AuxiliaryDevice(name, index, f"{parent}/{name}", probe, remove)
        self._devices.append(device)
        self._tree.directory(device.path, {"sfnum": number, "uevent": f"MODALIAS=auxiliary:{SF_DRIVER}"})
        self._tree.directory(f"{device.path}/irqs")
        self._tree.link(f"{device.path}/subsystem", "bus/auxiliary")
        self._tree.link(f"bus/auxiliary/devices/{name}", device.path)
        return device

    def remove(self, device: AuxiliaryDevice) -> None:
        """Unbind a device and take it away."""
        self._unbind(device)
        self._devices.remove(device)
        self._tree.unlink(f"bus/auxiliary/devices/{device.name}")
        self._tree.bury(device.path)

    def bind(self, name: str) -> None:
        """Let the driver probe a device (`echo name > .../bind`); a failed probe leaves it unbound."""
        device = self.find(name)
        if device is not None and not device.bound and device.probe():
            device.bound = True
            self._tree.link(f"{device.path}/driver", self._driver)
            self._tree.link(f"{self._driver}/{name}", device.path)

    def unbind(self, name: str) -> None:
        """Take the driver off a device (`echo name > .../unbind`)."""
        device = self.find(name)
        if device is not None:
            self._unbind(device)

    def find(self, name: str) -> AuxiliaryDevice | None:
        """Give the device of that name."""
        return next((device for device in self._devices if device.name == name), None)

    def _unbind(self, device: AuxiliaryDevice) -> None:
        if device.bound:
            device.bound = False
            device.remove()
            self._tree.unlink(f"{device.path}/driver")
            self._tree.unlink(f"{self._driver}/{device.name}")

    def _written(self, file: str, act: Callable[[str], None]) -> None:
        def hear(name: str) -> None:
            if name:
                act(name)
                # Nothing stays in it, so that a shorter name written next is not followed by the end of this one.
                self._tree.directory(self._driver, {file: ""})

        self._tree.attribute(f"{self._driver}/{file}", "", on_write=hear)
