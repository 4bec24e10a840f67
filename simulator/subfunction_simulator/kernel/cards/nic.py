"""A physical function and its driver have the devlink instance that sub-functions are made on."""

import errno
from collections.abc import Callable
from functools import partial

from subfunction.kernel.address import Mac
from subfunction.kernel.uapi import Command, EswitchMode, PortFlavour
from subfunction_simulator.kernel.cards import ice_eswitch
from subfunction_simulator.kernel.cards.ethernet import Ethernet, Face
from subfunction_simulator.kernel.cards.event_queues import EventQueues
from subfunction_simulator.kernel.cards.health import FATAL, Health
from subfunction_simulator.kernel.cards.pcichildren import PciChildren
from subfunction_simulator.kernel.cards.port_add_validation import full, validate_port_add
from subfunction_simulator.kernel.cards.subfunction import SubFunction
from subfunction_simulator.kernel.devlink.instance import EOPNOTSUPP, Instance, Port
from subfunction_simulator.kernel.devlink.rate import Rates
from subfunction_simulator.kernel.devlink.virtualport import VirtualPort
from subfunction_simulator.kernel.driver_core.auxiliary import AuxiliaryDevice
from subfunction_simulator.kernel.driver_core.nodes import lowest_free
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, one_after_another
from subfunction_simulator.kernel.driver_traits import traits_of
from subfunction_simulator.kernel.faults import Operation
from subfunction_simulator.kernel.hardware import Hardware
from subfunction_simulator.kernel.netlink.wire import Attributes, Refusal
from subfunction_simulator.kernel.network.netdev import Looks
from subfunction_simulator.kernel.topology import Parent

_FIRST_SUB_FUNCTION = 0x8000
_UPLINK = 0xFFFF


