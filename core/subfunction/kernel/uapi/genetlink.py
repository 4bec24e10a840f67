"""The numbers of generic netlink."""

import enum
from typing import Final

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
"""The numbers of an array's elements, in the place where a nest has its attributes' numbers."""
