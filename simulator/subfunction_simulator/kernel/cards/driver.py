"""A sub-function's own driver has a devlink instance and parameters, and loads what the parameters say."""

from typing import Final, Protocol

from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.parameter import ParameterValue
from subfunction.kernel.uapi import Command, PortFlavour
from subfunction_simulator.kernel.cards.children import Children
from subfunction_simulator.kernel.cards.ethernet import Ethernet, Face
from subfunction_simulator.kernel.cards.parameters import sizes, validate
from subfunction_simulator.kernel.devlink.instance import EOPNOTSUPP, Instance
from subfunction_simulator.kernel.driver_core.auxiliary import AuxiliaryDevice
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, no_work
from subfunction_simulator.kernel.driver_traits import DriverTraits
from subfunction_simulator.kernel.faults import Operation
from subfunction_simulator.kernel.hardware import Hardware
from subfunction_simulator.kernel.netlink.wire import Refusal
from subfunction_simulator.kernel.network.netdev import Looks
from subfunction_simulator.kernel.network.rdma import RdmaFunction
from subfunction_simulator.kernel.topology import Parent
from subfunction_simulator.kernel.vdpa.vdpabus import ManagementDevice

_CHILDREN: Final = ("enable_eth", "enable_rdma", "enable_vnet")


class DrivenFunction(Protocol):
    """A sub-function shows its driver what the port has set."""

    @property
    def traits(self) -> DriverTraits:
        """Give the traits of the parent's driver."""

    @property
    def parent(self) -> Parent:
        """Give the physical function that it is cut from."""

    @property
    def index(self) -> int:
        """Give the index of its port."""

    @property
    def mac(self) -> Mac:
        """Give the address that the port has set; all zero: the driver chooses one."""

    @property
    def roce(self) -> bool:
        """Say whether it may have an RDMA device."""

    def driver_uses(self, *, used: bool) -> None:
        """Note that the driver gives the function back to the firmware, or takes it again."""


class SubFunctionDriver(Instance):
    """The driver has the devlink instance `auxiliary/mlx5_core.sf.N`."""

    def __init__(self, hardware: Hardware, sub_function: DrivenFunction, device: AuxiliaryDevice) -> None:
        super().__init__(Handle("auxiliary", device.name), hardware.announcer)
        self._hardware = hardware
        self._traits = sub_function.traits
        self._parent = sub_function.parent
        self._sub_function = sub_function
        self._device = device
        # What the function was set to when its driver came up; a later change does not reach a running one.
        self._mac = sub_function.mac
        self._roce = sub_function.roce
        self._children = Children(hardware.auxiliary, self._traits.driver, device.index, device.path)
        self._ethernet = self._make_ethernet()
        self._rdma = RdmaFunction(hardware.rdma, device.path, self._netdev_name, self._has_roce)
        self._management: ManagementDevice | None = None
        self.in_effect: dict[str, ParameterValue] = {}
        """The parameters that the driver was loaded with; a value that was set since waits for the next reload."""
        full = not hardware.topology.light_probe
        if self._traits.parameters:
            enabled = {"enable_roce": full and self._roce, **dict.fromkeys(_CHILDREN, full)}
            self.parameters = {**enabled, **sizes(max_macs=self._parent.max_macs)}

    @property
    def driver(self) -> str:
        """Give the driver's name."""
        return f"{self._traits.driver}.sf"

    def register(self) -> None:
        """Appear, and load what the parameters say."""
        self._hardware.instances[self.handle] = self
        if self._traits.nested_in_parent:
            self._hardware.instances[self._parent.handle].nest(self.handle)
        self.tell(Command.NEW)
        self._load()
        for name in self.parameters:
            self.announcer.tell(Command.PARAM_NEW, self.parameter_attributes(name))

    def unregister(self) -> PendingWork:
        """Unload everything and go."""
        self.leaving = True
        for name in self.parameters:
            self.announcer.tell(Command.PARAM_DEL, self.parameter_attributes(name))
        work = self._unload()
        work.then(self._forget)
        return work

    def _forget(self) -> None:
        del self._hardware.instances[self.handle]
        if self._traits.nested_in_parent:
            self._hardware.instances[self._parent.handle].let_go(self.handle)
        self.tell(Command.DEL)

    def set_parameter(self, name: str, *, value: ParameterValue) -> None:
        """Change a parameter; RoCE there is where the port has it, and RDMA without it for raw Ethernet."""
        validate(name, value)
        if name == "enable_roce" and value and not self._roce:
            raise Refusal(EOPNOTSUPP, "mlx5_core: Device doesn't support RoCE")
        super().set_parameter(name, value=value)

    def reload(self) -> None:
        """Unload and load again; a netdev in a pod is lost to it. If it fails half-way, the port says `detached`."""
        if not self._traits.parameters:
            raise Refusal(EOPNOTSUPP)
        self._hardware.finish(self._unload())
        self._sub_function.driver_uses(used=False)
        try:
            self._hardware.faults.strike(Operation.RELOAD)
        except Refusal:
            self.reload_failed = True
            self.tell(Command.NEW)
            raise
        self._sub_function.driver_uses(used=True)
        self._load()
        if self.reload_failed:
            self.reload_failed = False
            self.tell(Command.NEW)

    def _load(self) -> None:
        self.in_effect = dict(self.parameters)
        if not self._traits.parameters:
            self._ethernet.appear()
            return
        makers = {
            "eth": (self._ethernet.appear, self._ethernet.disappear),
            "rdma": (self._rdma.appear, self._rdma.disappear),
            "vnet": (self._add_management, self._remove_management),
        }
        for kind, (probe, remove) in makers.items():
            if self.parameters[f"enable_{kind}"]:
                self._children.add(kind, probe, remove)

    def _unload(self) -> PendingWork:
        work = self._children.remove()
        self.gate.shut_during(work)
        if not self._traits.parameters:
            self._ethernet.disappear()
        return work

    def _make_ethernet(self) -> Ethernet:
        traits = self._traits
        own = traits.parameters and self._hardware.topology.ethernet_instances
        face = Face(
            path=self._parent.path if self._traits.netdev_on_parent else self._device.path,
            index=self._sub_function.index if traits.e_switch_of_ice else self._hardware.next_vhca_id() << 16,
            flavour=PortFlavour.VIRTUAL,
            looks=lambda: Looks(mac=self._mac, keeps_address=traits.address_fixed, highest_mtu=traits.function_mtu),
        )
        return Ethernet(self._hardware, self, self._children.handle("eth") if own else None, face)

    def _has_roce(self) -> bool:
        return bool(self.parameters["enable_roce"])

    def _netdev_name(self) -> str | None:
        netdev = self._ethernet.netdev
        return None if netdev is None else netdev.name

    def _add_management(self) -> None:
        mac = self._mac if not self._mac.unset else self._hardware.netdevs.random_mac()
        self._management = ManagementDevice(
            self.handle, self._device.path, self._parent.path, mac, self._parent.vdpa_queue_pairs
        )
        self._hardware.vdpa.register(self._management)

    def _remove_management(self) -> PendingWork:
        management, self._management = self._management, None
        return no_work() if management is None else self._hardware.vdpa.unregister(management)
