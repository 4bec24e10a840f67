"""The family `devlink` has commands on instances, ports, parameters and rates."""

import errno
import struct
from collections.abc import Callable, Iterable
from typing import Final

from subfunction.kernel.address import Handle
from subfunction.kernel.parameter import ParameterValue
from subfunction.kernel.uapi import Attribute, Command, EswitchMode, ParameterMode, ParameterType, ReloadAction
from subfunction_simulator.kernel.cards.nic import Nic
from subfunction_simulator.kernel.devlink.instance import EOPNOTSUPP, Instance, Port, type_of
from subfunction_simulator.kernel.devlink.rate import Rate, Rates
from subfunction_simulator.kernel.families.function import set_function
from subfunction_simulator.kernel.faults import Operation
from subfunction_simulator.kernel.hardware import Hardware
from subfunction_simulator.kernel.netlink import uapi, wire
from subfunction_simulator.kernel.netlink.wire import EINVAL, Attributes, Refusal, Request

ENODEV: Final = 19


class Devlink:
    """The family answers devlink's requests; attributes identify a reply, since most commands answer as NEW."""

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware
        self._do: dict[int, Callable[[Instance, Attributes], list[bytes]]] = {
            Command.GET: lambda instance, _: [wire.generic(Command.NEW, instance.attributes())],
            Command.PORT_GET: self._port_get,
            Command.PORT_SET: self._port_set,
            Command.PORT_NEW: self._port_new,
            Command.PORT_DEL: self._port_delete,
            Command.ESWITCH_GET: _eswitch_get,
            Command.ESWITCH_SET: _eswitch_set,
            Command.RESOURCE_DUMP: _resources,
            Command.RELOAD: _reload,
            Command.PARAM_GET: self._parameter_get,
            Command.PARAM_SET: self._parameter_set,
            Command.HEALTH_REPORTER_GET: _reporter,
            uapi.Command.INFO_GET: _info,
            uapi.Command.RATE_GET: lambda instance, asked: [_rate(_rates(instance, ENODEV).find(asked))],
            uapi.Command.RATE_SET: self._rate_set,
            uapi.Command.RATE_NEW: _rate_new,
            uapi.Command.RATE_DEL: _rate_delete,
        }
        self._dump: dict[int, Callable[[Instance], Iterable[bytes]]] = {
            Command.GET: lambda instance: [wire.generic(Command.NEW, instance.attributes())],
            Command.PORT_GET: lambda instance: (
                wire.generic(Command.PORT_NEW, port.attributes()) for _, port in sorted(instance.ports.items())
            ),
            Command.PARAM_GET: lambda instance: [_parameter(instance, name) for name in instance.parameters],
            uapi.Command.RATE_GET: lambda instance: (
                [_rate(rate) for rate in instance.rates.all()]
                if isinstance(instance, Nic) and instance.rates is not None
                else []
            ),
        }

    def answer(self, request: Request) -> list[bytes]:
        """Give the bodies that answer a request.

        Raises:
            Refusal: as the kernel refuses it.
        """
        attributes = request.attributes
        handle = handle_of(attributes)
        if request.is_dump:
            dump = self._dump.get(request.command)
            if dump is None:
                raise Refusal(EOPNOTSUPP)
            return self._dump_all(dump, handle if self._hardware.topology.filters_dumps else None)
        do = self._do.get(request.command)
        if do is None:
            raise Refusal(EOPNOTSUPP)
        if handle is None:
            raise Refusal(EINVAL)
        return do(self._instance(handle), attributes)

    def _dump_all(self, dump: Callable[[Instance], Iterable[bytes]], asked: Handle | None) -> list[bytes]:
        bodies: list[bytes] = []
        for handle in list(self._hardware.instances) if asked is None else [asked]:
            try:
                for body in dump(self._instance(handle)):
                    bodies.append(body)  # noqa: PERF402  # what came before a refusal stays
            except Refusal as refusal:
                if refusal.errno == errno.EMSGSIZE:
                    return bodies  # to the core of netlink this is a full datagram, and an empty one is the end
                if asked is not None:
                    raise
                # It went while another one was waited for.
        return bodies

    def _instance(self, handle: Handle) -> Instance:
        """Find an instance, and wait until nothing that waits holds it."""
        instance = self._hardware.instances.get(handle)
        if instance is not None:
            self._hardware.pass_gate(instance.gate)
            instance = self._hardware.instances.get(handle)
        if instance is None:
            raise Refusal(ENODEV)
        return instance

    def _rate_set(self, instance: Instance, attributes: Attributes) -> list[bytes]:
        rates = _rates(instance, ENODEV)
        self._hardware.faults.strike(Operation.RATE_SET)
        rates.change(attributes)
        return []

    def _port_get(self, instance: Instance, attributes: Attributes) -> list[bytes]:
        self._hardware.faults.strike(Operation.PORT_GET)
        return [wire.generic(Command.PORT_NEW, _port(instance, attributes).attributes())]

    def _port_set(self, instance: Instance, attributes: Attributes) -> list[bytes]:
        port = _port(instance, attributes)
        if Attribute.PORT_FUNCTION in attributes:
            knows = self._hardware.topology.max_io_eqs
            set_function(port, attributes, self._hardware.faults, knows_max_io_eqs=knows)
        return []

    def _port_new(self, instance: Instance, attributes: Attributes) -> list[bytes]:
        if Attribute.PORT_FLAVOUR not in attributes or Attribute.PORT_PCI_PF_NUMBER not in attributes:
            raise Refusal(EINVAL, "Port flavour or PCI PF are not specified")
        # NEW and not PORT_NEW: a slip of the kernel's that it has had for years.
        return [wire.generic(Command.NEW, instance.new_port(attributes).attributes())]

    def _port_delete(self, instance: Instance, attributes: Attributes) -> list[bytes]:
        instance.delete_port(_port(instance, attributes))
        return []

    def _parameter_get(self, instance: Instance, attributes: Attributes) -> list[bytes]:
        self._hardware.faults.strike(Operation.PARAMETER_GET)
        return [_parameter(instance, _parameter_name(instance, attributes))]

    def _parameter_set(self, instance: Instance, attributes: Attributes) -> list[bytes]:
        name = _parameter_name(instance, attributes)
        value = _parameter_value(attributes, type_of(instance.parameters[name]))
        mode = attributes.number(Attribute.PARAM_VALUE_CMODE, "=B")
        if mode is None:
            raise Refusal(EINVAL)
        if mode != ParameterMode.DRIVERINIT:
            raise Refusal(EOPNOTSUPP)
        self._hardware.faults.strike(Operation.PARAMETER_SET)
        instance.set_parameter(name, value=value)
        instance.announcer.tell(Command.PARAM_NEW, instance.parameter_attributes(name))
        return []


