"""The numbers of vDPA, and of virtio network devices."""

import enum
from typing import Final

# From include/uapi/linux/vdpa.h, Linux 6.12.
VDPA_FAMILY: Final = "vdpa"


class VdpaCommand(enum.IntEnum):
    """Commands of the family `vdpa`."""

    DEV_NEW = 3
    DEV_DEL = 4


class VdpaAttribute(enum.IntEnum):
    """Attributes of the family `vdpa`."""

    MGMTDEV_BUS_NAME = 1
    MGMTDEV_DEV_NAME = 2
    DEV_NAME = 4
    DEV_NET_CFG_MACADDR = 10
    DEV_NET_CFG_MAX_VQP = 12
    DEV_NET_CFG_MTU = 13
    DEV_FEATURES = 20


# From include/uapi/linux/virtio_net.h, virtio_config.h and virtio_ring.h, Linux 6.12.
class VirtioFeature(enum.IntEnum):
    """Bits of a virtio network device's features, by the names that `vdpa mgmtdev show` prints."""

    CSUM = 0
    GUEST_CSUM = 1
    CTRL_GUEST_OFFLOADS = 2
    MTU = 3
    MAC = 5
    GSO = 6
    GUEST_TSO4 = 7
    GUEST_TSO6 = 8
    GUEST_ECN = 9
    GUEST_UFO = 10
    HOST_TSO4 = 11
    HOST_TSO6 = 12
    HOST_ECN = 13
    HOST_UFO = 14
    MRG_RXBUF = 15
    STATUS = 16
    CTRL_VQ = 17
    CTRL_RX = 18
    CTRL_VLAN = 19
    CTRL_RX_EXTRA = 20
    GUEST_ANNOUNCE = 21
    MQ = 22
    CTRL_MAC_ADDR = 23
    NOTIFY_ON_EMPTY = 24
    ANY_LAYOUT = 27
    RING_INDIRECT_DESC = 28
    RING_EVENT_IDX = 29
    VERSION_1 = 32
    ACCESS_PLATFORM = 33
    RING_PACKED = 34
    IN_ORDER = 35
    ORDER_PLATFORM = 36
    SR_IOV = 37
    NOTIFICATION_DATA = 38
    RING_RESET = 40
    DEVICE_STATS = 50
    VQ_NOTF_COAL = 52
    NOTF_COAL = 53
    GUEST_USO4 = 54
    GUEST_USO6 = 55
    HOST_USO = 56
    HASH_REPORT = 57
    GUEST_HDRLEN = 59
    RSS = 60
    RSC_EXT = 61
    STANDBY = 62
    SPEED_DUPLEX = 63
