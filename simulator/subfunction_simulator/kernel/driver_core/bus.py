"""A bus of the driver core has devices and drivers, and knows which driver has which device."""

import contextlib
import errno
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from subfunction_simulator.kernel.driver_core.devices import Devices
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, no_work, one_after_another
from subfunction_simulator.kernel.netlink.wire import Refusal

_NO_OVERRIDE: Final = "(null)"


class Device:
    """A device stands on a bus; `override` is what user space wrote to `driver_override`."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self.bound: Driver[Any] | None = None
        self.override: str | None = None
        self.words: tuple[str, ...] = ()
        """What its bus says of it in every uevent (`MODALIAS=...`)."""
        self.removal = no_work()
        """The work of a driver that lets go; until it is over, the device's own lock is held."""
        self.leaving = False
        """Whether it is being taken away: the bus has forgotten it, its directory stands until its driver let go."""

    @property
    def driver(self) -> str | None:
        """Give the name of the driver that the link `driver` shows."""
        return self.bound.name if self.bound is not None and self.removal.over else None


D = TypeVar("D", bound=Device)
D_contra = TypeVar("D_contra", bound=Device, contravariant=True)


class Driver(Protocol[D_contra]):
    """A bus asks these things of a driver."""

    @property
    def name(self) -> str:
        """Give its name below `drivers/`."""

    def matches(self, device: D_contra, /) -> bool:
        """Say whether it takes a device such as this one, its `driver_override` aside."""

    def probe(self, device: D_contra, /) -> None:
        """Take a device.

        Raises:
            Refusal: it cannot, and leaves the device as it was.
        """

    def remove(self, device: D_contra, /) -> PendingWork:
        """Let go of a device, which may wait for its users."""


