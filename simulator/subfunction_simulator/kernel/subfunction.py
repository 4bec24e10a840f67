"""A sub-function as the firmware knows it: what its port shows, and the states it goes through."""

import enum
import errno
from typing import TYPE_CHECKING

from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.uapi import FUNCTION_CAP_ROCE, Attribute, FunctionAttribute
from subfunction_simulator.kernel import wire
from subfunction_simulator.kernel.auxiliary import AuxiliaryDevice
from subfunction_simulator.kernel.driver import SubFunctionDriver
from subfunction_simulator.kernel.faults import Operation
from subfunction_simulator.kernel.instance import Port
from subfunction_simulator.kernel.machine import Machine
from subfunction_simulator.kernel.schedule import Kind
from subfunction_simulator.kernel.wire import Refusal
from subfunction_simulator.kernel.work import Work, done

if TYPE_CHECKING:
    from subfunction_simulator.kernel.nic import Nic

_DEFAULT_IO_EQS = 8


class Vhca(enum.Enum):
    """What the firmware says of a function."""

    ALLOCATED = "allocated"
    ACTIVE = "active"
    IN_USE = "in use"
    TEARDOWN = "teardown request"


class SubFunction:
    """One sub-function; it outlives its port until its driver has let go."""

    def __init__(self, machine: Machine, nic: "Nic", slot: int, number: int) -> None:
        self.machine = machine
        self.nic = nic
        self.slot = slot
        self.number = number
        self.mac = machine.netdevs.random_mac() if nic.manners.random_mac else Mac(bytes(6))
        self.managed = nic.manners.parameters and nic.parent.vhca_management
        self.supported = FUNCTION_CAP_ROCE if self.managed else 0
        self.capabilities = FUNCTION_CAP_ROCE
        self.max_io_eqs = _DEFAULT_IO_EQS
        self.vhca = Vhca.ALLOCATED
        self.port: Port | None = None
        self.device: AuxiliaryDevice | None = None
        self.driver: SubFunctionDriver | None = None
        self.nested: Handle | None = None

    @property
    def roce(self) -> bool:
        """Whether it may have an RDMA device."""
        return bool(self.capabilities & FUNCTION_CAP_ROCE)

    @property
    def active(self) -> bool:
        """What the port calls `state active`."""
        return self.vhca in {Vhca.ACTIVE, Vhca.IN_USE}

    @property
    def attached(self) -> bool:
        """What the port calls `opstate attached`."""
        return self.vhca in {Vhca.IN_USE, Vhca.TEARDOWN}

    def attributes(self) -> bytes:
        """Encode the nest PORT_FUNCTION."""
        attribute = FunctionAttribute
        parts = [wire.attribute(attribute.HW_ADDR, self.mac.octets)]
        if self.supported:
            parts.append(wire.bits(attribute.CAPS, self.capabilities & self.supported, self.supported))
        parts.append(wire.u8(attribute.STATE, self.active))
        parts.append(wire.u8(attribute.OPSTATE, self.attached))
        if self.machine.topology.max_io_eqs and self.managed:
            parts.append(wire.u32(attribute.MAX_IO_EQS, self.max_io_eqs))
        if self.nested is not None and self.machine.topology.nested_handles:
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
            self.machine.faults.strike(Operation.ACTIVATE)
            self.vhca = Vhca.ACTIVE
            if self.nic.manners.synchronous:
                self._attach()
            else:
                self.machine.schedule.after(self.machine.timing.attach, Kind.ATTACH, self._enter)
        else:
            self.machine.faults.strike(Operation.DEACTIVATE)
            self._tear_down()

    def port_deleted(self) -> None:
        """Take note that the port is gone; the number is free once the driver has let go."""
        self.port = None
        if self.vhca is Vhca.ALLOCATED:
            self.nic.forget(self)
        elif self.vhca is not Vhca.TEARDOWN:
            self._tear_down()

    def lose_parent(self) -> Work:
        """Go at once, with the parent's driver."""
        self.port = None
        return self._detach()

    def vanish(self) -> None:
        """Be lost by the firmware: the driver goes, the port says that nothing was ever active."""
        self._tear_down()

    def _tear_down(self) -> None:
        self.vhca = Vhca.TEARDOWN
        if self.nic.manners.synchronous:
            self._detach()
        else:
            self.machine.schedule.after(self.machine.timing.detach, Kind.DETACH, self._leave)

    def _attach(self) -> Work:
        if self.vhca is not Vhca.ACTIVE or self.device is not None:
            return done()  # it was asked to go before it came
        self.device = self.nic.new_device(self._probe, self._remove)
        shown = {"sfnum": self.number} if self.nic.manners.shows_number else {}
        self.machine.tree.directory(f"{self.device.path}/irqs")
        self.machine.auxiliary.add(self.device, shown, f"MODALIAS=auxiliary:{self.device.kind}")
        return done()

    def _enter(self) -> None:
        self.nic.in_turn(self, self._attach)

    def _leave(self) -> None:
        self.nic.in_turn(self, self._detach)

    def _detach(self) -> Work:
        work = self.machine.auxiliary.remove(self.device) if self.device is not None else done()
        work.then(self._freed)
        return work

    def _freed(self) -> None:
        self.device = None
        self.vhca = Vhca.ALLOCATED
        if self.port is None:
            self.nic.forget(self)

    def _probe(self) -> None:
        if self.device is None or self.vhca is not Vhca.ACTIVE:
            raise Refusal(errno.ENODEV)
        self.machine.faults.strike(Operation.PROBE)
        self.driver = SubFunctionDriver(self.machine, self, self.device)
        self.driver.register()
        self.nested = self.driver.handle
        self.machine.attached += 1
        # Seen both ways on a real kernel: the last notification comes before the firmware says "in use", or after.
        early = self.machine.attached % 2 == 1
        if early and self.port is not None:
            self.port.tell()
        self.vhca = Vhca.IN_USE
        if not early and self.port is not None:
            self.port.tell()

    def _remove(self) -> Work:
        if self.driver is None:
            return done()
        work = self.driver.unregister()
        work.then(self._let_go)
        return work

    def _let_go(self) -> None:
        self.driver = self.nested = None
        if self.port is not None:
            self.port.tell()
        if self.vhca is Vhca.IN_USE:
            self.vhca = Vhca.ACTIVE
