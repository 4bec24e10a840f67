"""The firmware knows a sub-function: what its port shows, and the states it goes through."""

import enum
import errno
from collections.abc import Callable
from typing import Protocol

from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.uapi import FUNCTION_CAP_ROCE, Attribute, FunctionAttribute
from subfunction_simulator.kernel.cards.driver import SubFunctionDriver
from subfunction_simulator.kernel.cards.event_queues import EventQueues
from subfunction_simulator.kernel.devlink.instance import Port
from subfunction_simulator.kernel.driver_core.auxiliary import AuxiliaryDevice
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, no_work
from subfunction_simulator.kernel.driver_traits import DriverTraits
from subfunction_simulator.kernel.faults import Operation
from subfunction_simulator.kernel.hardware import Hardware
from subfunction_simulator.kernel.netlink import wire
from subfunction_simulator.kernel.netlink.wire import Refusal
from subfunction_simulator.kernel.schedule import Kind
from subfunction_simulator.kernel.topology import Parent

_FIRMWARE_IO_EQS = 60
"""What the firmware gives a function that was not set, until mlx5 activates it."""
_DEFAULT_IO_EQS = 8
_UNSET = Mac(bytes(6))


class Vhca(enum.Enum):
    """The firmware says one of these of a function."""

    ALLOCATED = "allocated"
    ACTIVE = "active"
    IN_USE = "in use"
    TEARDOWN = "teardown request"
    LOST = "invalid"
    """The firmware took it away; mlx5 follows no such change, and its port shows what it showed before."""


class SubFunctionOwner(Protocol):
    """A physical function owns its sub-functions, and keeps what outlives each of them."""

    addresses: dict[int, Mac]
    """By slot of the firmware's table."""
    events: EventQueues
    """In which what the firmware asks of its functions waits its turn."""

    @property
    def traits(self) -> DriverTraits:
        """Give the traits of its driver."""

    @property
    def parent(self) -> Parent:
        """Tell how it is set up."""

    def forget(self, sub_function: "SubFunction") -> None:
        """Free a sub-function's place and number."""

    def new_device(self, probe: Callable[[], None], remove: Callable[[], PendingWork]) -> AuxiliaryDevice:
        """Make the auxiliary device of a sub-function."""