class Nic(Instance):
    """A physical function behaves as the traits of its driver say."""

    def __init__(self, hardware: Hardware, parent: Parent) -> None:
        super().__init__(parent.handle, hardware.announcer)
        self._hardware = hardware
        self.parent = parent
        self.traits = traits_of(parent.driver)
        self.mode = parent.mode if parent.manages_eswitch else EswitchMode.LEGACY
        self.rates = Rates(self, parent.link_speed) if self.traits.rates else None
        self.sub_functions: dict[int, SubFunction] = {}
        """By slot of the firmware's table; one that lost its port stays until its driver has let go."""
        self.addresses: dict[int, Mac] = {}
        """By slot: mlx5 keeps there what was last set, for the slot's next owner."""
        self.health = Health(self)
        self._vhca_id = hardware.next_vhca_id()
        self._vsis = ice_eswitch.VsiIndexes() if self.traits.e_switch_of_ice else None
        self._stranded: set[int] = set()
        """By index: the ports that ice left behind when the mode became legacy."""
        face = Face(
            path=parent.path,
            index=self._vhca_id << 16 | _UPLINK if self._vsis is None else 0,
            flavour=PortFlavour.PHYSICAL,
            number=parent.port,
            looks=self._looks,
        )
        self._children = PciChildren(hardware, self, face) if self.traits.pci_children else None
        self._ethernet = Ethernet(hardware, self, None, face) if self._children is None else None
        self.events = EventQueues()

    @property
    def driver(self) -> str:
        """Give the driver's name."""
        return self.traits.driver

    @property
    def uplink(self) -> Port | None:
        """Give the physical port, on whichever instance it is."""
        part = self._children or self._ethernet
        return part.port if part is not None else None

    @property
    def pfnum(self) -> int:
        """Give the number that sub-functions are asked for with, and show."""
        by_function = self.traits.pfnum_is_function or self._hardware.topology.pfnum_is_function
        return self.parent.pf if by_function else self.parent.port

    @property
    def mode_first(self) -> bool:
        """Say whether the mode is looked at before what is asked for."""
        return self._hardware.topology.pfnum_is_function

    @property
    def _switch_id(self) -> str | None:
        """Give the switch id that the uplink shows, which there is in switchdev mode alone."""
        return self.parent.switch_id if self.mode is EswitchMode.SWITCHDEV else None

    def _looks(self) -> Looks:
        return Looks(
            name=self.parent.netdev,
            phys_port_name=f"p{self.parent.port}",
            switch_id=self._switch_id,
            highest_mtu=self.traits.highest_mtu,
        )

    def numbers(self) -> set[int]:
        """Give the numbers that are taken."""
        return {each.number for each in self.sub_functions.values()}

    def register(self) -> None:
        """Begin: instance, uplink, RDMA device."""
        self._hardware.instances[self.handle] = self
        self.tell(Command.NEW)
        self.load()
        self._add_virtual_ports()

    def unregister(self) -> PendingWork:
        """End; every sub-function goes with it, first."""
        work = self.drop_sub_functions()
        work.then(self._end)
        return work

    def _end(self) -> None:
        self.leaving = True
        self.unload()
        if self._children is not None:
            self._children.release()
        del self._hardware.instances[self.handle]
        self.tell(Command.DEL)

    def load(self) -> None:
        """Begin with uplink and RDMA device."""
        if self._children is not None:
            self._children.appear(ethernet=self.parent.ethernet, switchdev=self.mode is EswitchMode.SWITCHDEV)
        if self._ethernet is not None:
            self._ethernet.appear()

    def _unload(self) -> None:
        if self._children is not None:
            self._children.disappear()
        if self._ethernet is not None:
            self._ethernet.disappear()

    def new_port(self, attributes: Attributes, /) -> Port:
        """Create a sub-function's port, or refuse it in the driver's order and words."""
        self._hardware.faults.strike(Operation.PORT_NEW)
        if self.health.failed and self.mode is EswitchMode.SWITCHDEV:
            raise Refusal(errno.ENOLINK)
        number = validate_port_add(self, attributes)
        slot = lowest_free(set(self.sub_functions))
        if slot >= self.parent.capacity:
            raise full(self)
        sub_function = SubFunction(self._hardware, self, slot, number)
        self.sub_functions[slot] = sub_function
        index = self._index(_FIRST_SUB_FUNCTION + slot)
        port = Port(self, index, PortFlavour.PCI_SF, pf=self.pfnum, sub_function=sub_function)
        sub_function.port = port
        self._appear(port, f"pf{self.pfnum}sf{number}")
        if self.traits.e_switch_of_ice:
            self._attach_to_eswitch(sub_function, port)
        return port

    def _index(self, vport: int) -> int:
        return self._vhca_id << 16 | vport if self._vsis is None else self._vsis.take()

    def _attach_to_eswitch(self, sub_function: SubFunction, port: Port) -> None:
        others = [each for each in self.sub_functions.values() if each is not sub_function and each.port is not None]
        represented = [each for each in others if each.index not in self._stranded]
        uplink = self.uplink.netdev if self.uplink is not None else None
        try:
            ice_eswitch.require_room(represented, uplink_bridged=uplink is not None and uplink.master is not None)
        except Refusal:
            # It was announced by now, and so is its end.
            self._remove(port)
            sub_function.lose_port()
            raise

    def _appear(self, port: Port, phys_port_name: str) -> None:
        self.ports[port.index] = port
        port.tell()
        if self.rates is not None:
            self.rates.add_leaf(port)
        looks = Looks(
            phys_port_name=phys_port_name,
            switch_id=self.parent.switch_id,
            keeps_address=True,
            keeps_namespace=self.traits.representors_fixed,
            highest_mtu=self.traits.highest_mtu,
        )
        port.appear(self._hardware.netdevs.add(self.parent.path, port, looks))

    def new_device(self, probe: Callable[[], None], remove: Callable[[], PendingWork]) -> AuxiliaryDevice:
        """Make the auxiliary device of a sub-function, which has the lowest free number of its pool."""
        kind = f"{self.traits.driver}.sf"
        if self.traits.pci_children:
            number = self._hardware.free_number(kind)
        else:
            taken = {device.index for device in self._hardware.auxiliary if device.kind == kind}
            number = lowest_free(taken, self.traits.first_index)
        return AuxiliaryDevice(kind, number, self.parent.path, probe, remove)

    def delete_port(self, port: Port, /) -> None:
        """Delete a sub-function's port, active or not."""
        if port.sub_function is None:
            raise Refusal(EOPNOTSUPP)
        self._hardware.faults.strike(Operation.PORT_DELETE)
        ice_eswitch.require_represented(stranded=port.index in self._stranded)
        self._remove(port)
        port.sub_function.lose_port()

    def forget(self, sub_function: SubFunction) -> None:
        """Free a sub-function's place and number."""
        if self.sub_functions.get(sub_function.slot) is sub_function:
            del self.sub_functions[sub_function.slot]

    def eswitch_mode(self) -> EswitchMode:
        """Read the mode, where there is one to read."""
        return self.mode if self.parent.manages_eswitch else super().eswitch_mode()

    def set_eswitch_mode(self, mode: EswitchMode, /) -> None:
        """Change the mode; legacy ends every sub-function, but for ice's. No notification tells of the mode itself."""
        if not self.parent.manages_eswitch:
            raise Refusal(EOPNOTSUPP)
        if mode is self.mode:
            return
        self._hardware.faults.strike(Operation.ESWITCH_SET)
        if self.health.failed:
            raise Refusal(errno.ENOLINK)
        if self.rates is not None and self.rates.nodes:
            raise Refusal(errno.EBUSY, "Rate node(s) exists.")
        if self.traits.e_switch_of_ice:
            self._hardware.remark = ice_eswitch.change_mode(mode, self.parent.virtual_functions)
            self._stranded |= {index for index, port in self.ports.items() if port.sub_function is not None}
        elif mode is EswitchMode.LEGACY:
            self._hardware.finish(self.drop_sub_functions())
            self._drop_virtual_ports()
        self.mode = mode
        if self._children is not None:
            if mode is EswitchMode.SWITCHDEV:
                self._children.represent()
            else:
                self._children.stop_representing()
        if self.uplink is not None and self.uplink.netdev is not None:
            self._hardware.netdevs.set_switch(self.uplink.netdev, self._switch_id)
        self._add_virtual_ports()

    def resources(self) -> dict[str, int]:
        """Give what the firmware has room for."""
        if not self.parent.built_with_sub_functions or not self.traits.parameters:
            return super().resources()
        # Since Linux 6.6 mlx5 registers them before it looks at how many the firmware has (sf/hw_table.c).
        return {"max_local_SFs": self.parent.capacity if self.parent.sub_functions else 0, "max_external_SFs": 0}

    def reload(self) -> None:
        """Re-initialise; every sub-function goes, and mlx5 begins in legacy mode."""
        self._hardware.faults.strike(Operation.RELOAD)
        if self.traits.e_switch_of_ice:
            ice_eswitch.require_reload(self.mode, self.parent.virtual_functions)
            self._unload()
            self.load()
            return
        self._hardware.finish(self.drop_sub_functions())
        self.unload()
        self.load()

    def reporters(self) -> dict[str, bool]:
        """Give mlx5's reporter of fatal errors."""
        return {FATAL: self.health.failed} if self.traits.parameters else {}

    def unload(self) -> None:
        """End what is left but the instance, and be in legacy mode."""
        self._drop_virtual_ports()
        self._unload()
        self.mode = EswitchMode.LEGACY

    def _add_virtual_ports(self) -> None:
        """Show the virtual functions as ports, which they are to a switch alone."""
        if self.mode is EswitchMode.SWITCHDEV:
            for index in range(self.parent.virtual_functions):
                virtual = VirtualPort(index, managed=self.parent.vhca_management and self.traits.parameters)
                port = Port(self, self._index(index + 1), PortFlavour.PCI_VF, pf=self.pfnum, virtual=virtual)
                self._appear(port, f"pf{self.pfnum}vf{index}")

    def _drop_virtual_ports(self) -> None:
        for port in tuple(self.ports.values()):
            if port.virtual is not None:
                self._remove(port)

    def drop_sub_functions(self) -> PendingWork:
        """End every sub-function, active or not."""
        for sub_function in tuple(self.sub_functions.values()):
            if sub_function.port is not None:
                self._remove(sub_function.port)
        lost = tuple(self.sub_functions.values())
        work = one_after_another(partial(SubFunction.lose_parent, sub_function) for sub_function in lost)
        self.gate.shut_during(work)
        return work

    def _remove(self, port: Port) -> None:
        if (netdev := port.disappear()) is not None:
            self._hardware.netdevs.remove(netdev)
        if self.rates is not None:
            self.rates.remove_leaf(port)
        del self.ports[port.index]
        self._stranded.discard(port.index)
        if self._vsis is not None:
            self._vsis.free(port.index)
        port.tell(Command.PORT_DEL)
