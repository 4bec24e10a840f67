"""Numbers that only the kernel's side of the conversation needs, of the same headers as the core's `uapi`."""

import enum

# From include/uapi/linux/genetlink.h, Linux 6.12.
CTRL_ATTR_VERSION = 3
CTRL_ATTR_HDRSIZE = 4
CTRL_ATTR_MAXATTR = 5


# From include/uapi/linux/devlink.h, Linux 6.12.
class Command(enum.IntEnum):
    """Commands of devlink that the core does not send."""

    INFO_GET = 51
    RATE_GET = 74
    RATE_NEW = 76
    RATE_DEL = 77


class Attribute(enum.IntEnum):
    """Attributes of devlink that the core does not look at."""

    ESWITCH_INLINE_MODE = 26
    ESWITCH_ENCAP_MODE = 62
    RESOURCE_ID = 66
    RESOURCE_SIZE_MIN = 70
    RESOURCE_SIZE_MAX = 71
    RESOURCE_SIZE_GRAN = 72
    RESOURCE_UNIT = 73
    PARAM_GENERIC = 82
    INFO_DRIVER_NAME = 98
    PORT_LANES = 147
    PORT_SPLITTABLE = 148
    RELOAD_ACTIONS_PERFORMED = 154
    DEV_STATS = 156
    RATE_TYPE = 165
    RATE_TX_SHARE = 166
    RATE_TX_MAX = 167
    RATE_TX_PRIORITY = 177
    RATE_TX_WEIGHT = 178


PORT_TYPE_NOTSET = 0
PORT_TYPE_ETH = 2
FUNCTION_CAP_MIGRATABLE = 0x2
FUNCTION_CAP_IPSEC_CRYPTO = 0x4
FUNCTION_CAP_IPSEC_PACKET = 0x8
FUNCTION_ADDRESS_BYTES = 32
"""MAX_ADDR_LEN: no link layer has longer addresses."""

# From include/uapi/linux/if.h, Linux 6.12.
IFF_BROADCAST = 0x2
IFF_MULTICAST = 0x1000
