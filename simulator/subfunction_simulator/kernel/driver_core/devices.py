"""The driver core shows a device as a directory, the links to it, and the uevents that tell of it."""

from collections.abc import Mapping

from subfunction.kernel.uapi import NetlinkProtocol
from subfunction_simulator.kernel.driver_core.tree import Tree
from subfunction_simulator.kernel.netlink.announce import Announcer
from subfunction_simulator.kernel.netlink.uapi import UEVENT_GROUP


class Devices:
    """The driver core registers devices; a subsystem is named as sysfs has it (`class/net`, `bus/vdpa`)."""

    def __init__(self, tree: Tree, announcer: Announcer) -> None:
        self.tree = tree
        self._announcer = announcer
        self._sequence = 0

    def add(self, path: str, subsystem: str, attributes: Mapping[str, str | int] = {}, *more: str) -> None:
        """Register a device below the directory of its parent; `more` is what its uevents say (`DEVNAME=vfio/0`)."""
        # udev reads this file, and so can a person; the environment stands in it as in the uevent.
        self.tree.directory(path, {**attributes, "uevent": "\n".join(more)} if more else attributes)
        self.tree.link(f"{path}/subsystem", subsystem)
        self.tree.link(_entry(path, subsystem), path)
        self.tell("add", path, subsystem, *more)

    def detach(self, path: str, subsystem: str) -> None:
        """Let a bus forget a device, the first thing of its removal."""
        self.tree.unlink(_entry(path, subsystem))
        self.tree.unlink(f"{path}/subsystem")

    def remove(self, path: str, subsystem: str, *more: str) -> None:
        """Unregister a device with everything below it."""
        self.tree.unlink(_entry(path, subsystem))
        self.tree.bury(path)
        self.tell("remove", path, subsystem, *more)

    def tell(self, action: str, path: str, subsystem: str, *more: str) -> None:
        """Broadcast one uevent."""
        self._sequence += 1
        if self._announcer.heard(NetlinkProtocol.UEVENT, UEVENT_GROUP):
            head = (f"{action}@/{path}", f"ACTION={action}", f"DEVPATH=/{path}")
            words = (*head, f"SUBSYSTEM={subsystem.rpartition('/')[2]}", *more, f"SEQNUM={self._sequence}")
            datagram = b"".join(word.encode() + b"\0" for word in words)
            self._announcer.send(NetlinkProtocol.UEVENT, UEVENT_GROUP, datagram)


def _entry(path: str, subsystem: str) -> str:
    name = path.rpartition("/")[2]
    return f"{subsystem}/devices/{name}" if subsystem.startswith("bus/") else f"{subsystem}/{name}"