class SubFunction:
    """A sub-function outlives its port until its driver has let go."""

    def __init__(self, hardware: Hardware, nic: SubFunctionOwner, slot: int, number: int) -> None:
        self.hardware = hardware
        self.nic = nic
        self.traits = nic.traits
        self.parent = nic.parent
        self.slot = slot
        self.number = number
        if self.traits.random_mac:
            self.mac = hardware.netdevs.random_mac()
        self.managed = self.traits.parameters and self.parent.vhca_management
        self.supported = FUNCTION_CAP_ROCE if self.managed else 0
        self.capabilities = FUNCTION_CAP_ROCE
        self._io_eqs: int | None = None
        self.vhca = Vhca.ALLOCATED
        self.port: Port | None = None
        self.device: AuxiliaryDevice | None = None
        self.driver: SubFunctionDriver | None = None
        self.nested: Handle | None = None
        self.was_attached = False
        """Whether its driver ever held it."""

    @property
    def index(self) -> int:
        """Give the index of its port."""
        return self.port.index if self.port is not None else 0

    @property
    def mac(self) -> Mac:
        """Give the address that the port shows and the driver is given; all zero: it chooses one."""
        return self.nic.addresses.get(self.slot, _UNSET)

    @mac.setter
    def mac(self, mac: Mac) -> None:
        self.nic.addresses[self.slot] = mac

    @property
    def max_io_eqs(self) -> int:
        """Give how many event queues for I/O it may have."""
        return _FIRMWARE_IO_EQS if self._io_eqs is None else self._io_eqs

    @max_io_eqs.setter
    def max_io_eqs(self, number: int) -> None:
        self._io_eqs = number

    @property
    def roce(self) -> bool:
        """Say whether it may have an RDMA device."""
        return bool(self.capabilities & FUNCTION_CAP_ROCE)

    @property
    def active(self) -> bool:
        """Say whether the port shows `state active`."""
        return self.vhca in {Vhca.ACTIVE, Vhca.IN_USE, Vhca.LOST}

    @property
    def attached(self) -> bool:
        """Say whether the port shows `opstate attached`."""
        return self.vhca in {Vhca.IN_USE, Vhca.TEARDOWN, Vhca.LOST}

    def attributes(self) -> bytes:
        """Encode the nest PORT_FUNCTION."""
        attribute = FunctionAttribute
        parts = [wire.attribute(attribute.HW_ADDR, self.mac.octets)]
        if self.supported:
            parts.append(wire.bits(attribute.CAPS, self.capabilities & self.supported, self.supported))
        parts.append(wire.u8(attribute.STATE, self.active))
        parts.append(wire.u8(attribute.OPSTATE, self.attached))
        if self.hardware.topology.max_io_eqs and self.managed:
            parts.append(wire.u32(attribute.MAX_IO_EQS, self.max_io_eqs))
        if self.nested is not None and self.hardware.topology.nested_handles:
            bus, name = (
                wire.text(Attribute.BUS_NAME, self.nested.bus),
                wire.text(Attribute.DEV_NAME, self.nested.device),
            )
            parts.append(wire.flagged_nest(attribute.DEVLINK, bus, name))
        return wire.nest(Attribute.PORT_FUNCTION, *parts)

    def set_active(self, *, active: bool) -> None:
        """Ask the firmware for a state; one that it has already is no work."""
        if active == self.active:
            return
        if active:
            if self.vhca is Vhca.TEARDOWN:
                raise Refusal(errno.EBUSY, "mlx5_core: SF is inactivated but it is still attached")
            self._io_eqs = _DEFAULT_IO_EQS if self._io_eqs is None else self._io_eqs
            self.hardware.faults.strike(Operation.ACTIVATE)
            self.vhca = Vhca.ACTIVE
            if self.traits.synchronous:
                self._attach()
            else:
                self.hardware.schedule.after(self.hardware.timing.attach, Kind.ATTACH, self._enter)
        else:
            self.hardware.faults.strike(Operation.DEACTIVATE)
            if self.vhca is Vhca.LOST:
                raise Refusal(errno.EINVAL)
            self._tear_down()

    def lose_port(self) -> None:
        """Take note that the port is gone; the number is free once the driver has let go."""
        self.port = None
        if self.vhca is Vhca.ALLOCATED or (self.vhca is Vhca.LOST and self.device is None):
            self.nic.forget(self)
        elif self.vhca not in {Vhca.TEARDOWN, Vhca.LOST}:
            self._tear_down()

    def lose_parent(self) -> PendingWork:
        """Go at once, with the parent's driver."""
        self.port = None
        return self._detach()

    def driver_uses(self, *, used: bool) -> None:
        """Take note that a driver which stays bound gives the function back to the firmware, or takes it again."""
        if self.vhca in {Vhca.ACTIVE, Vhca.IN_USE}:
            self.vhca = Vhca.IN_USE if used else Vhca.ACTIVE

    def vanish(self) -> None:
        """Be lost by the firmware: the driver goes, and the port of an mlx5 one still says `active attached`."""
        if self.traits.synchronous:
            self._tear_down()
        else:
            self._end(Vhca.LOST)

    def _tear_down(self) -> None:
        self._end(Vhca.TEARDOWN)

    def _end(self, vhca: Vhca) -> None:
        self.vhca = vhca
        if self.traits.synchronous:
            self._detach()
        else:
            self.hardware.schedule.after(self.hardware.timing.detach, Kind.DETACH, self._leave)

    def _attach(self) -> PendingWork:
        if self.vhca is not Vhca.ACTIVE or self.device is not None:
            return no_work()  # it was asked to go before it came
        self.device = self.nic.new_device(self._probe, self._remove)
        shown = {"sfnum": self.number} if self.traits.shows_number else {}
        self.hardware.tree.directory(f"{self.device.path}/irqs")
        self.hardware.auxiliary.add(self.device, shown, f"MODALIAS=auxiliary:{self.device.kind}")
        return no_work()

    def _enter(self) -> None:
        self.nic.events.put(self.slot, self._attach)

    def _leave(self) -> None:
        self.nic.events.put(self.slot, self._detach)

    def _detach(self) -> PendingWork:
        work = self.hardware.auxiliary.remove(self.device) if self.device is not None else no_work()
        work.then(self._free)
        return work

    def _free(self) -> None:
        self.device = None
        if self.vhca is not Vhca.LOST:
            self.vhca = Vhca.ALLOCATED
        if self.port is None:
            self.nic.forget(self)

    def _probe(self) -> None:
        if self.device is None or self.vhca is not Vhca.ACTIVE:
            raise Refusal(errno.ENODEV)
        self.hardware.faults.strike(Operation.PROBE)
        self.driver = SubFunctionDriver(self.hardware, self, self.device)
        self.driver.register()
        self.was_attached = True
        self.nested = self.driver.handle
        self.hardware.attached += 1
        # Seen both ways on a real kernel: the last notification comes before the firmware says "in use", or after.
        early = self.hardware.attached % 2 == 1
        if early and self.port is not None:
            self.port.tell()
        self.vhca = Vhca.IN_USE
        if not early and self.port is not None:
            self.port.tell()

    def _remove(self) -> PendingWork:
        if self.driver is None:
            return no_work()
        work = self.driver.unregister()
        work.then(self._let_go)
        return work

    def _let_go(self) -> None:
        self.driver = self.nested = None
        if self.port is not None:
            self.port.tell()
        if self.vhca is Vhca.IN_USE:
            self.vhca = Vhca.ACTIVE
