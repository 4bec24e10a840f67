"""The schema of devlink's messages: number and kind of each attribute that we send or read."""

from typing import Final

from subfunction.kernel.netlink.codec import Kind, Schema
from subfunction.kernel.port import FUNCTION
from subfunction.kernel.uapi import Attribute

# A value has the form of its parameter's type: no bytes at all for a flag that is on.
_PARAMETER_VALUE = Schema({Attribute.PARAM_VALUE_DATA: Kind.BYTES, Attribute.PARAM_VALUE_CMODE: Kind.U8})
_PARAMETER = Schema(
    {
        Attribute.PARAM_NAME: Kind.TEXT,
        Attribute.PARAM_TYPE: Kind.U8,
        Attribute.PARAM_VALUES_LIST: Schema({Attribute.PARAM_VALUE: _PARAMETER_VALUE}),
    }
)
_RESOURCE = Schema({Attribute.RESOURCE_NAME: Kind.TEXT, Attribute.RESOURCE_SIZE: Kind.U64})
_REPORTER = Schema({Attribute.HEALTH_REPORTER_NAME: Kind.TEXT, Attribute.HEALTH_REPORTER_STATE: Kind.U8})

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
        Attribute.PARAM_VALUE_DATA: Kind.BYTES,
        Attribute.PARAM_VALUE_CMODE: Kind.U8,
        Attribute.HEALTH_REPORTER: _REPORTER,
        Attribute.HEALTH_REPORTER_NAME: Kind.TEXT,
        Attribute.PORT_PCI_PF_NUMBER: Kind.U16,
        Attribute.PORT_PCI_VF_NUMBER: Kind.U16,
        Attribute.RELOAD_FAILED: Kind.U8,
        Attribute.PORT_FUNCTION: FUNCTION,
        Attribute.PORT_CONTROLLER_NUMBER: Kind.U32,
        Attribute.RELOAD_ACTION: Kind.U8,
        Attribute.PORT_PCI_SF_NUMBER: Kind.U32,
        Attribute.RATE_TYPE: Kind.U16,
        Attribute.RATE_TX_SHARE: Kind.U64,
        Attribute.RATE_TX_MAX: Kind.U64,
    }
)
"""The attributes that we send or read, out of the 180 in the header."""
