"""Numbers of the kernel's user API, and nothing else; each block names its header and the kernel it was read in.

The names are the header's, without the prefix that their class stands for.
"""

import enum
from typing import Final

# From include/uapi/linux/netlink.h, Linux 6.12.
NETLINK_GENERIC: Final = 16
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1
NETLINK_CAP_ACK: Final = 10
NETLINK_EXT_ACK: Final = 11

NLM_F_REQUEST: Final = 0x01
NLM_F_MULTI: Final = 0x02
NLM_F_ACK: Final = 0x04
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSG_OVERRUN: Final = 4

NLMSGERR_ATTR_MSG: Final = 1

NLA_F_NESTED: Final = 0x8000

# From include/uapi/linux/genetlink.h, Linux 6.12.
GENL_ID_CTRL: Final = 16


class ControlCommand(enum.IntEnum):
    """Commands of the family `nlctrl`."""

    NEWFAMILY = 1
    GETFAMILY = 3


class ControlAttribute(enum.IntEnum):
    """Attributes of the family `nlctrl`."""

    FAMILY_ID = 1
    FAMILY_NAME = 2
    MCAST_GROUPS = 7


class GroupAttribute(enum.IntEnum):
    """Attributes of one multicast group of a family."""

    NAME = 1
    ID = 2


ArrayIndex = enum.IntEnum("ArrayIndex", ["FIRST", "SECOND", "THIRD", "FOURTH"])
"""The numbers of an array's elements, which stand where a nest has its attributes' numbers."""

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
    PORT_PCI_PF_NUMBER = 127
    RELOAD_FAILED = 136
    NETNS_ID = 140
    PORT_FUNCTION = 145
    PORT_CONTROLLER_NUMBER = 150
    RELOAD_ACTION = 153
    PORT_PCI_SF_NUMBER = 164


class FunctionAttribute(enum.IntEnum):
    """Attributes nested in PORT_FUNCTION; the kernel parses this nest strictly."""

    HW_ADDR = 1
    STATE = 2
    OPSTATE = 3
    CAPS = 4
    DEVLINK = 5
    MAX_IO_EQS = 6


class PortFlavour(enum.IntEnum):
    """What a devlink port stands for."""

    PHYSICAL = 0
    CPU = 1
    DSA = 2
    PCI_PF = 3
    PCI_VF = 4
    VIRTUAL = 5
    UNUSED = 6
    PCI_SF = 7


class PortType(enum.IntEnum):
    """What kind of link hangs on a port."""

    NOTSET = 0
    AUTO = 1
    ETH = 2
    IB = 3


class FunctionState(enum.IntEnum):
    """What was asked of a port's function."""

    INACTIVE = 0
    ACTIVE = 1


class FunctionOpstate(enum.IntEnum):
    """Whether a driver holds a port's function."""

    DETACHED = 0
    ATTACHED = 1


class EswitchMode(enum.IntEnum):
    """How the embedded switch of a parent works; sub-functions need `switchdev`."""

    LEGACY = 0
    SWITCHDEV = 1


class ParameterType(enum.IntEnum):
    """The NLA type a parameter's value has; a bool is the presence of the attribute."""

    FLAG = 6


class ParameterMode(enum.IntEnum):
    """When a parameter's value takes effect."""

    RUNTIME = 0
    DRIVERINIT = 1
    PERMANENT = 2


class ReloadAction(enum.IntEnum):
    """What a reload does."""

    DRIVER_REINIT = 1


FUNCTION_CAP_ROCE: Final = 0x1

# From include/uapi/linux/if.h, Linux 6.12.
IFF_UP: Final = 0x1