def handle_of(attributes: Attributes) -> Handle | None:
    """Read which instance is asked for; None where all are."""
    bus, device = attributes.text(Attribute.BUS_NAME), attributes.text(Attribute.DEV_NAME)
    return Handle(bus, device) if bus and device else None


def _port(instance: Instance, attributes: Attributes) -> Port:
    index = attributes.number(Attribute.PORT_INDEX, "=I")
    if index is None:
        raise Refusal(EINVAL)
    if index not in instance.ports:
        raise Refusal(ENODEV)
    return instance.ports[index]


def _parameter_name(instance: Instance, attributes: Attributes) -> str:
    name = attributes.text(Attribute.PARAM_NAME)
    if name not in instance.parameters:
        raise Refusal(EINVAL)
    return name


def _parameter_value(attributes: Attributes, kind: ParameterType) -> ParameterValue:
    """Read a value as devlink does: of the parameter's type, and a number of four bytes."""
    data = attributes.octets(Attribute.PARAM_VALUE_DATA)
    if attributes.number(Attribute.PARAM_TYPE, "=B") != kind:
        raise Refusal(EINVAL)
    if kind is ParameterType.FLAG:
        return data is not None
    if data is None or len(data) != struct.calcsize("=I"):
        raise Refusal(EINVAL)
    return int(struct.unpack("=I", data)[0])


