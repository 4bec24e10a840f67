"""A driver's parameter (`devlink dev param`): a flag or a 32-bit number that a reload applies, and how it is sent."""

import struct
from typing import Final, TypeAlias

from subfunction.errors import MalformedReply
from subfunction.kernel.netlink.codec import Message, Pairs
from subfunction.kernel.uapi import Attribute, ParameterMode, ParameterType

ParameterValue: TypeAlias = bool | int
"""The value of a parameter: a flag is a bool (`enable_eth`), a size an int (`io_eq_size`)."""

_U32: Final = struct.Struct("=I")


def parameter_pairs(name: str, value: ParameterValue) -> Pairs:
    """Return the attributes that set a driverinit parameter; a flag that is off is a value that is left out."""
    if isinstance(value, bool):
        kind, data = ParameterType.FLAG, b"" if value else None
    else:
        kind, data = ParameterType.U32, _U32.pack(value)
    return [
        (Attribute.PARAM_NAME, name),
        (Attribute.PARAM_TYPE, kind.value),
        (Attribute.PARAM_VALUE_CMODE, ParameterMode.DRIVERINIT.value),
        *([] if data is None else [(Attribute.PARAM_VALUE_DATA, data)]),
    ]


def parse_parameter(reply: Message) -> ParameterValue | None:
    """Return the driverinit value of the parameter in a reply; None where it has none, or is of another type.

    Raises:
        MalformedReply: its value has not the form of its type.
    """
    parameter = reply.nest(Attribute.PARAM)
    values = parameter.nest(Attribute.PARAM_VALUES_LIST) if parameter else None
    kind = parameter.number(Attribute.PARAM_TYPE) if parameter else None
    for value in values.nests(Attribute.PARAM_VALUE) if values else ():
        if value.number(Attribute.PARAM_VALUE_CMODE) == ParameterMode.DRIVERINIT:
            return _parse_value(kind, value.octets(Attribute.PARAM_VALUE_DATA))
    return None


def _parse_value(kind: int | None, data: bytes | None) -> ParameterValue | None:
    if kind == ParameterType.FLAG:
        return data is not None
    if kind != ParameterType.U32 or data is None:
        return None
    if len(data) != _U32.size:
        raise MalformedReply(f"a parameter's value has {len(data)} bytes, expected {_U32.size}")
    return int(_U32.unpack(data)[0])
