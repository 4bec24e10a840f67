"""A sub-function's own driver: its devlink instance, its parameters, and what a load makes of them."""

from typing import TYPE_CHECKING

from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import Command, PortFlavour
from subfunction_simulator.kernel.auxiliary import AuxiliaryDevice
from subfunction_simulator.kernel.faults import Operation
from subfunction_simulator.kernel.instance import EOPNOTSUPP, Instance, Port
from subfunction_simulator.kernel.machine import Machine
from subfunction_simulator.kernel.netdev import Looks
from subfunction_simulator.kernel.rdma import RdmaDevice
from subfunction_simulator.kernel.topology import DRIVER
from subfunction_simulator.kernel.wire import Refusal

if TYPE_CHECKING:
    from subfunction_simulator.kernel.subfunction import SubFunction

_CHILDREN = {"enable_eth": "eth", "enable_rdma": "rdma", "enable_vnet": "vnet"}


class SubFunctionDriver(Instance):
    """The devlink instance `auxiliary/mlx5_core.sf.N`."""

    def __init__(self, machine: Machine, sub_function: "SubFunction", device: AuxiliaryDevice) -> None:
        super().__init__(Handle("auxiliary", device.name), machine.announcer)
        self._machine = machine
        self._sub_function = sub_function
        self._device = device
        # What the function was set to when its driver came up; a later change does not reach a running one.
        self._mac = sub_function.mac
        self._roce = sub_function.roce
        self._port_index = machine.next_vhca_id() << 16
        self._port: Port | None = None
        self._rdma: RdmaDevice | None = None
        self._children: list[str] = []
        full = not machine.topology.light_probe
        self.parameters = {"enable_eth": full, "enable_rdma": full and self._roce, "enable_vnet": full}

    def register(self) -> None:
        """Appear, and load what the parameters say."""
        self._machine.instances[self.handle] = self
        self.tell(Command.NEW)
        self._load()
        for name in self.parameters:
            self.announcer.tell(Command.PARAM_NEW, self.parameter_attributes(name))

    def unregister(self) -> None:
        """Unload everything and go."""
        for name in self.parameters:
            self.announcer.tell(Command.PARAM_DEL, self.parameter_attributes(name))
        self._unload()
        del self._machine.instances[self.handle]
        self.tell(Command.DEL)

    def set_parameter(self, name: str, *, value: bool) -> None:
        """Change a parameter; RDMA needs RoCE."""
        if name == "enable_rdma" and value and not self._roce:
            raise Refusal(EOPNOTSUPP)
        super().set_parameter(name, value=value)

    def reload(self) -> None:
        """Unload and load again; a netdev that is in a pod is lost to it. Half-way there it can fail."""
        self._unload()
        try:
            self._machine.faults.strike(Operation.RELOAD)
        except Refusal:
            self.reload_failed = True
            self.tell(Command.NEW)
            raise
        self._load()
        if self.reload_failed:
            self.reload_failed = False
            self.tell(Command.NEW)

    def _load(self) -> None:
        tree, netdev = self._machine.tree, None
        for parameter, child in _CHILDREN.items():
            if self.parameters[parameter]:
                name = f"{DRIVER}.{child}.{self._device.index}"
                tree.directory(f"{self._device.path}/{name}", {"uevent": f"MODALIAS=auxiliary:{DRIVER}.{child}"})
                tree.link(f"{self._device.path}/{name}/subsystem", "bus/auxiliary")
                tree.link(f"bus/auxiliary/devices/{name}", f"{self._device.path}/{name}")
                self._children.append(name)
        if self.parameters["enable_eth"]:
            self._port = port = Port(self, self._port_index, PortFlavour.VIRTUAL)
            self.ports[port.index] = port
            port.tell()
            netdev = self._machine.netdevs.add(self._device.path, port, Looks(mac=self._mac))
            port.appear(netdev)
        if self.parameters["enable_rdma"]:
            self._rdma = self._machine.rdma.add(self._device.path, netdev.name if netdev else None)

    def _unload(self) -> None:
        if self._rdma is not None:
            self._machine.rdma.remove(self._rdma)
            self._rdma = None
        if self._port is not None:
            netdev = self._port.disappear()
            if netdev is not None:
                self._machine.netdevs.remove(netdev)
            del self.ports[self._port.index]
            self._port.tell(Command.PORT_DEL)
            self._port = None
        for name in self._children:
            self._machine.tree.unlink(f"bus/auxiliary/devices/{name}")
            self._machine.tree.bury(f"{self._device.path}/{name}")
        self._children.clear()
