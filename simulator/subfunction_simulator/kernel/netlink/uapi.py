"""Only the kernel's side of the conversation needs these numbers, of the same headers as the core's `uapi`."""

import enum

# From include/uapi/linux/genetlink.h, Linux 6.12.
CTRL_ATTR_VERSION = 3
CTRL_ATTR_HDRSIZE = 4
CTRL_ATTR_MAXATTR = 5


# From include/uapi/linux/devlink.h, Linux 6.12.
class Command(enum.IntEnum):
    """The core does not send these commands of devlink."""

    INFO_GET = 51
    RATE_GET = 74
    RATE_SET = 75
    RATE_NEW = 76
    RATE_DEL = 77


class Attribute(enum.IntEnum):
    """The core does not look at these attributes of devlink."""

    ESWITCH_INLINE_MODE = 26
    ESWITCH_ENCAP_MODE = 62
    RESOURCE_ID = 66
    RESOURCE_SIZE_MIN = 70
    RESOURCE_SIZE_MAX = 71
    RESOURCE_SIZE_GRAN = 72
    RESOURCE_UNIT = 73
    PARAM_GENERIC = 82
    INFO_DRIVER_NAME = 98
    PORT_PCI_VF_NUMBER = 128
    PORT_LANES = 147
    PORT_SPLITTABLE = 148
    PORT_EXTERNAL = 149
    RELOAD_ACTIONS_PERFORMED = 154
    DEV_STATS = 156
    RELOAD_STATS = 157
    RATE_TYPE = 165
    RATE_TX_SHARE = 166
    RATE_TX_MAX = 167
    RATE_NODE_NAME = 168
    RATE_PARENT_NODE_NAME = 169
    NESTED_DEVLINK = 175
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
IFF_RUNNING = 0x40
IFF_MULTICAST = 0x1000
IFNAMSIZ = 16

# From include/uapi/linux/if_arp.h, Linux 6.12.
ARPHRD_ETHER = 1

# From include/uapi/linux/rtnetlink.h, Linux 6.12.
RTNLGRP_LINK = 1


class RouteMessage(enum.IntEnum):
    """rtnetlink has these types of messages about links."""

    NEWLINK = 16
    DELLINK = 17
    GETLINK = 18
    SETLINK = 19


# From include/uapi/linux/if_link.h, Linux 6.12.
class LinkAttribute(enum.IntEnum):
    """A link has these attributes."""

    ADDRESS = 1
    IFNAME = 3
    MTU = 4
    MASTER = 10
    OPERSTATE = 16
    LINKINFO = 18
    PHYS_SWITCH_ID = 36
    PHYS_PORT_NAME = 38
    MIN_MTU = 50
    MAX_MTU = 51
    PROP_LIST = 52
    ALT_IFNAME = 53
    PARENT_DEV_NAME = 56
    PARENT_DEV_BUS_NAME = 57


IFLA_INFO_KIND = 1
OPERSTATE_DOWN = 2
OPERSTATE_UP = 6

# From lib/kobject_uevent.c, Linux 6.12: group 1 is the kernel's, group 2 is udev's.
UEVENT_GROUP = 1


# From include/uapi/linux/vdpa.h, Linux 6.12.
class VdpaCommand(enum.IntEnum):
    """The family `vdpa` has these commands."""

    MGMTDEV_NEW = 1
    MGMTDEV_GET = 2
    DEV_NEW = 3
    DEV_DEL = 4
    DEV_GET = 5
    DEV_CONFIG_GET = 6


class VdpaAttribute(enum.IntEnum):
    """The family `vdpa` has these attributes."""

    MGMTDEV_BUS_NAME = 1
    MGMTDEV_DEV_NAME = 2
    MGMTDEV_SUPPORTED_CLASSES = 3
    DEV_NAME = 4
    DEV_ID = 5
    DEV_VENDOR_ID = 6
    DEV_MAX_VQS = 7
    DEV_MAX_VQ_SIZE = 8
    DEV_MIN_VQ_SIZE = 9
    DEV_NET_CFG_MACADDR = 10
    DEV_NET_STATUS = 11
    DEV_NET_CFG_MAX_VQP = 12
    DEV_NET_CFG_MTU = 13
    DEV_NEGOTIATED_FEATURES = 14
    DEV_MGMTDEV_MAX_VQS = 15
    DEV_SUPPORTED_FEATURES = 16
    DEV_FEATURES = 20


# From include/uapi/linux/virtio_ids.h and virtio_net.h, Linux 6.12.
VIRTIO_ID_NET = 1
VIRTIO_NET_F_CSUM = 0
VIRTIO_NET_F_GUEST_CSUM = 1
VIRTIO_NET_F_MTU = 3
VIRTIO_NET_F_MAC = 5
VIRTIO_NET_F_HOST_TSO4 = 11
VIRTIO_NET_F_HOST_TSO6 = 12
VIRTIO_NET_F_MRG_RXBUF = 15
VIRTIO_NET_F_STATUS = 16
VIRTIO_NET_F_CTRL_VQ = 17
VIRTIO_NET_F_CTRL_VLAN = 19
VIRTIO_NET_F_MQ = 22
VIRTIO_NET_F_CTRL_MAC_ADDR = 23
VIRTIO_F_VERSION_1 = 32
VIRTIO_F_ACCESS_PLATFORM = 33
