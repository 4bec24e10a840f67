"""A sub-function's own driver: its devlink instance, its parameters, and what a load makes of them."""

from functools import partial
from typing import TYPE_CHECKING

from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import Attribute, Command
from subfunction_simulator.kernel import uapi, wire
from subfunction_simulator.kernel.auxiliary import AuxiliaryDevice
from subfunction_simulator.kernel.ethernet import Ethernet
from subfunction_simulator.kernel.faults import Operation
from subfunction_simulator.kernel.instance import EOPNOTSUPP, Instance
from subfunction_simulator.kernel.machine import Machine
from subfunction_simulator.kernel.rdma import RdmaDevice
from subfunction_simulator.kernel.vdpabus import ManagementDevice
from subfunction_simulator.kernel.wire import Refusal
from subfunction_simulator.kernel.work import Work, done, one_after_another

if TYPE_CHECKING:
    from subfunction_simulator.kernel.subfunction import SubFunction


class SubFunctionDriver(Instance):
    """The devlink instance `auxiliary/mlx5_core.sf.N`."""

    def __init__(self, machine: Machine, sub_function: "SubFunction", device: AuxiliaryDevice) -> None:
        super().__init__(Handle("auxiliary", device.name), machine.announcer)
        self._machine = machine
        self._manners = sub_function.nic.manners
        self._parent = sub_function.nic.parent
        self._device = device
        # What the function was set to when its driver came up; a later change does not reach a running one.
        self._mac = sub_function.mac
        self._roce = sub_function.roce
        self._port_index = machine.next_vhca_id() << 16
        self._ethernet: Ethernet | None = None
        self._rdma: RdmaDevice | None = None
        self._management: ManagementDevice | None = None
        self._children: list[AuxiliaryDevice] = []
        self._leaving = False
        full = not machine.topology.light_probe
        if self._manners.parameters:
            self.parameters = {"enable_eth": full, "enable_rdma": full and self._roce, "enable_vnet": full}

    @property
    def driver(self) -> str:
        """The driver's name."""
        return f"{self._manners.driver}.sf"

    def attributes(self) -> bytes:
        """Encode it as `devlink dev show` gets it, with the instance that is nested in it."""
        nested = self._ethernet.child if self._ethernet is not None else None
        if nested is None or not self._machine.topology.nested_handles:
            return super().attributes()
        handle = (wire.text(Attribute.BUS_NAME, nested.bus), wire.text(Attribute.DEV_NAME, nested.device))
        return super().attributes() + wire.flagged_nest(uapi.Attribute.NESTED_DEVLINK, *handle)

    def register(self) -> None:
        """Appear, and load what the parameters say."""
        self._machine.instances[self.handle] = self
        self.tell(Command.NEW)
        self._load()
        for name in self.parameters:
            self.announcer.tell(Command.PARAM_NEW, self.parameter_attributes(name))

    def unregister(self) -> Work:
        """Unload everything and go."""
        self._leaving = True
        for name in self.parameters:
            self.announcer.tell(Command.PARAM_DEL, self.parameter_attributes(name))
        work = self._unload()
        work.then(self._forget)
        return work

    def _forget(self) -> None:
        del self._machine.instances[self.handle]
        self.tell(Command.DEL)

    def set_parameter(self, name: str, *, value: bool) -> None:
        """Change a parameter; RDMA needs RoCE."""
        if name == "enable_rdma" and value and not self._roce:
            raise Refusal(EOPNOTSUPP)
        super().set_parameter(name, value=value)

    def reload(self) -> None:
        """Unload and load again; a netdev that is in a pod is lost to it. Half-way there it can fail."""
        if not self._manners.parameters:
            raise Refusal(EOPNOTSUPP)
        self._machine.finish(self._unload())
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
        if not self._manners.parameters:
            self._add_netdev()
            return
        kinds = {
            "eth": (self._add_netdev, self._remove_netdev),
            "rdma": (self._add_rdma, self._remove_rdma),
            "vnet": (self._add_management, self._remove_management),
        }
        for name, (probe, remove) in kinds.items():
            if self.parameters[f"enable_{name}"]:
                kind = f"{self._manners.driver}.{name}"
                child = AuxiliaryDevice(kind, self._device.index, self._device.path, probe, remove)
                self._children.append(child)
                self._machine.auxiliary.add(child, {}, f"MODALIAS=auxiliary:{kind}")

    def _unload(self) -> Work:
        """Take the children away, the last first: the one that a user of a vDPA device can hold up."""
        children, self._children = self._children[::-1], []
        work = one_after_another(partial(self._machine.auxiliary.remove, child) for child in children)
        self.gate.shut_during(work)
        if not self._manners.parameters:
            self._remove_netdev()
        return work

    def _add_netdev(self) -> None:
        own = self._manners.parameters and self._machine.topology.ethernet_instances
        child = Handle("auxiliary", f"{self._manners.driver}.eth.{self._device.index}") if own else None
        self._ethernet = Ethernet(self._machine, self, child)
        below = self._parent.path if self._manners.netdev_on_parent else self._device.path
        self._ethernet.appear(self._port_index, below, self._mac)
        if child is not None:
            # Twice, as 6.12 was seen to do it: for the nesting, and for the registration of what is nested.
            self._tell_nested()
            self._tell_nested()

    def _remove_netdev(self) -> Work:
        ethernet, self._ethernet = self._ethernet, None
        if ethernet is not None:
            ethernet.disappear()
            if ethernet.child is not None:
                self._tell_nested()
        return done()

    def _tell_nested(self) -> None:
        """Notify that an instance was nested in this one, or is no more; one that goes itself has no time for that."""
        if self._machine.topology.nested_handles and not self._leaving:
            self.tell(Command.NEW)

    def _add_rdma(self) -> None:
        netdev = self._ethernet.netdev if self._ethernet is not None else None
        self._rdma = self._machine.rdma.add(self._device.path, netdev.name if netdev else None)

    def _remove_rdma(self) -> Work:
        if self._rdma is not None:
            self._machine.rdma.remove(self._rdma)
            self._rdma = None
        return done()

    def _add_management(self) -> None:
        mac = self._mac if not self._mac.unset else self._machine.netdevs.random_mac()
        self._management = ManagementDevice(
            self.handle, self._device.path, self._parent.path, mac, self._parent.vdpa_queue_pairs
        )
        self._machine.vdpa.register(self._management)

    def _remove_management(self) -> Work:
        management, self._management = self._management, None
        return done() if management is None else self._machine.vdpa.unregister(management)
