"""A physical function and its driver: the devlink instance that sub-functions are made on."""

from subfunction.kernel.uapi import Attribute, Command, EswitchMode, PortFlavour
from subfunction_simulator.kernel import uapi, wire
from subfunction_simulator.kernel.faults import Operation
from subfunction_simulator.kernel.instance import EOPNOTSUPP, Instance, Port
from subfunction_simulator.kernel.machine import Machine
from subfunction_simulator.kernel.netdev import Looks
from subfunction_simulator.kernel.rdma import RdmaDevice
from subfunction_simulator.kernel.subfunction import SubFunction
from subfunction_simulator.kernel.topology import DRIVER, Parent
from subfunction_simulator.kernel.wire import Attributes, Refusal

EEXIST, EINVAL, ENOSPC = 17, 22, 28
_FIRST_SUB_FUNCTION = 0x8000
_UPLINK = 0xFFFF


class Nic(Instance):
    """A PF with mlx5's manners."""

    def __init__(self, machine: Machine, parent: Parent) -> None:
        super().__init__(parent.handle, machine.announcer)
        self._machine = machine
        self.parent = parent
        self.mode = parent.mode
        self.sub_functions: dict[int, SubFunction] = {}
        """By slot of the firmware's table; one whose port is deleted stays until its driver has let go."""
        self._vhca_id = machine.next_vhca_id()
        self._rdma: RdmaDevice | None = None

    def register(self) -> None:
        """Bind the driver: instance, uplink, RDMA device."""
        tree, path = self._machine.tree, self.parent.path
        tree.link(f"{path}/driver", f"bus/pci/drivers/{DRIVER}")
        tree.link(f"bus/pci/drivers/{DRIVER}/{self.parent.bdf}", path)
        self._machine.instances[self.handle] = self
        self.tell(Command.NEW)
        port = Port(self, self._vhca_id << 16 | _UPLINK, PortFlavour.PHYSICAL, number=self.parent.pf)
        self.ports[port.index] = port
        port.tell()
        uplink = self._machine.netdevs.add(
            path,
            port,
            Looks(
                name=self.parent.netdev,
                phys_port_name=f"p{self.parent.pf}",
                switch_id=self.parent.switch_id if self.mode is EswitchMode.SWITCHDEV else None,
            ),
        )
        port.appear(uplink)
        self._rdma = self._machine.rdma.add(path, uplink.name)

    def unregister(self) -> None:
        """Unbind the driver; every sub-function goes with it."""
        self._drop_sub_functions()
        if self._rdma is not None:
            self._machine.rdma.remove(self._rdma)
        for port in tuple(self.ports.values()):
            self._remove(port)
        del self._machine.instances[self.handle]
        self.tell(Command.DEL)
        self._machine.tree.unlink(f"{self.parent.path}/driver")
        self._machine.tree.unlink(f"bus/pci/drivers/{DRIVER}/{self.parent.bdf}")

    def new_port(self, attributes: Attributes, /) -> Port:
        """Create a sub-function's port, or refuse it in mlx5's order and words."""
        self._machine.faults.strike(Operation.PORT_NEW)
        number = self._checked(attributes)
        if any(other.number == number for other in self.sub_functions.values()):
            raise Refusal(EEXIST, f"{DRIVER}: SF already exist. Choose different sfnum")
        slot = next((slot for slot in range(self.parent.capacity) if slot not in self.sub_functions), None)
        if slot is None:
            raise Refusal(ENOSPC)
        sub_function = SubFunction(self._machine, self, slot, number)
        self.sub_functions[slot] = sub_function
        index = self._vhca_id << 16 | _FIRST_SUB_FUNCTION + slot
        port = Port(self, index, PortFlavour.PCI_SF, pf=self.parent.pf, sub_function=sub_function)
        sub_function.port = port
        self.ports[index] = port
        port.tell()
        self.announcer.tell(uapi.Command.RATE_NEW, rate_attributes(port))
        port.appear(
            self._machine.netdevs.add(
                self.parent.path,
                port,
                Looks(phys_port_name=f"pf{self.parent.pf}sf{number}", switch_id=self.parent.switch_id),
            )
        )
        return port

    def _checked(self, attributes: Attributes) -> int:
        number = attributes.number(Attribute.PORT_PCI_SF_NUMBER, "=I")
        refusal = None
        if attributes.number(Attribute.PORT_FLAVOUR, "=H") != PortFlavour.PCI_SF:
            refusal = "Driver supports only SF port addition"
        elif Attribute.PORT_INDEX in attributes:
            refusal = "Driver does not support user defined port index assignment"
        elif number is None:
            refusal = "User must provide unique sfnum. Driver does not support auto assignment"
        elif attributes.number(Attribute.PORT_CONTROLLER_NUMBER, "=H"):
            refusal = "External controller is unsupported"
        elif attributes.number(Attribute.PORT_PCI_PF_NUMBER, "=H") != self.parent.pf:
            refusal = "Invalid pfnum supplied"
        elif not self.parent.sub_functions:
            refusal = "SF ports are not supported."
        elif self.mode is not EswitchMode.SWITCHDEV:
            refusal = "SF ports are only supported in eswitch switchdev mode."
        if refusal is not None or number is None:
            raise Refusal(EOPNOTSUPP, f"{DRIVER}: {refusal}")
        return number

    def delete_port(self, port: Port, /) -> None:
        """Delete a sub-function's port, active or not."""
        if port.sub_function is None:
            raise Refusal(EOPNOTSUPP)
        self._machine.faults.strike(Operation.PORT_DELETE)
        self._remove(port)
        port.sub_function.port_deleted()

    def forget(self, sub_function: SubFunction) -> None:
        """Free a sub-function's place and number."""
        if self.sub_functions.get(sub_function.slot) is sub_function:
            del self.sub_functions[sub_function.slot]

    def eswitch_mode(self) -> EswitchMode:
        """Read the mode."""
        return self.mode

    def set_eswitch_mode(self, mode: EswitchMode, /) -> None:
        """Change the mode; legacy ends every sub-function. Nobody is told of the mode itself."""
        if mode is EswitchMode.LEGACY:
            self._drop_sub_functions()
        self.mode = mode

    def resources(self) -> dict[str, int]:
        """Give what the firmware has room for."""
        if not self.parent.sub_functions:
            return super().resources()
        return {"max_local_SFs": self.parent.capacity, "max_external_SFs": 0}

    def reload(self) -> None:
        """Re-initialise; every sub-function goes."""
        self._machine.faults.strike(Operation.RELOAD)
        self._drop_sub_functions()

    def _drop_sub_functions(self) -> None:
        for sub_function in tuple(self.sub_functions.values()):
            if sub_function.port is not None:
                self._remove(sub_function.port)
            sub_function.lose_parent()

    def _remove(self, port: Port) -> None:
        netdev = port.disappear()
        if netdev is not None:
            self._machine.netdevs.remove(netdev)
        if port.sub_function is not None:
            self.announcer.tell(uapi.Command.RATE_DEL, rate_attributes(port))
        del self.ports[port.index]
        port.tell(Command.PORT_DEL)


def rate_attributes(port: Port) -> bytes:
    """Encode the rate leaf of a port, which has no limits."""
    attribute = uapi.Attribute
    return b"".join(
        (
            port.instance.handle_attributes(),
            wire.u32(Attribute.PORT_INDEX, port.index),
            wire.u16(attribute.RATE_TYPE, 0),
            wire.u64(attribute.RATE_TX_SHARE, 0),
            wire.u64(attribute.RATE_TX_MAX, 0),
            wire.u32(attribute.RATE_TX_PRIORITY, 0),
            wire.u32(attribute.RATE_TX_WEIGHT, 0),
        )
    )
