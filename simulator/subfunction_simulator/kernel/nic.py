"""A physical function and its driver: the devlink instance that sub-functions are made on."""

import errno
from collections.abc import Callable
from functools import partial

from subfunction.kernel.uapi import Command, EswitchMode, PortFlavour
from subfunction_simulator.kernel.auxiliary import AuxiliaryDevice
from subfunction_simulator.kernel.checks import checked
from subfunction_simulator.kernel.faults import Operation
from subfunction_simulator.kernel.instance import EOPNOTSUPP, Instance, Port
from subfunction_simulator.kernel.machine import Machine
from subfunction_simulator.kernel.manners import manners_of
from subfunction_simulator.kernel.netdev import Looks
from subfunction_simulator.kernel.nodes import lowest_free
from subfunction_simulator.kernel.rate import Rates
from subfunction_simulator.kernel.rdma import RdmaDevice
from subfunction_simulator.kernel.subfunction import SubFunction
from subfunction_simulator.kernel.topology import Parent
from subfunction_simulator.kernel.virtualport import VirtualPort
from subfunction_simulator.kernel.wire import Attributes, Refusal
from subfunction_simulator.kernel.work import Work, done, one_after_another

_FIRST_SUB_FUNCTION = 0x8000
_UPLINK = 0xFFFF
_EVENT_QUEUES = 4
"""How many queues mlx5 spreads the events of its functions over, by the function's id."""


