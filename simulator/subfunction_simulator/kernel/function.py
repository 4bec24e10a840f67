"""PORT_FUNCTION of a PORT_SET: checked whole, then applied piece by piece, as the core of devlink does."""

from subfunction.kernel.address import Mac
from subfunction.kernel.uapi import FUNCTION_CAP_ROCE, Attribute, FunctionAttribute
from subfunction_simulator.kernel import uapi
from subfunction_simulator.kernel.faults import Faults, Operation
from subfunction_simulator.kernel.instance import EOPNOTSUPP, Port
from subfunction_simulator.kernel.subfunction import SubFunction
from subfunction_simulator.kernel.wire import EINVAL, Attributes, Refusal

_PARSE = "Fail to parse port function attributes"
_SETTABLE = {
    FunctionAttribute.HW_ADDR,
    FunctionAttribute.STATE,
    FunctionAttribute.CAPS,
    FunctionAttribute.MAX_IO_EQS,
}
_ONLY_VF = {
    uapi.FUNCTION_CAP_MIGRATABLE: "migratable",
    uapi.FUNCTION_CAP_IPSEC_CRYPTO: "ipsec_crypto",
    uapi.FUNCTION_CAP_IPSEC_PACKET: "ipsec_packet",
}
_CAPS = FUNCTION_CAP_ROCE | sum(_ONLY_VF)


def set_function(port: Port, attributes: Attributes, faults: Faults, *, knows_max_io_eqs: bool) -> None:
    """Apply a function's settings: address, capabilities, event queues, state; not atomic, and announced on success.

    Raises:
        Refusal: what was applied before stays.
    """
    nest = attributes.nest(Attribute.PORT_FUNCTION)
    settable = _SETTABLE if knows_max_io_eqs else _SETTABLE - {FunctionAttribute.MAX_IO_EQS}
    if nest is None or not attributes.is_nest(Attribute.PORT_FUNCTION) or not set(nest) <= {int(a) for a in settable}:
        raise Refusal(EINVAL, _PARSE)
    function = _checked(port, nest)
    octets = nest.octets(FunctionAttribute.HW_ADDR)
    if octets is not None:
        faults.strike(Operation.SET_MAC)
        function.mac = _address(octets)
    value, selector = _caps(nest)
    if selector & FUNCTION_CAP_ROCE:
        faults.strike(Operation.SET_CAPABILITIES)
        _require_management(function)
        function.roce = bool(value & FUNCTION_CAP_ROCE)
    queues = nest.number(FunctionAttribute.MAX_IO_EQS, "=I")
    if queues is not None:
        faults.strike(Operation.SET_EVENT_QUEUES)
        _require_management(function)
        function.max_io_eqs = queues
    state = nest.number(FunctionAttribute.STATE, "=B")
    if state is not None:
        function.set_active(active=bool(state))
    port.tell()


def _checked(port: Port, nest: Attributes) -> SubFunction:
    """Refuse what this port's driver has no operation for, before anything is applied."""
    function = port.sub_function
    _, selector = _caps(nest)
    if selector & ~_CAPS:
        raise Refusal(EINVAL, _PARSE)
    if function is None:
        refusals = {
            FunctionAttribute.HW_ADDR: "Port doesn't support function attributes",
            FunctionAttribute.STATE: "Function does not support state setting",
            FunctionAttribute.CAPS: "Port doesn't support RoCE function attribute",
            FunctionAttribute.MAX_IO_EQS: "Function does not support max_io_eqs setting",
        }
        raise Refusal(EOPNOTSUPP, next((text for number, text in refusals.items() if number in nest), ""))
    for bit, name in _ONLY_VF.items():
        if selector & bit:
            raise Refusal(EOPNOTSUPP, f"Port doesn't support {name} function attribute")
    if (nest.number(FunctionAttribute.STATE, "=B") or 0) > 1:
        raise Refusal(EINVAL, _PARSE)
    return function


def _caps(nest: Attributes) -> tuple[int, int]:
    octets = nest.octets(FunctionAttribute.CAPS)
    if octets is None:
        return 0, 0
    if len(octets) != 8:
        raise Refusal(EINVAL, _PARSE)
    return int.from_bytes(octets[:4], "little"), int.from_bytes(octets[4:], "little")


def _address(octets: bytes) -> Mac:
    if len(octets) > uapi.FUNCTION_ADDRESS_BYTES:
        raise Refusal(EINVAL, "Port function hardware address too long")
    if len(octets) != 6:
        raise Refusal(EINVAL, "Address must be 6 bytes for Ethernet device")
    if octets[0] & 1:
        raise Refusal(EINVAL, "Non-unicast hardware address unsupported")
    return Mac(octets)


def _require_management(function: SubFunction) -> None:
    if not function.nic.parent.vhca_management:
        raise Refusal(EOPNOTSUPP, "mlx5_core: Device doesn't support VHCA management")
