"""The numbers of devlink that we send or read."""

import enum
from typing import Final

# From include/uapi/linux/devlink.h, Linux 6.12.
DEVLINK_FAMILY: Final = "devlink"
DEVLINK_GROUP: Final = "config"


class Command(enum.IntEnum):
    """Commands of the family `devlink`."""

    GET = 1
    NEW = 3
    DEL = 4
    PORT_GET = 5
    PORT_SET = 6
    PORT_NEW = 7
    PORT_DEL = 8
    ESWITCH_GET = 29
    ESWITCH_SET = 30
    RESOURCE_DUMP = 36
    RELOAD = 37
    PARAM_GET = 38
    PARAM_SET = 39
    PARAM_NEW = 40
    PARAM_DEL = 41
    HEALTH_REPORTER_GET = 52
    HEALTH_REPORTER_RECOVER = 54
    RATE_GET = 74
    RATE_SET = 75
    RATE_NEW = 76
    RATE_DEL = 77


class Attribute(enum.IntEnum):
    """Attributes of the family `devlink`."""

    BUS_NAME = 1
    DEV_NAME = 2
    PORT_INDEX = 3
    PORT_TYPE = 4
    PORT_NETDEV_IFINDEX = 6
    PORT_NETDEV_NAME = 7
    ESWITCH_MODE = 25
    RESOURCE_LIST = 63
    RESOURCE = 64
    RESOURCE_NAME = 65
    RESOURCE_SIZE = 67
    PORT_FLAVOUR = 77
    PORT_NUMBER = 78
    PARAM = 80
    PARAM_NAME = 81
    PARAM_TYPE = 83
    PARAM_VALUES_LIST = 84
    PARAM_VALUE = 85
    PARAM_VALUE_DATA = 86
    PARAM_VALUE_CMODE = 87
    HEALTH_REPORTER = 114
    HEALTH_REPORTER_NAME = 115
    HEALTH_REPORTER_STATE = 116
    PORT_PCI_PF_NUMBER = 127
    PORT_PCI_VF_NUMBER = 128
    RELOAD_FAILED = 136
    NETNS_ID = 140
    PORT_FUNCTION = 145
    PORT_CONTROLLER_NUMBER = 150
    RELOAD_ACTION = 153
    PORT_PCI_SF_NUMBER = 164
    RATE_TYPE = 165
    RATE_TX_SHARE = 166
    RATE_TX_MAX = 167


class FunctionAttribute(enum.IntEnum):
    """Attributes nested in PORT_FUNCTION; the kernel parses this nest strictly."""

    HW_ADDR = 1
    STATE = 2
    OPSTATE = 3
    CAPS = 4
    DEVLINK = 5
    MAX_IO_EQS = 6


class PortFlavour(enum.IntEnum):
    """The flavours of devlink ports."""

    PHYSICAL = 0
    CPU = 1
    DSA = 2
    PCI_PF = 3
    PCI_VF = 4
    VIRTUAL = 5
    UNUSED = 6
    PCI_SF = 7


class PortType(enum.IntEnum):
    """The type of a port's link."""

    NOTSET = 0
    AUTO = 1
    ETH = 2
    IB = 3


class FunctionState(enum.IntEnum):
    """The requested state of a port's function."""

    INACTIVE = 0
    ACTIVE = 1


class FunctionOpstate(enum.IntEnum):
    """The operational state of a port's function: attached once a driver has it."""

    DETACHED = 0
    ATTACHED = 1


class EswitchMode(enum.IntEnum):
    """The mode of a parent's embedded switch; sub-functions need `switchdev`.

    In `switchdev_inactive` (Linux 7.2 and later) they are made and attach, and no frame passes.
    """

    LEGACY = 0
    SWITCHDEV = 1
    SWITCHDEV_INACTIVE = 2
    UNKNOWN = -1
    """A mode that this version does not know; never sent."""


class ReporterState(enum.IntEnum):
    """The state of a health reporter."""

    HEALTHY = 0
    ERROR = 1


class ParameterType(enum.IntEnum):
    """The NLA type of a parameter's value; of a flag, True is the presence of the attribute."""

    U32 = 3
    FLAG = 6


class ParameterMode(enum.IntEnum):
    """The configuration mode of a parameter: when its value takes effect."""

    RUNTIME = 0
    DRIVERINIT = 1
    PERMANENT = 2


class ReloadAction(enum.IntEnum):
    """The actions of a reload."""

    DRIVER_REINIT = 1


class RateType(enum.IntEnum):
    """The type of a rate object: that of a port, which the driver makes, or of a group, which a user makes."""

    LEAF = 0
    NODE = 1


FUNCTION_CAP_ROCE: Final = 0x1
FUNCTION_CAP_MIGRATABLE: Final = 0x2
FUNCTION_CAP_IPSEC_CRYPTO: Final = 0x4
FUNCTION_CAP_IPSEC_PACKET: Final = 0x8