class Nic(Instance):
    """A PF with the manners of its driver."""

    def __init__(self, machine: Machine, parent: Parent) -> None:
        super().__init__(parent.handle, machine.announcer)
        self._machine = machine
        self.parent = parent
        self.manners = manners_of(parent.driver)
        self.mode = parent.mode
        self.rates = Rates(self, parent.link_speed) if self.manners.rates else None
        self.sub_functions: dict[int, SubFunction] = {}
        """By slot of the firmware's table; one whose port is deleted stays until its driver has let go."""
        self._vhca_id = machine.next_vhca_id()
        self._rdma: RdmaDevice | None = None
        self._queues = [done()] * _EVENT_QUEUES

    @property
    def driver(self) -> str:
        """The driver's name."""
        return self.manners.driver

    @property
    def _switch_id(self) -> str | None:
        """What the uplink says of its switch, which there is in one mode alone."""
        return self.parent.switch_id if self.mode is EswitchMode.SWITCHDEV else None

    def numbers(self) -> set[int]:
        """Give the numbers that are taken."""
        return {each.number for each in self.sub_functions.values()}

    def register(self) -> None:
        """Begin: instance, uplink, RDMA device."""
        self._machine.instances[self.handle] = self
        self.tell(Command.NEW)
        port = Port(self, self._vhca_id << 16 | _UPLINK, PortFlavour.PHYSICAL, number=self.parent.pf)
        self.ports[port.index] = port
        port.tell()
        looks = Looks(
            name=self.parent.netdev,
            phys_port_name=f"p{self.parent.pf}",
            switch_id=self._switch_id,
        )
        port.appear(self._machine.netdevs.add(self.parent.path, port, looks))
        self.show_rdma()
        self._add_virtual_ports()

    def unregister(self) -> Work:
        """End; every sub-function goes with it, first."""
        work = self._drop_sub_functions()
        work.then(self._end)
        return work

    def _end(self) -> None:
        self.hide_rdma()
        for port in tuple(self.ports.values()):
            self._remove(port)
        del self._machine.instances[self.handle]
        self.tell(Command.DEL)

    def show_rdma(self) -> None:
        """Make the RDMA device, where there is a driver for it."""
        if self._rdma is None and self.manners.parameters and self._machine.auxiliary.has_driver("mlx5_ib.rdma"):
            self._rdma = self._machine.rdma.add(self.parent.path, self.parent.netdev)

    def hide_rdma(self) -> None:
        """Take the RDMA device away."""
        if self._rdma is not None:
            self._machine.rdma.remove(self._rdma)
            self._rdma = None

    def new_port(self, attributes: Attributes, /) -> Port:
        """Create a sub-function's port, or refuse it in the driver's order and words."""
        self._machine.faults.strike(Operation.PORT_NEW)
        number = checked(self, attributes)
        slot = lowest_free(set(self.sub_functions))
        if slot >= self.parent.capacity:
            raise Refusal(errno.ENOSPC)
        sub_function = SubFunction(self._machine, self, slot, number)
        self.sub_functions[slot] = sub_function
        index = self._vhca_id << 16 | _FIRST_SUB_FUNCTION + slot
        port = Port(self, index, PortFlavour.PCI_SF, pf=self.parent.pf, sub_function=sub_function)
        sub_function.port = port
        self._appear(port, f"pf{self.parent.pf}sf{number}")
        return port

    def _appear(self, port: Port, phys_port_name: str) -> None:
        self.ports[port.index] = port
        port.tell()
        if self.rates is not None:
            self.rates.add_leaf(port)
        looks = Looks(phys_port_name=phys_port_name, switch_id=self.parent.switch_id)
        port.appear(self._machine.netdevs.add(self.parent.path, port, looks))

    def new_device(self, probe: Callable[[], None], remove: Callable[[], Work]) -> AuxiliaryDevice:
        """Make the auxiliary device of a sub-function, which has the lowest free number of its pool."""
        kind = f"{self.manners.driver}.sf"
        first = self.manners.first_index
        if self.manners.physical_children:
            # mlx5 numbers its PFs' own children from the same pool, first come first served.
            first += sum(manners_of(parent.driver).physical_children for parent in self._machine.topology.parents)
        taken = {device.index for device in self._machine.auxiliary if device.kind == kind}
        return AuxiliaryDevice(kind, lowest_free(taken, first), self.parent.path, probe, remove)

    def delete_port(self, port: Port, /) -> None:
        """Delete a sub-function's port, active or not."""
        if port.sub_function is None:
            raise Refusal(EOPNOTSUPP)
        self._machine.faults.strike(Operation.PORT_DELETE)
        self._remove(port)
        port.sub_function.port_deleted()

    def in_turn(self, sub_function: SubFunction, begin: Callable[[], Work]) -> None:
        """Do what the firmware asks for: a function that cannot go holds up the others of its event queue."""
        queue = sub_function.slot % _EVENT_QUEUES
        self._queues[queue] = self._queues[queue].after(begin)

    def forget(self, sub_function: SubFunction) -> None:
        """Free a sub-function's place and number."""
        if self.sub_functions.get(sub_function.slot) is sub_function:
            del self.sub_functions[sub_function.slot]

    def eswitch_mode(self) -> EswitchMode:
        """Read the mode."""
        return self.mode

    def set_eswitch_mode(self, mode: EswitchMode, /) -> None:
        """Change the mode; legacy ends every sub-function. Nobody is told of the mode itself."""
        if mode is self.mode:
            return
        self._machine.faults.strike(Operation.ESWITCH_SET)
        if self.rates is not None and self.rates.nodes:
            raise Refusal(errno.EBUSY, "Rate node(s) exists.")
        if mode is EswitchMode.LEGACY:
            self._machine.finish(self._drop_sub_functions())
            for port in tuple(self.ports.values()):
                if port.virtual is not None:
                    self._remove(port)
        self.mode = mode
        for port in self.ports.values():
            if port.flavour is PortFlavour.PHYSICAL and port.netdev is not None:
                self._machine.netdevs.set_switch(port.netdev, self._switch_id)
        self._add_virtual_ports()

    def resources(self) -> dict[str, int]:
        """Give what the firmware has room for."""
        if not self.parent.sub_functions or not self.manners.parameters:
            return super().resources()
        return {"max_local_SFs": self.parent.capacity, "max_external_SFs": 0}

    def reload(self) -> None:
        """Re-initialise; every sub-function goes."""
        self._machine.faults.strike(Operation.RELOAD)
        self._machine.finish(self._drop_sub_functions())

    def _add_virtual_ports(self) -> None:
        """Show the virtual functions as ports, which they are to a switch alone."""
        if self.mode is EswitchMode.SWITCHDEV:
            for index in range(self.parent.virtual_functions):
                virtual = VirtualPort(index, managed=self.parent.vhca_management and self.manners.parameters)
                number = self._vhca_id << 16 | index + 1
                port = Port(self, number, PortFlavour.PCI_VF, pf=self.parent.pf, virtual=virtual)
                self._appear(port, f"pf{self.parent.pf}vf{index}")

    def _drop_sub_functions(self) -> Work:
        for sub_function in tuple(self.sub_functions.values()):
            if sub_function.port is not None:
                self._remove(sub_function.port)
        lost = tuple(self.sub_functions.values())
        work = one_after_another(partial(SubFunction.lose_parent, sub_function) for sub_function in lost)
        self.gate.shut_during(work)
        return work

    def _remove(self, port: Port) -> None:
        netdev = port.disappear()
        if netdev is not None:
            self._machine.netdevs.remove(netdev)
        if self.rates is not None:
            self.rates.remove_leaf(port)
        del self.ports[port.index]
        port.tell(Command.PORT_DEL)
