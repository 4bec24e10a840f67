"""The netlink clients of one thread: threads share neither sockets nor family numbers."""

import dataclasses

from subfunction.kernel.bus.vdpa import Vdpa
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.link import Links
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import Transport


@dataclasses.dataclass(frozen=True, slots=True)
class KernelClients:
    """Clients for devlink, vDPA and network links; a socket is opened at its first use."""

    devlink: Devlink
    vdpa: Vdpa
    links: Links
    _netlink: Netlink

    @classmethod
    def create(cls, transport: Transport, *, filters_lists: bool = True) -> "KernelClients":
        """Create the clients of one thread; `filters_lists` as in Devlink."""
        netlink = Netlink(transport)
        return cls(Devlink(netlink, filters_lists=filters_lists), Vdpa(netlink), Links(netlink), netlink)

    def close(self) -> None:
        """Close the sockets."""
        self._netlink.close()
