"""One thread's doors to the kernel: sockets and family numbers are not shared between threads."""

import dataclasses

from subfunction.kernel.devlink import Devlink
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.link import Links
from subfunction.kernel.transport import Transport
from subfunction.kernel.vdpa import Vdpa


@dataclasses.dataclass(frozen=True, slots=True)
class Doors:
    """devlink, vDPA and network links; nothing is opened before it is needed."""

    devlink: Devlink
    vdpa: Vdpa
    links: Links
    _netlink: Netlink

    @classmethod
    def to(cls, transport: Transport) -> "Doors":
        """Stand before a kernel."""
        netlink = Netlink(transport)
        return cls(Devlink(netlink), Vdpa(netlink), Links(netlink), netlink)

    def close(self) -> None:
        """Give the sockets back."""
        self._netlink.close()
