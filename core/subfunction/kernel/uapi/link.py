"""The numbers of network links: rtnetlink's, and the flags of a link."""

import enum
from typing import Final

# From include/uapi/linux/rtnetlink.h, Linux 6.12.
RTNLGRP_LINK: Final = 1


class RouteMessage(enum.IntEnum):
    """Types of messages about links."""

    NEWLINK = 16
    DELLINK = 17
    GETLINK = 18
    SETLINK = 19


# From include/linux/socket.h, Linux 6.12.
AF_UNSPEC: Final = 0


# From include/uapi/linux/if_link.h, Linux 6.12.
class LinkAttribute(enum.IntEnum):
    """Attributes of a link."""

    ADDRESS = 1
    IFNAME = 3
    MTU = 4
    MASTER = 10
    LINKINFO = 18
    MIN_MTU = 50
    MAX_MTU = 51
    PROP_LIST = 52
    ALT_IFNAME = 53


class LinkInfoAttribute(enum.IntEnum):
    """Attributes of the nest LINKINFO."""

    KIND = 1


# From include/uapi/linux/if.h, Linux 6.12.
IFF_UP: Final = 0x1
