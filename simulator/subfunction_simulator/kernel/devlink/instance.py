"""A devlink instance has ports, as the core of devlink sees them; drivers fill in what they can."""

import dataclasses
import errno

from subfunction.kernel.address import Handle
from subfunction.kernel.parameter import ParameterValue
from subfunction.kernel.uapi import (
    Attribute,
    Command,
    EswitchMode,
    ParameterMode,
    ParameterType,
    PortFlavour,
    ReporterState,
)
from subfunction_simulator.kernel.devlink.port_function import PortSubFunction
from subfunction_simulator.kernel.devlink.virtualport import VirtualPort
from subfunction_simulator.kernel.driver_core.pending_work import Gate
from subfunction_simulator.kernel.netlink import uapi, wire
from subfunction_simulator.kernel.netlink.announce import Announcer
from subfunction_simulator.kernel.netlink.wire import Attributes, Refusal
from subfunction_simulator.kernel.network.netdev import Netdev

EOPNOTSUPP = 95


@dataclasses.dataclass(slots=True, eq=False)
class Port:
    """A devlink port leads to a function: a pcisf port to `sub_function`, a pcivf port to `virtual`."""

    instance: "Instance"
    index: int
    flavour: PortFlavour
    type: int = uapi.PORT_TYPE_NOTSET
    netdev: Netdev | None = None
    number: int | None = None
    pf: int | None = None
    sub_function: PortSubFunction | None = None
    virtual: VirtualPort | None = None
    unreadable: bool = False
    """Whether the firmware refuses what the driver asks for to show it."""

    def attributes(self) -> bytes:
        """Encode it as `devlink_nl_port_fill` does, with attributes that the core's schema does not know.

        Raises:
            Refusal: EMSGSIZE, whatever the firmware's reason.
        """
        if self.unreadable:
            raise Refusal(errno.EMSGSIZE, "mlx5_core: Failed getting HCA caps")
        parts = [self.instance.handle_attributes(), wire.u32(Attribute.PORT_INDEX, self.index)]
        parts.append(wire.u16(Attribute.PORT_TYPE, self.type))
        if self.netdev is not None and self.netdev.namespace is None:
            parts.append(wire.u32(Attribute.PORT_NETDEV_IFINDEX, self.netdev.ifindex))
            parts.append(wire.text(Attribute.PORT_NETDEV_NAME, self.netdev.name))
        parts.append(wire.u8(uapi.Attribute.PORT_SPLITTABLE, 0))
        parts.append(wire.u16(Attribute.PORT_FLAVOUR, self.flavour))
        if self.number is not None:
            parts.append(wire.u32(Attribute.PORT_NUMBER, self.number))
        if self.sub_function is not None and self.pf is not None:
            parts.append(wire.u32(Attribute.PORT_CONTROLLER_NUMBER, 0))
            parts.append(wire.u16(Attribute.PORT_PCI_PF_NUMBER, self.pf))
            parts.append(wire.u32(Attribute.PORT_PCI_SF_NUMBER, self.sub_function.number))
            parts.append(self.sub_function.attributes())
        if self.virtual is not None and self.pf is not None:
            parts.append(wire.u32(Attribute.PORT_CONTROLLER_NUMBER, 0))
            parts.append(wire.u16(Attribute.PORT_PCI_PF_NUMBER, self.pf))
            parts.append(wire.u16(uapi.Attribute.PORT_PCI_VF_NUMBER, self.virtual.index))
            parts.append(wire.u8(uapi.Attribute.PORT_EXTERNAL, 0))
            parts.append(self.virtual.attributes())
        return b"".join(parts)

    def tell(self, command: Command = Command.PORT_NEW) -> None:
        """Notify that it is new, changed or gone; what cannot be shown is not notified either."""
        if not self.unreadable:
            self.instance.announcer.tell(command, self.attributes())

    def appear(self, netdev: Netdev | None) -> None:
        """Notify of a port that gets its netdev, in the steps the kernel takes."""
        self.type = uapi.PORT_TYPE_ETH
        self.tell()
        self.netdev = netdev
        self.tell()

    def disappear(self) -> Netdev | None:
        """Notify of a netdev that goes, and give it to be unregistered."""
        netdev, self.netdev = self.netdev, None
        self.tell()
        self.type = uapi.PORT_TYPE_NOTSET
        self.tell()
        return netdev


