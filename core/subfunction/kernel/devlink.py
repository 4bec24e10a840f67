"""The devlink client: instances and their ports, with the verbs that create, set and delete a sub-function.

A `Devlink` belongs to one thread, like the `Netlink` it uses. Nothing here retries or waits: a verb is one request,
which returns an object or raises a typed error with the kernel's own text.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

from subfunction.errors import Gone, Invalid, KernelError, KernelWithoutSubFunctions, MalformedReply, Unsupported
from subfunction.kernel.address import Handle
from subfunction.kernel.answers import expected_port, only_answer
from subfunction.kernel.error_table import error_for
from subfunction.kernel.netlink.codec import Message, Pairs
from subfunction.kernel.netlink.devlink_schema import DEVLINK
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.parameter import ParameterValue, parameter_pairs, parse_parameter
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.kernel.uapi import (
    DEVLINK_FAMILY,
    Attribute,
    Command,
    EswitchMode,
    FunctionAttribute,
    FunctionState,
    PortFlavour,
    RateType,
    ReloadAction,
    ReporterState,
)


@dataclasses.dataclass(frozen=True, slots=True)
class RateLeaf:
    """A port's limits for sending, in bytes a second: its share under contention, and its maximum; 0 is no limit."""

    share: int
    maximum: int


class Devlink:
    """The devlink instances of a kernel.

    `filters_lists` tells whether a list of one instance's ports takes the lock of that instance alone (Linux 6.5 and
    later); earlier kernels go through all instances, and so wait for one whose removal is blocked.
    """

    def __init__(self, netlink: Netlink, *, filters_lists: bool = True) -> None:
        self._netlink = netlink
        self.filters_lists = filters_lists

    @contextlib.contextmanager
    def second_client(self) -> "Iterator[Devlink]":
        """Open a second client of the same kernel, for another thread, and close it at the end of the block."""
        with contextlib.closing(self._netlink.second_client()) as netlink:
            yield Devlink(netlink, filters_lists=self.filters_lists)

    def exists(self, handle: Handle) -> bool:
        """Return whether a device has an instance (`devlink dev show pci/0000:05:00.0`); waits for no other one.

        A list of all (`devlink dev show`) takes the lock of each, also of a sub-function whose removal waits until a
        process closes its device.
        """
        try:
            only_answer(self._request(f"devlink dev show {handle}", Command.GET, _handle(handle)), handle)
        except Gone:
            return False
        return True

    def ports(self, handle: Handle) -> list[Port]:
        """List the ports of one instance (`devlink port show`); an instance that is gone has none."""
        try:
            replies = self._request(f"devlink port show {handle}", Command.PORT_GET, _handle(handle), dump=True)
        except Gone:
            return []
        # Kernels before 6.5 ignore the handle of a dump and list every port.
        return [port for port in map(Port.of, replies) if port.handle == handle]

    def port(self, handle: Handle, index: int) -> Port | None:
        """Read one port (`devlink port show pci/0000:05:00.0/32768`); None where there is none."""
        try:
            replies = self._request(f"devlink port show {handle}/{index}", Command.PORT_GET, _port(handle, index))
        except Gone:
            return None
        return expected_port(Port.of(only_answer(replies, handle)), index=index)

    def create_port(self, handle: Handle, *, pf: int, number: int, controller: int = 0) -> Port:
        """Create the port of a sub-function (`devlink port add pci/0000:05:00.0 flavour pcisf pfnum 0 sfnum 88`).

        Raises:
            NotSwitchdev, SubFunctionsUnsupported, Full, NumberTaken, PfNumberRefused, Gone: see errors.py.
            KernelError: any other refusal.
        """
        attributes = [
            *_handle(handle),
            (Attribute.PORT_FLAVOUR, PortFlavour.PCI_SF.value),
            (Attribute.PORT_PCI_PF_NUMBER, pf),
            (Attribute.PORT_PCI_SF_NUMBER, number),
        ]
        if controller:
            # ice refuses the attribute even with the value 0, so it is left out for the local controller.
            attributes.append((Attribute.PORT_CONTROLLER_NUMBER, controller))
        operation = f"devlink port add {handle} flavour pcisf pfnum {pf} sfnum {number}"
        port = Port.of(only_answer(self._request(operation, Command.PORT_NEW, attributes), handle))
        return expected_port(port, pf=pf, number=number, controller=controller)

    def supports_port_add(self, handle: Handle) -> bool:
        """Return whether the driver makes ports at all: mlx5_core without `CONFIG_MLX5_SF` does not.

        It asks for a port that no driver makes (`devlink port add pci/0000:05:00.0 flavour physical`). devlink itself
        refuses it, without a text, where the driver has no such operation (net/devlink/port.c, Linux 6.12).

        Raises:
            Gone: there is no such instance.
        """
        attributes = [
            *_handle(handle),
            (Attribute.PORT_FLAVOUR, PortFlavour.PHYSICAL.value),
            (Attribute.PORT_PCI_PF_NUMBER, 0),
        ]
        try:
            self._request(f"devlink port add {handle} flavour physical", Command.PORT_NEW, attributes)
        except Gone:
            raise
        except KernelError as error:
            return not isinstance(error, KernelWithoutSubFunctions)
        return True

    def set_function(self, handle: Handle, index: int, settings: FunctionSettings) -> None:
        """Set a function's MAC, capabilities or event queues (`devlink port function set ... hw_addr ...`).

        Raises:
            Unsupported: the driver does not offer one of the settings.
            Invalid: a value is refused.
            Gone: there is no such port.
        """
        self._set(f"devlink port function set {handle}/{index}", handle, index, settings.pairs())

    def set_active(self, handle: Handle, index: int, *, active: bool) -> None:
        """Activate or deactivate a function (`devlink port function set ... state active`); its driver attaches later.

        Raises:
            StillAttached: it was deactivated a moment ago and its driver has not detached yet.
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
        """Read a port's rate (`devlink port function rate show ...`); None where the driver has no rates."""
        operation = f"devlink port function rate show {handle}/{index}"
        try:
            reply = only_answer(self._request(operation, Command.RATE_GET, _port(handle, index)), handle)
        except (Unsupported, Gone):
            return None
        if (reply.number(Attribute.RATE_TYPE), reply.number(Attribute.PORT_INDEX)) != (RateType.LEAF, index):
            raise MalformedReply(f"the rate of {handle}/{index} is not that of this port")
        # A driver that limits only one of the two leaves the other out.
        share, maximum = reply.number(Attribute.RATE_TX_SHARE), reply.number(Attribute.RATE_TX_MAX)
        return RateLeaf(share or 0, maximum or 0)

    def set_rate(self, handle: Handle, index: int, *, share: int | None = None, maximum: int | None = None) -> None:
        """Limit what a port may send (`devlink port function rate set ... tx_share 125000bps`), in bytes a second.

        None leaves a limit as it is, 0 removes it. The kernel applies the share first, and not atomically.

        Raises:
            Invalid: the limit is no multiple of the driver's unit (mlx5: 125000), or above the link's speed.
            Unsupported: the driver does not offer the limit.
            Gone: there is no such port, or the driver has no rates.
        """
        limits = (("tx_share", Attribute.RATE_TX_SHARE, share), ("tx_max", Attribute.RATE_TX_MAX, maximum))
        asked = [(word, attribute, limit) for word, attribute, limit in limits if limit is not None]
        words = " ".join(f"{word} {limit}bps" for word, _, limit in asked)
        attributes = [*_port(handle, index), *((attribute, limit) for _, attribute, limit in asked)]
        self._request(f"devlink port function rate set {handle}/{index} {words}", Command.RATE_SET, attributes)

    def eswitch_mode(self, handle: Handle) -> EswitchMode | None:
        """Read the e-switch mode (`devlink dev eswitch show pci/0000:05:00.0`); None where there is no e-switch."""
        try:
            reply = only_answer(
                self._request(f"devlink dev eswitch show {handle}", Command.ESWITCH_GET, _handle(handle)), handle
            )
        except Unsupported:
            return None
        mode = reply.number(Attribute.ESWITCH_MODE)
        if mode is None:
            return None
        return EswitchMode(mode) if mode in set(EswitchMode) else EswitchMode.UNKNOWN

    def set_eswitch_mode(self, handle: Handle, mode: EswitchMode) -> None:
        """Change the e-switch mode (`devlink dev eswitch set pci/0000:05:00.0 mode switchdev`); it takes seconds.

        Raises:
            KernelError: the driver refused; its text says what prevents the mode (LAG, IPsec, a netdev elsewhere).
        """
        self._request(
            f"devlink dev eswitch set {handle} mode {mode.name.lower()}",
            Command.ESWITCH_SET,
            [*_handle(handle), (Attribute.ESWITCH_MODE, int(mode))],
        )

    def parameter(self, handle: Handle, name: str) -> ParameterValue | None:
        """Read a driverinit parameter (`devlink dev param show ... name enable_eth`); None if unknown here."""
        attributes = [*_handle(handle), (Attribute.PARAM_NAME, name)]
        try:
            replies = self._request(f"devlink dev param show {handle} name {name}", Command.PARAM_GET, attributes)
        except (Invalid, Gone):
            return None
        return parse_parameter(only_answer(replies, handle))

    def set_parameter(self, handle: Handle, name: str, *, value: ParameterValue) -> None:
        """Set a driverinit parameter (`devlink dev param set ... cmode driverinit`); a reload applies it.

        Raises:
            Unsupported: the driver refuses the value (mlx5: `enable_roce` on a function whose port has RoCE off).
            Invalid: the value is out of the driver's range, or of another type.
        """
        operation = f"devlink dev param set {handle} name {name} value {str(value).lower()} cmode driverinit"
        self._request(operation, Command.PARAM_SET, [*_handle(handle), *parameter_pairs(name, value)])

    def reload(self, handle: Handle) -> None:
        """Re-initialise a function's driver (`devlink dev reload auxiliary/mlx5_core.sf.4`).

        Raises:
            KernelError: the driver refused, or failed half-way and stays down until the next reload.
        """
        attributes = [*_handle(handle), (Attribute.RELOAD_ACTION, ReloadAction.DRIVER_REINIT.value)]
        self._request(f"devlink dev reload {handle}", Command.RELOAD, attributes)

    def reload_failed(self, handle: Handle) -> bool:
        """Return whether the last reload failed half-way (`devlink dev show`): the driver is down until the next."""
        try:
            reply = only_answer(self._request(f"devlink dev show {handle}", Command.GET, _handle(handle)), handle)
        except Gone:
            return False
        return bool(reply.number(Attribute.RELOAD_FAILED))

    def has_failed(self, handle: Handle, reporter: str) -> bool:
        """Return whether a health reporter is in error (`devlink health show pci/0000:05:00.0 reporter fw_fatal`).

        It is not where there is none of that name.
        """
        attributes = [*_handle(handle), (Attribute.HEALTH_REPORTER_NAME, reporter)]
        operation = f"devlink health show {handle} reporter {reporter}"
        try:
            replies = self._request(operation, Command.HEALTH_REPORTER_GET, attributes)
        except (Invalid, Unsupported, Gone):
            return False
        shown = only_answer(replies, handle).nest(Attribute.HEALTH_REPORTER)
        return shown is not None and shown.number(Attribute.HEALTH_REPORTER_STATE) == ReporterState.ERROR

    def capacity(self, handle: Handle) -> int | None:
        """Read how many local sub-functions fit (`devlink resource show`); None where the driver does not report it."""
        try:
            replies = self._request(f"devlink resource show {handle}", Command.RESOURCE_DUMP, _handle(handle))
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
            raise error_for(operation, command, error) from error


def _handle(handle: Handle) -> list[tuple[Attribute, int | str]]:
    return [(Attribute.BUS_NAME, handle.bus), (Attribute.DEV_NAME, handle.device)]


def _port(handle: Handle, index: int) -> list[tuple[Attribute, int | str]]:
    return [*_handle(handle), (Attribute.PORT_INDEX, index)]