class Bus(Generic[D]):
    """A bus tries its drivers in the order of their registration."""

    def __init__(self, name: str, devices: Devices, *, overridable: bool = False) -> None:
        self.name = name
        self.autoprobe = True
        self._devices = devices
        self._tree = devices.tree
        self._overridable = overridable
        self._present: dict[str, D] = {}
        self._drivers: dict[str, Driver[D]] = {}
        self._tree.directory(f"bus/{name}/devices")
        self._tree.trigger(f"bus/{name}/drivers_probe", lambda text: self.probe(self._find_named(text)))
        self._tree.attribute(f"bus/{name}/drivers_autoprobe", 1, on_write=self._switch)

    def __iter__(self) -> Iterator[D]:
        return iter(tuple(self._present.values()))

    def find(self, name: str) -> D | None:
        """Give the device of that name."""
        return self._present.get(name)

    def has_driver(self, name: str) -> bool:
        """Say whether a driver of that name is registered."""
        return name in self._drivers

    def register(self, driver: Driver[D]) -> None:
        """Register a driver; devices that have none are offered to it."""
        self._drivers[driver.name] = driver
        path = f"bus/{self.name}/drivers/{driver.name}"
        self._tree.trigger(f"{path}/bind", lambda text: self.bind(self._find_named(text), driver))
        self._tree.trigger(f"{path}/unbind", lambda text: self._unbind(self._find_named(text), driver))
        if self.autoprobe:
            for device in self:
                self.probe(device)
        self._devices.tell("add", path, "drivers")

    def unregister(self, name: str) -> PendingWork:
        """Take a driver off its devices, and away."""
        driver = self._drivers.pop(name)
        bound = [device for device in self if device.bound is driver]
        whole = one_after_another(partial(self.unbind, device) for device in bound)
        path = f"bus/{self.name}/drivers/{name}"
        whole.then(lambda: self._tree.bury(path))
        whole.then(lambda: self._devices.tell("remove", path, "drivers"))
        return whole

    def add(self, device: D, attributes: Mapping[str, str | int] = {}, *more: str) -> None:
        """Add a device, and offer it to the drivers."""
        self._present[device.name] = device
        device.words = more
        if self._overridable:
            path = f"{device.path}/driver_override"
            self._tree.attribute(path, _NO_OVERRIDE, on_write=lambda text: self._override(device, text))
        self._devices.add(device.path, f"bus/{self.name}", attributes, *more)
        if self.autoprobe:
            self.probe(device)

    def remove(self, device: D) -> PendingWork:
        """Take a device away, once its driver has let go."""
        device.leaving = True
        self._devices.detach(device.path, f"bus/{self.name}")
        work = self.unbind(device)
        work.then(lambda: self._forget(device))
        return work

    def bind(self, device: D, driver: Driver[D]) -> PendingWork:
        """Let one driver take a device (`echo NAME > .../bind`).

        Raises:
            Refusal: it is not for this driver, has one, or the driver cannot take it.
        """
        if not self._fits(device, driver):
            raise Refusal(errno.ENODEV)
        if device.bound is not None:
            raise Refusal(errno.EBUSY)
        self._take(device, driver)
        return no_work()

    def probe(self, device: D) -> PendingWork:
        """Offer a device to the drivers (`echo NAME > .../drivers_probe`); that none takes it is no error."""
        work = PendingWork()
        device.removal.then(lambda: self._offer(device))
        device.removal.then(work.end)
        return work

    def unbind(self, device: D) -> PendingWork:
        """Take the driver off a device: its link goes at once, the driver once the device has no user."""
        driver = device.bound
        if driver is None or not device.removal.over:
            return device.removal
        device.removal = work = PendingWork()
        self._tree.unlink(f"{device.path}/driver")
        self._tree.unlink(f"bus/{self.name}/drivers/{driver.name}/{device.name}")
        driver.remove(device).then(lambda: self._release(device, work))
        return work

    def _unbind(self, device: D, driver: Driver[D]) -> PendingWork:
        if device.bound is not driver:
            raise Refusal(errno.ENODEV)
        return self.unbind(device)

    def _release(self, device: D, work: PendingWork) -> None:
        device.bound = None
        self._devices.tell("unbind", device.path, f"bus/{self.name}", *device.words)
        work.end()

    def _forget(self, device: D) -> None:
        if self._present.get(device.name) is device:
            del self._present[device.name]
            self._devices.remove(device.path, f"bus/{self.name}", *device.words)

    def _offer(self, device: D) -> None:
        if device.leaving:
            return  # it went while its driver was waited for
        for driver in tuple(self._drivers.values()):
            if device.bound is None and self._fits(device, driver):
                with contextlib.suppress(Refusal):  # the next driver may try its luck
                    self._take(device, driver)

    def _take(self, device: D, driver: Driver[D]) -> None:
        link, back = f"{device.path}/driver", f"bus/{self.name}/drivers/{driver.name}/{device.name}"
        self._tree.link(link, f"bus/{self.name}/drivers/{driver.name}")
        self._tree.link(back, device.path)
        try:
            driver.probe(device)
        except Refusal:
            self._tree.unlink(link)
            self._tree.unlink(back)
            raise
        device.bound = driver
        self._devices.tell("bind", device.path, f"bus/{self.name}", f"DRIVER={driver.name}", *device.words)

    def _fits(self, device: D, driver: Driver[D]) -> bool:
        return driver.name == device.override if device.override is not None else driver.matches(device)

    def _find_named(self, text: str) -> D:
        device = self._present.get(text)
        if device is None or device.leaving:
            raise Refusal(errno.ENODEV)
        return device

    def _override(self, device: D, text: str) -> PendingWork:
        def override() -> None:
            device.override = text if text not in {"", _NO_OVERRIDE} else None
            if not text and not device.leaving:
                self._tree.directory(device.path, {"driver_override": _NO_OVERRIDE})

        work = PendingWork()
        device.removal.then(override)
        device.removal.then(work.end)
        return work

    def _switch(self, text: str) -> None:
        self.autoprobe = text != "0"