class Instance:
    """A devlink instance refuses what its driver does not implement, as the core of devlink does."""

    def __init__(self, handle: Handle, announcer: Announcer) -> None:
        self.handle = handle
        self.announcer = announcer
        self.ports: dict[int, Port] = {}
        self.parameters: dict[str, ParameterValue] = {}
        self.reload_failed = False
        self.nested: tuple[Handle, ...] = ()
        """The instances that this one says are nested in it."""
        self.leaving = False
        self.gate = Gate()
        """The instance's mutex: a request for the instance waits while something that holds it waits."""

    @property
    def driver(self) -> str:
        """Give the name of its driver."""
        raise Refusal(EOPNOTSUPP)

    def handle_attributes(self) -> bytes:
        """Encode the handle."""
        return wire.text(Attribute.BUS_NAME, self.handle.bus) + wire.text(Attribute.DEV_NAME, self.handle.device)

    def attributes(self) -> bytes:
        """Encode it as `devlink dev show` gets it."""
        stats = wire.flagged_nest(uapi.Attribute.DEV_STATS, wire.flagged_nest(uapi.Attribute.RELOAD_STATS))
        parts = [self.handle_attributes(), wire.u8(Attribute.RELOAD_FAILED, self.reload_failed), stats]
        for nested in self.nested:
            bus, name = wire.text(Attribute.BUS_NAME, nested.bus), wire.text(Attribute.DEV_NAME, nested.device)
            parts.append(wire.flagged_nest(uapi.Attribute.NESTED_DEVLINK, bus, name))
        return b"".join(parts)

    def tell(self, command: Command) -> None:
        """Notify that it is new, changed or gone."""
        self.announcer.tell(command, self.attributes())

    def nest(self, handle: Handle) -> None:
        """Name a nested instance; nothing tells of it."""
        self.nested = (*self.nested, handle)

    def let_go(self, handle: Handle) -> None:
        """Name it no more."""
        self.nested = tuple(each for each in self.nested if each != handle)

    def parameter_attributes(self, name: str) -> bytes:
        """Encode one parameter, a flag or a number in the driverinit mode."""
        value = self.parameters[name]
        nest = [wire.u8(Attribute.PARAM_VALUE_CMODE, ParameterMode.DRIVERINIT)]
        if not isinstance(value, bool):
            nest.append(wire.u32(Attribute.PARAM_VALUE_DATA, value))
        elif value:
            nest.append(wire.attribute(Attribute.PARAM_VALUE_DATA, b""))
        return self.handle_attributes() + wire.nest(
            Attribute.PARAM,
            wire.text(Attribute.PARAM_NAME, name),
            wire.attribute(uapi.Attribute.PARAM_GENERIC, b""),
            wire.u8(Attribute.PARAM_TYPE, type_of(value)),
            wire.nest(Attribute.PARAM_VALUES_LIST, wire.nest(Attribute.PARAM_VALUE, *nest)),
        )

    def new_port(self, _attributes: Attributes, /) -> Port:
        """Create a port."""
        raise Refusal(EOPNOTSUPP)

    def delete_port(self, _port: Port, /) -> None:
        """Delete a port."""
        raise Refusal(EOPNOTSUPP)

    def eswitch_mode(self) -> EswitchMode:
        """Read the mode of the e-switch."""
        raise Refusal(EOPNOTSUPP)

    def set_eswitch_mode(self, _mode: EswitchMode, /) -> None:
        """Change the mode of the e-switch."""
        raise Refusal(EOPNOTSUPP)

    def resources(self) -> dict[str, int]:
        """Give the sizes of the driver's resources."""
        raise Refusal(EOPNOTSUPP)

    def reporters(self) -> dict[str, bool]:
        """Give the health reporters, each with whether it is in error."""
        return {}

    def reporter_attributes(self, name: str) -> bytes:
        """Encode one health reporter."""
        state = ReporterState.ERROR if self.reporters()[name] else ReporterState.HEALTHY
        return self.handle_attributes() + wire.nest(
            Attribute.HEALTH_REPORTER,
            wire.text(Attribute.HEALTH_REPORTER_NAME, name),
            wire.u8(Attribute.HEALTH_REPORTER_STATE, state),
        )

    def set_parameter(self, name: str, *, value: ParameterValue) -> None:
        """Change a parameter."""
        self.parameters[name] = value

    def reload(self) -> None:
        """Re-initialise the driver."""
        raise Refusal(EOPNOTSUPP)


def type_of(value: ParameterValue) -> ParameterType:
    """Give the type by which a value is sent."""
    return ParameterType.FLAG if isinstance(value, bool) else ParameterType.U32
