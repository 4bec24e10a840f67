"""The core of devlink checks PORT_FUNCTION of a PORT_SET as a whole, then applies it piece by piece."""

import errno
from typing import TypeAlias

from subfunction.kernel.address import Mac
from subfunction.kernel.uapi import FUNCTION_CAP_ROCE, Attribute, FunctionAttribute
from subfunction_simulator.kernel.devlink.instance import EOPNOTSUPP, Port
from subfunction_simulator.kernel.devlink.port_function import PortSubFunction
from subfunction_simulator.kernel.devlink.virtualport import VirtualPort
from subfunction_simulator.kernel.faults import Faults, Operation
from subfunction_simulator.kernel.netlink import uapi
from subfunction_simulator.kernel.netlink.wire import EINVAL, Attributes, Refusal

_Function: TypeAlias = PortSubFunction | VirtualPort

_PARSE = "Fail to parse port function attributes"
_SETTABLE = {
    FunctionAttribute.HW_ADDR,
    FunctionAttribute.STATE,
    FunctionAttribute.CAPS,
    FunctionAttribute.MAX_IO_EQS,
}
_CAPS = {
    FUNCTION_CAP_ROCE: "RoCE",
    uapi.FUNCTION_CAP_MIGRATABLE: "migratable",
    uapi.FUNCTION_CAP_IPSEC_CRYPTO: "ipsec_crypto",
    uapi.FUNCTION_CAP_IPSEC_PACKET: "ipsec_packet",
}
_NO_STATE = "Function does not support state setting"
_NO_QUEUES = "Function does not support max_io_eqs setting"


def set_function(port: Port, attributes: Attributes, faults: Faults, *, knows_max_io_eqs: bool) -> None:
    """Apply a function's settings: address, capabilities, event queues, state; not atomic, and announced on success.

    Raises:
        Refusal: what was applied before stays.
    """
    nest = attributes.nest(Attribute.PORT_FUNCTION)
    settable = _SETTABLE if knows_max_io_eqs else _SETTABLE - {FunctionAttribute.MAX_IO_EQS}
    if nest is None or not attributes.is_nest(Attribute.PORT_FUNCTION) or not set(nest) <= {int(a) for a in settable}:
        raise Refusal(EINVAL, _PARSE)
    function = _validate(port, nest)
    octets = nest.octets(FunctionAttribute.HW_ADDR)
    if octets is not None:
        faults.strike(Operation.SET_MAC)
        _set_address(function, octets)
    value, selector = _caps(nest)
    if selector:
        faults.strike(Operation.SET_CAPABILITIES)
        _require_management(function)
        function.capabilities = function.capabilities & ~selector | value & selector
    queues = nest.number(FunctionAttribute.MAX_IO_EQS, "=I")
    if queues is not None:
        faults.strike(Operation.SET_EVENT_QUEUES)
        _require_management(function)
        function.max_io_eqs = queues
    state = nest.number(FunctionAttribute.STATE, "=B")
    if state is not None and not isinstance(function, VirtualPort):
        function.set_active(active=bool(state))
    port.tell()


def _validate(port: Port, nest: Attributes) -> _Function:
    """Refuse what this port's driver has no operation for, before anything is applied."""
    function = port.sub_function or port.virtual
    _, selector = _caps(nest)
    if selector & ~sum(_CAPS):
        raise Refusal(EINVAL, _PARSE)
    if function is None:
        refusals = {
            FunctionAttribute.HW_ADDR: "Port doesn't support function attributes",
            FunctionAttribute.STATE: _NO_STATE,
            FunctionAttribute.CAPS: "Port doesn't support RoCE function attribute",
            FunctionAttribute.MAX_IO_EQS: _NO_QUEUES,
        }
        raise Refusal(EOPNOTSUPP, next((text for number, text in refusals.items() if number in nest), ""))
    for bit, name in _CAPS.items():
        # A card that cannot manage its functions refuses in its own words, further on.
        if selector & bit & ~function.supported and not (bit == FUNCTION_CAP_ROCE and _has_operations(function)):
            raise Refusal(EOPNOTSUPP, f"Port doesn't support {name} function attribute")
    if FunctionAttribute.STATE in nest and isinstance(function, VirtualPort):
        raise Refusal(EOPNOTSUPP, _NO_STATE)
    if FunctionAttribute.MAX_IO_EQS in nest and not _has_operations(function):
        raise Refusal(EOPNOTSUPP, _NO_QUEUES)
    if (nest.number(FunctionAttribute.STATE, "=B") or 0) > 1:
        raise Refusal(EINVAL, _PARSE)
    return function


def _has_operations(function: _Function) -> bool:
    return isinstance(function, VirtualPort) or function.traits.parameters


def _caps(nest: Attributes) -> tuple[int, int]:
    octets = nest.octets(FunctionAttribute.CAPS)
    if octets is None:
        return 0, 0
    if len(octets) != 8:
        raise Refusal(EINVAL, _PARSE)
    return int.from_bytes(octets[:4], "little"), int.from_bytes(octets[4:], "little")


def _set_address(function: _Function, octets: bytes) -> None:
    if len(octets) > uapi.FUNCTION_ADDRESS_BYTES:
        raise Refusal(EINVAL, "Port function hardware address too long")
    if len(octets) != 6:
        raise Refusal(EINVAL, "Address must be 6 bytes for Ethernet device")
    if octets[0] & 1:
        raise Refusal(EINVAL, "Non-unicast hardware address unsupported")
    mac = Mac(octets)
    if not isinstance(function, VirtualPort) and function.traits.random_mac:
        if function.attached:
            raise Refusal(errno.EBUSY, "ice: Ethernet address can be change only in detached state")
        if mac.unset:
            raise Refusal(errno.EADDRNOTAVAIL, "ice: Invalid ethernet address")
    function.mac = mac


def _require_management(function: _Function) -> None:
    if not function.managed:
        raise Refusal(EOPNOTSUPP, "mlx5_core: Device doesn't support VHCA management")