def _parameter(instance: Instance, name: str) -> bytes:
    return wire.generic(Command.PARAM_GET, instance.parameter_attributes(name))


def _eswitch_get(instance: Instance, _: Attributes) -> list[bytes]:
    mode = wire.u16(Attribute.ESWITCH_MODE, instance.eswitch_mode())
    inline = wire.u8(uapi.Attribute.ESWITCH_INLINE_MODE, 0)
    encap = wire.u8(uapi.Attribute.ESWITCH_ENCAP_MODE, 1)
    return [wire.generic(Command.ESWITCH_GET, instance.handle_attributes(), mode, inline, encap)]


def _eswitch_set(instance: Instance, attributes: Attributes) -> list[bytes]:
    mode = attributes.number(Attribute.ESWITCH_MODE, "=H")
    if mode is None:
        raise Refusal(EOPNOTSUPP)
    if mode not in set(EswitchMode):
        raise Refusal(EINVAL)
    instance.set_eswitch_mode(EswitchMode(mode))
    return []


def _resources(instance: Instance, _: Attributes) -> list[bytes]:
    resources = [
        wire.nest(
            Attribute.RESOURCE,
            wire.text(Attribute.RESOURCE_NAME, name),
            wire.u64(Attribute.RESOURCE_SIZE, size),
            wire.u64(uapi.Attribute.RESOURCE_ID, number),
            wire.u64(uapi.Attribute.RESOURCE_SIZE_MIN, size),
            wire.u64(uapi.Attribute.RESOURCE_SIZE_MAX, size),
            wire.u64(uapi.Attribute.RESOURCE_SIZE_GRAN, 1),
            wire.u8(uapi.Attribute.RESOURCE_UNIT, 0),
        )
        for number, (name, size) in enumerate(instance.resources().items(), start=1)
    ]
    nest = wire.nest(Attribute.RESOURCE_LIST, *resources)
    return [wire.generic(Command.RESOURCE_DUMP, instance.handle_attributes(), nest)]


def _reload(instance: Instance, attributes: Attributes) -> list[bytes]:
    action = attributes.number(Attribute.RELOAD_ACTION, "=B")
    if action not in {None, ReloadAction.DRIVER_REINIT}:
        raise Refusal(EOPNOTSUPP, "Requested reload action is not supported by the driver")
    instance.reload()
    if action is None:
        return []
    performed = wire.bits(uapi.Attribute.RELOAD_ACTIONS_PERFORMED, 1 << action, 1 << action)
    return [wire.generic(Command.RELOAD, instance.handle_attributes(), performed)]


def _reporter(instance: Instance, attributes: Attributes) -> list[bytes]:
    name = attributes.text(Attribute.HEALTH_REPORTER_NAME)
    if name not in instance.reporters():
        raise Refusal(EINVAL)
    return [wire.generic(Command.HEALTH_REPORTER_GET, instance.reporter_attributes(name))]


def _info(instance: Instance, _: Attributes) -> list[bytes]:
    name = wire.text(uapi.Attribute.INFO_DRIVER_NAME, instance.driver)
    return [wire.generic(uapi.Command.INFO_GET, instance.handle_attributes(), name)]


def _rates(instance: Instance, refusal: int) -> Rates:
    if not isinstance(instance, Nic) or instance.rates is None:
        raise Refusal(refusal)
    return instance.rates


def _rate(rate: Rate) -> bytes:
    return wire.generic(uapi.Command.RATE_NEW, rate.attributes())


def _rate_new(instance: Instance, attributes: Attributes) -> list[bytes]:
    _rates(instance, EOPNOTSUPP).add_node(attributes)
    return []


def _rate_delete(instance: Instance, attributes: Attributes) -> list[bytes]:
    _rates(instance, ENODEV).remove_node(attributes)
    return []
