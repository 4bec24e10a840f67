"""The numbers of netlink itself."""

import enum
from typing import Final


# From include/uapi/linux/netlink.h, Linux 6.12.
class NetlinkProtocol(enum.IntEnum):
    """The protocol of a netlink socket."""

    ROUTE = 0
    UEVENT = 15
    GENERIC = 16


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

# From lib/kobject_uevent.c, Linux 6.12: the group of the kernel's own uevents; udev sends to group 2.
UEVENT_KERNEL_GROUP: Final = 1
