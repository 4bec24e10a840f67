"""devlink: instances and their ports, with the verbs that make, set and delete a sub-function.

A `Devlink` belongs to one thread, like the `Netlink` it stands on. Nothing here retries or waits: a verb is one
request, and what the kernel answers is either an object or a typed error with the kernel's own text.
"""

import dataclasses
from typing import Final

from subfunction.errors import Gone, Invalid, KernelError, MalformedReply, Unsupported
from subfunction.kernel.address import Handle
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.netlink import Kind, Message, Pairs, Schema
from subfunction.kernel.port import FUNCTION, FunctionSettings, Port, handle_of
from subfunction.kernel.refusals import refusal
from subfunction.kernel.uapi import (
    DEVLINK_FAMILY,
    Attribute,
    Command,
    EswitchMode,
    FunctionAttribute,
    FunctionState,
    ParameterMode,
    ParameterType,
    PortFlavour,
    RateType,
    ReloadAction,
)

_PARAMETER_VALUE = Schema({Attribute.PARAM_VALUE_DATA: Kind.FLAG, Attribute.PARAM_VALUE_CMODE: Kind.U8})
_PARAMETER = Schema(
    {
        Attribute.PARAM_NAME: Kind.TEXT,
        Attribute.PARAM_TYPE: Kind.U8,
        Attribute.PARAM_VALUES_LIST: Schema({Attribute.PARAM_VALUE: _PARAMETER_VALUE}),
    }
)
_RESOURCE = Schema({Attribute.RESOURCE_NAME: Kind.TEXT, Attribute.RESOURCE_SIZE: Kind.U64})

DEVLINK: Final = Schema(
    {
        Attribute.BUS_NAME: Kind.TEXT,
        Attribute.DEV_NAME: Kind.TEXT,
        Attribute.PORT_INDEX: Kind.U32,
        Attribute.PORT_TYPE: Kind.U16,
        Attribute.PORT_NETDEV_IFINDEX: Kind.U32,
        Attribute.PORT_NETDEV_NAME: Kind.TEXT,
        Attribute.ESWITCH_MODE: Kind.U16,
        Attribute.RESOURCE_LIST: Schema({Attribute.RESOURCE: _RESOURCE}),
        Attribute.PORT_FLAVOUR: Kind.U16,
        Attribute.PORT_NUMBER: Kind.U32,
        Attribute.PARAM: _PARAMETER,
        Attribute.PARAM_NAME: Kind.TEXT,
        Attribute.PARAM_TYPE: Kind.U8,
        Attribute.PARAM_VALUE_DATA: Kind.FLAG,
        Attribute.PARAM_VALUE_CMODE: Kind.U8,
        Attribute.INFO_DRIVER_NAME: Kind.TEXT,
        Attribute.PORT_PCI_PF_NUMBER: Kind.U16,
        Attribute.PORT_PCI_VF_NUMBER: Kind.U16,
        Attribute.PORT_FUNCTION: FUNCTION,
        Attribute.PORT_CONTROLLER_NUMBER: Kind.U32,
        Attribute.RELOAD_ACTION: Kind.U8,
        Attribute.PORT_PCI_SF_NUMBER: Kind.U32,
        Attribute.RATE_TYPE: Kind.U16,
        Attribute.RATE_TX_SHARE: Kind.U64,
        Attribute.RATE_TX_MAX: Kind.U64,
    }
)
"""The attributes we send or look at, of the 180 that the header names."""


@dataclasses.dataclass(frozen=True, slots=True)
class RateLeaf:
    """What a port may send, in bytes a second: the share it is given in a crowd, and the most; 0 is no limit."""

    share: int
    maximum: int


class Devlink:
    """The devlink instances of a kernel."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink

    def instances(self) -> list[Handle]:
        """List the instances (`devlink dev show`)."""
        return [handle_of(reply) for reply in self._request("dev show", Command.GET, dump=True)]

    def ports(self, handle: Handle | None = None) -> list[Port]:
        """List the ports of one instance, or of all (`devlink port show`); one that is gone has none."""
        try:
            replies = self._request("port show", Command.PORT_GET, _handle(handle) if handle else (), dump=True)
        except Gone:
            return []
        ports = [Port.of(reply) for reply in replies]
        # Kernels before 6.5 ignore the handle of a dump and list every port.
        return [port for port in ports if handle is None or port.handle == handle]

    def port(self, handle: Handle, index: int) -> Port | None:
        """Show one port (`devlink port show pci/0000:05:00.0/32768`), None where there is none."""
        try:
            replies = self._request("port show", Command.PORT_GET, _port(handle, index))
        except Gone:
            return None
        return _expected(Port.of(_only(replies, handle)), index=index)

    def new_port(self, handle: Handle, *, pf: int, number: int, controller: int = 0) -> Port:
        """Create the port of a sub-function (`devlink port add pci/0000:05:00.0 flavour pcisf pfnum 0 sfnum 88`).

        Raises:
            NotSwitchdev, SubFunctionsUnsupported, Full, NumberTaken, NotPermitted, Gone: see errors.py.
            KernelError: any other refusal.
        """
        attributes = [
            *_handle(handle),
            (Attribute.PORT_FLAVOUR, PortFlavour.PCI_SF.value),
            (Attribute.PORT_PCI_PF_NUMBER, pf),
            (Attribute.PORT_PCI_SF_NUMBER, number),
        ]
        if controller:
            # ice refuses the attribute's mere presence, so zero is said by silence.
            attributes.append((Attribute.PORT_CONTROLLER_NUMBER, controller))
        operation = f"devlink port add {handle} flavour pcisf pfnum {pf} sfnum {number}"
        port = Port.of(_only(self._request(operation, Command.PORT_NEW, attributes), handle))
        return _expected(port, pf=pf, number=number, controller=controller)

    def set_function(self, handle: Handle, index: int, settings: FunctionSettings) -> None:
        """Set a function's MAC, capabilities or event queues (`devlink port function set ... hw_addr ...`).

        Raises:
            Unsupported: the driver does not offer one of the settings.
            Invalid: a value is refused.
            Gone: there is no such port.
        """
        self._set(f"devlink port function set {handle}/{index}", handle, index, settings.pairs())

    def set_active(self, handle: Handle, index: int, *, active: bool) -> None:
        """Activate or deactivate a function (`devlink port function set ... state active`); it attaches later.

        Raises:
            StillAttached: it was deactivated a moment ago and its driver has not let go.
            Gone: there is no such port.
        """
        state = FunctionState.ACTIVE if active else FunctionState.INACTIVE
        operation = f"devlink port function set {handle}/{index} state {state.name.lower()}"
        self._set(operation, handle, index, [(FunctionAttribute.STATE, state.value)])

    def _set(self, operation: str, handle: Handle, index: int, function: Pairs) -> None:
        self._request(operation, Command.PORT_SET, [*_port(handle, index), (Attribute.PORT_FUNCTION, function)])

    def delete_port(self, handle: Handle, index: int) -> None:
        """Delete a sub-function's port (`devlink port del pci/0000:05:00.0/32768`).

        Raises:
            Gone: there is no such port (any more).
        """
        self._request(f"devlink port del {handle}/{index}", Command.PORT_DEL, _port(handle, index))

    def rate(self, handle: Handle, index: int) -> RateLeaf | None:
        """Read a port's rate (`devlink port function rate show ...`); None where the driver limits none."""
        try:
            reply = _only(self._request("port function rate show", Command.RATE_GET, _port(handle, index)), handle)
        except (Unsupported, Gone):
            return None
        if (reply.number(Attribute.RATE_TYPE), reply.number(Attribute.PORT_INDEX)) != (RateType.LEAF, index):
            raise MalformedReply(f"the rate of {handle}/{index} is not that of this port")
        # A driver that limits only one of the two leaves the other out.
        share, maximum = reply.number(Attribute.RATE_TX_SHARE), reply.number(Attribute.RATE_TX_MAX)
        return RateLeaf(share or 0, maximum or 0)

    def set_rate(self, handle: Handle, index: int, *, share: int | None = None, maximum: int | None = None) -> None:
        """Limit what a port may send (`devlink port function rate set ... tx_share 125000bps`), in bytes a second.

        None leaves a limit as it is, 0 lifts it. The kernel applies the share first, and not atomically.

        Raises:
            Invalid: no multiple of what the driver counts in (mlx5: 125000), or more than the link's speed.
            Unsupported: the driver does not offer the limit.
            Gone: there is no such port, or the driver limits none.
        """
        limits = (("tx_share", Attribute.RATE_TX_SHARE, share), ("tx_max", Attribute.RATE_TX_MAX, maximum))
        asked = [(word, attribute, limit) for word, attribute, limit in limits if limit is not None]
        words = " ".join(f"{word} {limit}bps" for word, _, limit in asked)
        attributes = [*_port(handle, index), *((attribute, limit) for _, attribute, limit in asked)]
        self._request(f"devlink port function rate set {handle}/{index} {words}", Command.RATE_SET, attributes)

    def driver_name(self, handle: Handle) -> str | None:
        """Read an instance's driver (`devlink dev info pci/0000:05:00.0`); None where it does not tell."""
        try:
            reply = _only(self._request("dev info", Command.INFO_GET, _handle(handle)), handle)
        except (Unsupported, Gone):
            return None
        return reply.text(Attribute.INFO_DRIVER_NAME)

    def eswitch_mode(self, handle: Handle) -> EswitchMode | None:
        """Read the e-switch mode (`devlink dev eswitch show pci/0000:05:00.0`); None where there is no e-switch."""
        try:
            reply = _only(self._request("dev eswitch show", Command.ESWITCH_GET, _handle(handle)), handle)
        except Unsupported:
            return None
        mode = reply.number(Attribute.ESWITCH_MODE)
        return EswitchMode(mode) if mode in set(EswitchMode) else None

    def parameter(self, handle: Handle, name: str) -> bool | None:
        """Read a boolean driverinit parameter (`devlink dev param show ... name enable_eth`); None if unknown here."""
        try:
            replies = self._request(
                "dev param show", Command.PARAM_GET, [*_handle(handle), (Attribute.PARAM_NAME, name)]
            )
        except (Invalid, Gone):
            return None
        parameter = _only(replies, handle).nest(Attribute.PARAM)
        values = parameter.nest(Attribute.PARAM_VALUES_LIST) if parameter else None
        for value in values.nests(Attribute.PARAM_VALUE) if values else ():
            if value.number(Attribute.PARAM_VALUE_CMODE) == ParameterMode.DRIVERINIT:
                return value.flag(Attribute.PARAM_VALUE_DATA)
        return None

    def set_parameter(self, handle: Handle, name: str, *, value: bool) -> None:
        """Set a boolean driverinit parameter (`devlink dev param set ... cmode driverinit`); a reload applies it.

        Raises:
            Unsupported: the driver refuses the value (`enable_rdma` on a function without RoCE).
        """
        operation = f"devlink dev param set {handle} name {name} value {str(value).lower()} cmode driverinit"
        attributes: Pairs = [
            *_handle(handle),
            (Attribute.PARAM_NAME, name),
            (Attribute.PARAM_TYPE, ParameterType.FLAG.value),
            (Attribute.PARAM_VALUE_CMODE, ParameterMode.DRIVERINIT.value),
            (Attribute.PARAM_VALUE_DATA, value),
        ]
        self._request(operation, Command.PARAM_SET, attributes)

    def reload(self, handle: Handle) -> None:
        """Re-initialise a function's driver (`devlink dev reload auxiliary/mlx5_core.sf.4`).

        Raises:
            KernelError: the driver refused, or failed half-way and stays down until the next reload.
        """
        attributes = [*_handle(handle), (Attribute.RELOAD_ACTION, ReloadAction.DRIVER_REINIT.value)]
        self._request(f"devlink dev reload {handle}", Command.RELOAD, attributes)

    def capacity(self, handle: Handle) -> int | None:
        """Read how many local sub-functions fit (`devlink resource show`); None where the driver does not tell."""
        try:
            replies = self._request("resource show", Command.RESOURCE_DUMP, _handle(handle))
        except (Unsupported, Gone):
            return None
        for reply in replies:
            resources = reply.nest(Attribute.RESOURCE_LIST)
            for resource in resources.nests(Attribute.RESOURCE) if resources else ():
                if resource.text(Attribute.RESOURCE_NAME) == "max_local_SFs":
                    return resource.number(Attribute.RESOURCE_SIZE)
        return None

    def _request(
        self, operation: str, command: Command, attributes: Pairs = (), *, dump: bool = False
    ) -> list[Message]:
        try:
            family = self._netlink.family(DEVLINK_FAMILY)
            return self._netlink.request(family, DEVLINK, command, attributes, dump=dump)
        except KernelError as error:
            raise refusal(operation, command, error) from error


def _handle(handle: Handle) -> list[tuple[Attribute, int | str]]:
    return [(Attribute.BUS_NAME, handle.bus), (Attribute.DEV_NAME, handle.device)]


def _port(handle: Handle, index: int) -> list[tuple[Attribute, int | str]]:
    return [*_handle(handle), (Attribute.PORT_INDEX, index)]


def _only(replies: list[Message], handle: Handle) -> Message:
    if len(replies) != 1:
        raise MalformedReply(f"{len(replies)} answers to a question that has one")
    if (answering := handle_of(replies[0])) != handle:
        raise MalformedReply(f"{answering} answers for {handle}")
    return replies[0]


def _expected(port: Port, **asked: int) -> Port:
    for name, value in asked.items():
        if getattr(port, name) != value:
            raise MalformedReply(f"{port.handle}/{port.index} answers for a port of {name} {value}")
    return port
